"""`sealserve lab enclave`, `measure`, `selfquote`: what runs on the simulated hardware."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from sealserve.attester.ratls import make_certificate
from sealserve.attester.source import parse_source
from sealserve.cli.lab_quote import (
    DIRECTORY,
    REPORT_DATA_BYTES,
    enclave_attributes,
    parse_report_data,
)
from sealserve.cli.output import json_option, note, print_json
from sealserve.errors import UsageError
from sealserve.files import PUBLIC, write_file
from sealserve.folders import os_errors
from sealserve.lab.folder import LabFolder
from sealserve.lab.front import Launched, run_enclave
from sealserve.lab.identity import EnclaveIdentity, read_mr_signer
from sealserve.lab.launched import Identity, identity_of
from sealserve.lab.measurement import Interpreter, describe
from sealserve.lab.measurement import measure as measure_enclave
from sealserve.lab.quoting import quoting_service
from sealserve.lab.trees import Digests


def _program(command: Callable[..., None]) -> Callable[..., None]:
    """What an enclave runs."""
    options = (
        click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED),
        click.option(
            "--code",
            multiple=True,
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            metavar="FOLDER",
            help="Import packages from FOLDER first, for a changed server; may be given again.",
        ),
        click.option(
            "--tee",
            type=click.Choice(("sgx", "tdx")),
            default="sgx",
            show_default=True,
            callback=lambda _context, _option, value: value.upper(),
            help="As what: an SGX enclave, or a TDX trust domain.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@DIRECTORY
@enclave_attributes
@_program
@click.option(
    "--qe",
    "run",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Be the quoting enclave, too, with its socket FOLDER/qe.sock: for a container, which "
    "shares no process with another. DIR is only read.",
)
@click.option(
    "--run",
    "asked",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Ask the quoting enclave of `sealserve lab qe DIR --run FOLDER`.",
)
def enclave(
    directory: Path,
    arguments: Sequence[str],
    code: Sequence[Path],
    run: Path | None,
    asked: Path | None,
    **attributes: Any,
) -> None:
    """Run a sealserve command as a SIMULATED enclave, measured by the quoting enclave of DIR.

    The quoting enclave (`sealserve lab qe DIR`) hashes the interpreter, all packages and the
    arguments, and starts the command itself; this process passes signals on and ends with its exit
    code. The enclave has none of this process' environment. With `--tee tdx` it is a TDX trust
    domain, as far as its quotes say.

    \b
    Example:
      sealserve lab enclave lab -- lab selfquote --evidence_source lab:lab/qe.sock
      sealserve lab enclave lab --qe /tmp/qe -- lab selfquote --evidence_source lab:/tmp/qe/qe.sock
    """
    if run is not None and asked is not None:
        raise UsageError("--qe is a quoting enclave itself, and --run asks another")
    folder = LabFolder(directory, run or asked)
    request = describe(arguments, Interpreter.own(), code=code, **attributes)
    if run is None:
        status = run_enclave(folder.socket, request, launched=_tell)
    else:
        with os_errors():
            run.mkdir(mode=0o700, parents=True, exist_ok=True)
        with quoting_service(folder):
            status = run_enclave(folder.socket, request, launched=_tell)
    raise click.exceptions.Exit(status)


def _tell(launched: Launched) -> None:
    what = "enclave" if "mr_enclave" in launched.told else "trust domain"
    values = ", ".join(f"{name} {value}" for name, value in launched.told.items())
    note(f"SIMULATED {what} {launched.pid} launched, {values}")


@click.command()
@DIRECTORY
@enclave_attributes
@_program
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write what was measured: JSON, to compare with another. mr_enclave is its SHA-256; "
    "its SHA-384 is what rtmr3 of a trust domain is extended with.",
)
@json_option
def measure(
    directory: Path,
    arguments: Sequence[str],
    code: Sequence[Path],
    manifest: Path | None,
    as_json: bool,
    **attributes: Any,
) -> None:
    """Print what a SIMULATED enclave or trust domain would measure, without running it.

    \b
    Example:
      sealserve lab measure lab -- serve --model_name=digits --model_base_path=models/digits
    """
    interpreter = Interpreter.own()
    request = describe(arguments, interpreter, code=code, **attributes)
    measurement = measure_enclave(request, interpreter, Digests())
    if manifest is not None:
        write_file(manifest, measurement.manifest, mode=PUBLIC)
    mr_signer = read_mr_signer(LabFolder(directory).enclave_signing_key)
    _print_identity(identity_of(request, measurement, mr_signer), as_json=as_json)


def _print_identity(identity: Identity, *, as_json: bool) -> None:
    facts: dict[str, object]
    if isinstance(identity, EnclaveIdentity):
        facts = {
            "mr_enclave": identity.mr_enclave.hex(),
            "mr_signer": identity.mr_signer.hex(),
            "isv_prod_id": identity.isv_prod_id,
            "isv_svn": identity.isv_svn,
        }
    else:
        rtmrs = {f"rtmr{number}": value.hex() for number, value in enumerate(identity.rtmrs)}
        facts = {"mr_td": identity.mr_td.hex(), **rtmrs}
    if as_json:
        print_json({**facts, "debug": identity.debug, "simulated": True})
        return
    for name, value in facts.items():  # the form of `gramine-sgx-sigstruct-view`
        click.echo(f"{name + ':':<12} {value}")
    note("SIMULATED: measured by the lab, not by hardware")


@click.command()
@click.option(
    "--evidence_source",
    "source",
    required=True,
    metavar="SOURCE",
    help="`lab:SOCKET`; `gramine` inside Gramine on SGX; `tsm` in a TDX guest.",
)
@click.option(
    "--report-data",
    default="",
    metavar="HEX|-",
    help="Up to 64 bytes to quote; `-` reads them from standard input.",
)
@click.option(
    "--certificate",
    "with_certificate",
    is_flag=True,
    help="With --json: also an RA-TLS certificate of this process, whose key is thrown away.",
)
@json_option
def selfquote(source: str, report_data: str, with_certificate: bool, as_json: bool) -> None:
    """Print a quote of this very process, in hex: the evidence that an enclave has of itself.

    Only a process that runs as an enclave gets one.

    \b
    Example:
      sealserve lab enclave lab -- lab selfquote --evidence_source lab:lab/qe.sock
    """
    if report_data == "-":
        report_data = sys.stdin.readline(4 * REPORT_DATA_BYTES).strip()
    data = parse_report_data(report_data)
    evidence = parse_source(source)
    quote_hex = evidence.quote(data).hex()
    if as_json:
        facts = {"quote": quote_hex, "report_data": data.hex()}
        if with_certificate:
            facts["certificate"] = make_certificate(evidence).certificate_der.hex()
        print_json(facts)
    else:
        click.echo(quote_hex)
