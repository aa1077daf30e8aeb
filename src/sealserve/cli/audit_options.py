"""What the `sealserve audit` commands share: the log's key, kept checkpoints, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sealserve.cli.output import PLAIN_INTERVAL, note
from sealserve.errors import ConfigError, FormatError
from sealserve.files import read_file
from sealserve.keyservice.administration.values import Administration
from sealserve.transparency.checkpoint import (
    NOTE_LIMIT,
    Checkpoint,
    LogVerifier,
    read_checkpoint,
)

FILE = click.Path(path_type=Path, dir_okay=False)
KEY_FILE_LIMIT = 4096  # bytes

log_key_option = click.option(
    "--log-key",
    metavar="KEY|FILE",
    help="The log's verifier key that you keep, or the file that it is in.",
)


def read_log_key(text: str) -> LogVerifier:
    """The key that was given, or is in the file that was; raises FormatError, ConfigError."""
    try:
        return LogVerifier.parse(text)
    except FormatError:
        if "+" in text and not Path(text).exists():
            raise
    return LogVerifier.parse(read_note(Path(text), KEY_FILE_LIMIT).strip())


def read_note(path: Path, limit: int = NOTE_LIMIT) -> str:
    """The text in a small file; raises ConfigError."""
    try:
        return read_file(path, limit=limit).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None


def the_log_key(given: str | None, admin: Administration) -> LogVerifier:
    """The key that is kept; or the service's own, which is said, because it proves little."""
    if given is not None:
        return read_log_key(given)
    verifier = LogVerifier.parse(admin.log_key())
    note(f"the log's key, as the service says it: {verifier}")
    note("  it was not pinned: keep it, and give it as --log-key from now on")
    return verifier


def read_since(path: Path | None, verifier: LogVerifier) -> Checkpoint | None:
    """The checkpoint that was kept in a file; raises AuditError for another log's."""
    return None if path is None else read_checkpoint(read_note(path), verifier)


@contextmanager
def records_progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A function that is told how many more records are done."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True)
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda count: bar.advance(task, count)
        return
    yield _plain(label, total)


def _plain(label: str, total: int | None) -> Callable[[int], None]:
    done, last = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last >= PLAIN_INTERVAL:
            last = time.monotonic()
            note(f"{label}: {done} of {total} records")

    return advance
