"""`sealserve selftest`: what nobody can prove without hardware, tried; or the same in the lab."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.collateral_service import configured
from sealserve.deploy.description.model import Description
from sealserve.deploy.sgx.machine import Machine
from sealserve.deploy.tdx import GUEST_FLAG
from sealserve.errors import UsageError
from sealserve.files import PUBLIC, write_file
from sealserve.ports import free_port
from sealserve.selftest import Platform, Report, Step, play
from sealserve.selftest.description import describe_service
from sealserve.selftest.enclave import Enclave
from sealserve.selftest.guest import Guest
from sealserve.selftest.lab import Lab
from sealserve.selftest.report import Outcome

_HERE = Path("/")
_INTEL = "intel"
_SIMULATED = "SIMULATED  "
_COLOURS = {Outcome.PASSED: "green", Outcome.FAILED: "red", Outcome.NOT_RUN: "yellow"}


@click.command()
@click.option("--hardware", is_flag=True, help="Use this machine's SGX or TDX, not the lab.")
@click.option(
    "--tee",
    type=click.Choice(("sgx", "tdx")),
    help="What the lab simulates.  [default: sgx; with --hardware, what this machine is]",
)
@click.option(
    "--collateral",
    metavar="URL|DIR",
    help="With --hardware: a PCCS, a service by its name, or a folder.  "
    "[default: that of sgx_default_qcnl.conf, or intel]",
)
@click.option(
    "--collateral-ca",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --hardware: the CA (PEM) of a PCCS whose certificate no public CA has signed.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the report, as JSON, into a new file.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the working folder, with all logs, as DIR; it must be empty or not exist.",
)
@json_option
@click.pass_context
def selftest(
    context: click.Context,
    hardware: bool,
    tee: str | None,
    collateral: str | None,
    collateral_ca: Path | None,
    out: Path | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Try, step by step, what needs the hardware: from a quote to a prediction.

    Without --hardware the lab takes its place: the same steps, by the same code, say SIMULATED and
    prove nothing of any hardware. The report has no secret and nothing that tells this machine from
    another of its kind; docs/hardware.md says what is in it, and where to send it.

    The exit code is 0 if every step passed, and 1 if one did not.

    \b
    Example:
      sealserve selftest
      sealserve selftest --hardware --out report.json
      sealserve selftest --hardware --collateral https://pccs.example.com:8081 --json
    """
    if out is not None and out.exists():
        raise UsageError(f"{out} exists, and is not overwritten", hint="name a new file")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    description = describe_service(port=free_port(), key_service_port=free_port())
    place = (collateral, collateral_ca)
    platform = _hardware(description, tee, *place) if hardware else _lab(tee, *place)
    with ExitStack() as stack:
        folder = _kept(keep) if keep else Path(stack.enter_context(_temporary()))
        if not as_json:
            click.secho(f"{_prefix(platform)}{platform.title}", bold=True)
        report = play(folder, platform, description, _silent if as_json else _teller(platform))
    if out is not None:
        write_file(out, json.dumps(report.as_dict(), indent=2).encode() + b"\n", mode=PUBLIC)
    if as_json:
        print_json(report.as_dict())
    else:
        click.echo(_last_line(report, platform))
        if out is not None:
            note(f"the report is in {out}")
    context.exit(0 if report.holds else 1)


def _lab(tee: str | None, collateral: str | None, collateral_ca: Path | None) -> Platform:
    if collateral is not None or collateral_ca is not None:
        raise UsageError("--collateral and --collateral-ca go with --hardware: the lab has its own")
    return Lab("TDX" if tee == "tdx" else "SGX")


def _hardware(
    description: Description, tee: str | None, collateral: str | None, collateral_ca: Path | None
) -> Platform:
    source = collateral or configured(_HERE) or _INTEL
    is_guest = GUEST_FLAG in Machine(_HERE).flags if tee is None else tee == "tdx"
    if is_guest:
        return Guest(source, collateral_ca)
    return Enclave(description, source, collateral_ca)


def _prefix(platform: Platform) -> str:
    return _SIMULATED if platform.simulated else ""


def _silent(_step: Step) -> None:
    """With --json there is one object, at the end."""


def _teller(platform: Platform) -> Callable[[Step], None]:
    """What prints each step as it ends."""
    prefix = _prefix(platform)

    def tell(step: Step) -> None:
        outcome = click.style(f"{step.outcome:<7}", fg=_COLOURS[step.outcome])
        click.echo(f"{prefix}{outcome}  {step.seconds:6.1f} s  {step.name}: {step.claim}")
        for line in filter(None, (step.found, step.why)):
            click.echo(f"{prefix}{'':19}{line}")

    return tell


def _last_line(report: Report, platform: Platform) -> str:
    counts = {each: sum(step.outcome is each for step in report.steps) for each in Outcome}
    found = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    nothing = "; this says nothing of any hardware" if platform.simulated else ""
    return f"{_prefix(platform)}{found}, in {report.seconds:.0f} s{nothing}"


def _leave(number: int, _frame: object) -> None:
    """Unwind, so that everything is stopped and the folder removed."""
    sys.exit(128 + number)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sealserve-selftest-")


def _kept(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="name a new folder")
    return folder.resolve()
