"""`sealserve demo`: all of it, on this machine."""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from sealserve.cli.output import json_option, note, print_json
from sealserve.demo import play
from sealserve.demo.narrator import Narrator
from sealserve.errors import UsageError


@click.command()
@click.option("--oneway", is_flag=True, help="One-way TLS: every client may come.")
@click.option(
    "--tee",
    type=click.Choice(("sgx", "tdx")),
    default="sgx",
    show_default=True,
    help="What the lab simulates: SGX enclaves, or TDX trust domains.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the working folder, as DIR; it must be empty or not exist.",
)
@json_option
@click.pass_context
def demo(context: click.Context, oneway: bool, tee: str, keep: Path | None, as_json: bool) -> None:
    """Seal a model, attest two servers, release the key, predict, and see four things refused.

    Takes no SGX and no TDX: the lab stands in for the hardware, and says SIMULATED. The exit code
    is 0 only if everything held.

    \b
    Example:
      sealserve demo --keep demo-files
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    narrator = Narrator(quiet=as_json)
    with ExitStack() as stack:
        folder = _kept(keep) if keep else Path(stack.enter_context(_temporary()))
        play(folder, narrator, mutual=not oneway, tee="TDX" if tee == "tdx" else "SGX")
    narrator.close()
    if as_json:
        print_json(narrator.as_json())
    elif keep:
        note(f"everything it made is in {keep}")
    context.exit(1 if narrator.failed else 0)


def _leave(number: int, _frame: object) -> None:
    """Unwind, so that everything is stopped and the folder removed."""
    sys.exit(128 + number)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sealserve-demo-")


def _kept(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="name a new folder")
    return folder.resolve()
