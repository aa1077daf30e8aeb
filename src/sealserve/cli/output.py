"""What commands print: results to standard output, everything else to standard error.

With `--json` a command prints exactly one JSON object. Progress is a bar on a terminal and plain
lines elsewhere.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from sealserve.errors import SealServeError

PLAIN_INTERVAL = 5.0  # seconds between two plain progress lines
PLAIN_MINIMUM = 64 << 20  # bytes below which a plain run says nothing


@dataclass
class Run:
    """One run of the command line: whether it was asked for JSON, which holds for errors too."""

    as_json: bool = False


def remember_json(context: click.Context, _option: click.Parameter, value: bool) -> bool:
    """The callback of every option that asks for JSON."""
    run = context.find_object(Run)
    if run is not None:
        run.as_json = value
    return value


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=remember_json,
    help="Print one JSON object.",
)


def note(message: str) -> None:
    """One line for the person at the terminal; never part of the result."""
    click.echo(message, err=True)


def print_json(value: object) -> None:
    """`value` as one JSON object on standard output."""
    click.echo(json.dumps(value, indent=2, default=_plain))


def print_table(title: str, rows: Iterable[tuple[str, object]]) -> None:
    """Names and values in two columns; a value is never broken, so that it can be copied."""
    pairs = [(name, _text(value)) for name, value in rows]
    width = max((len(name) for name, _ in pairs), default=0)
    click.secho(title, bold=True)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {value}")


def report_error(error: SealServeError, *, as_json: bool) -> None:
    """The error as a person (standard error) or a machine (`--json`, standard output) reads it."""
    if as_json:
        print_json({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
        return
    click.echo(f"error: {error.message} [{error.code}]", err=True)
    if error.hint:
        click.echo(f"  hint: {error.hint}", err=True)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A function that is told how many more bytes are done."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        with Progress(
            *columns, TransferSpeedColumn(), console=Console(stderr=True), transient=True
        ) as bar:
            task = bar.add_task(label, total=total)
            yield lambda count: bar.advance(task, count)
        return
    yield _plain_progress(label, total)


@contextmanager
def steps(what: str) -> Iterator[Callable[[str], None]]:
    """A function that is told each step; on a terminal the time goes on below them."""
    if not sys.stderr.isatty():
        yield note
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task(what, total=None)
        yield partial(bar.console.print, markup=False, highlight=False, soft_wrap=True)


def _plain_progress(label: str, total: int | None) -> Callable[[int], None]:
    done = 0
    last = time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        if total is not None and total < PLAIN_MINIMUM:
            return
        if time.monotonic() - last >= PLAIN_INTERVAL or done == total:
            last = time.monotonic()
            share = f" of {total >> 20} MiB ({100 * done // total} %)" if total else ""
            note(f"{label}: {done >> 20} MiB{share}")

    return advance


def _text(value: object) -> str:
    """A value as a person reads it: lists by their items, and nothing as `none`."""
    plain = _plain(value)
    if isinstance(plain, list):
        plain = ", ".join(map(str, plain))
    return "none" if plain in (None, "") else str(plain)


def _plain(value: object) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, int, float, bool, dict)) or value is None:
        return value
    return str(value)
