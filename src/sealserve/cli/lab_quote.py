"""`sealserve lab quote`: quotes that say what one likes; and how commands describe an enclave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from sealserve.cli.output import note
from sealserve.errors import UsageError
from sealserve.files import PUBLIC, write_file
from sealserve.lab.folder import LabFolder
from sealserve.lab.identity import EnclaveIdentity, read_mr_signer
from sealserve.lab.trust_domain import MEASUREMENT_BYTES as TDX_MEASUREMENT_BYTES
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World

MEASUREMENT_BYTES = 32
REPORT_DATA_BYTES = 64
RTMRS = 4
SVN = click.IntRange(0, 0xFFFF)

DIRECTORY = click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")


def parse_report_data(text: str) -> bytes:
    """64 bytes from at most as many in hex; raises UsageError."""
    return _parse_hex(text, "report data", REPORT_DATA_BYTES).ljust(REPORT_DATA_BYTES, b"\0")


def _parse_hex(text: str, what: str, length: int) -> bytes:
    """At most `length` bytes in hex; raises UsageError."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"{what} is {text!r}, expected hex") from None
    if len(data) > length:
        raise UsageError(f"{what} has {len(data)} bytes, expected at most {length}")
    return data


def _parse_measurement(text: str, what: str, length: int = MEASUREMENT_BYTES) -> bytes:
    data = _parse_hex(text, what, length)
    if len(data) != length:
        raise UsageError(f"{what} has {len(data)} bytes, expected {length}")
    return data


def enclave_attributes(command: Callable[..., None]) -> Callable[..., None]:
    """What is said about an enclave besides its code."""
    options = (
        click.option("--debug", is_flag=True, help="A debug enclave: others may look into it."),
        click.option("--isv-prod-id", type=SVN, default=0, help="The signer's product id."),
        click.option("--isv-svn", type=SVN, default=0, help="The signer's security version."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@DIRECTORY
@click.option("--report-data", default="", metavar="HEX", help="Up to 64 bytes to quote.")
@click.option("--mr-enclave", metavar="HEX", help="32 bytes: quote an SGX enclave.")
@click.option("--mr-signer", metavar="HEX", help="32 bytes; otherwise the lab's own signer.")
@click.option("--mr-td", metavar="HEX", help="48 bytes: quote a TDX trust domain.")
@click.option(
    "--rtmr", "rtmrs", multiple=True, metavar="HEX", help="48 bytes; up to four times, in order."
)
@click.option(
    "--quote-version",
    type=click.IntRange(3, 5),
    help="An enclave's: 3 (default), 4, 5. A trust domain's: 4 (default), or 5 with TDX 1.5.",
)
@enclave_attributes
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE")
def quote(
    directory: Path,
    report_data: str,
    mr_enclave: str | None,
    mr_td: str | None,
    quote_version: int | None,
    out: Path,
    **said: Any,
) -> None:
    """Write a SIMULATED quote that says what you say: for trying verifiers and policies.

    It needs the private part of DIR, which is the simulated hardware's; nothing is measured.
    `sealserve quote verify` reads it, with DIR/collateral for an enclave and DIR/tdx-collateral for
    a trust domain.

    \b
    Example:
      sealserve lab quote lab --mr-enclave $(printf 'e5%.0s' $(seq 32)) --out enclave.quote
      sealserve lab quote lab --mr-td $(printf 'd0%.0s' $(seq 48)) --out td.quote
    """
    data = parse_report_data(report_data)
    if (mr_enclave is None) == (mr_td is None):
        raise UsageError("name what is quoted: --mr-enclave HEX or --mr-td HEX, one of both")
    if mr_enclave is not None:
        quoted = _enclave_quote(directory, mr_enclave, data, quote_version or 3, **said)
    else:
        quoted = _td_quote(directory, str(mr_td), data, quote_version or 4, **said)
    write_file(out, quoted, mode=PUBLIC)
    note(f"SIMULATED quote of {len(quoted)} bytes written to {out}")


def _enclave_quote(
    directory: Path,
    mr_enclave: str,
    report_data: bytes,
    version: int,
    *,
    mr_signer: str | None,
    rtmrs: Sequence[str],
    **attributes: Any,
) -> bytes:
    if rtmrs:
        raise UsageError("--rtmr is a trust domain's, beside --mr-td")
    if mr_signer is None:
        signer = read_mr_signer(LabFolder(directory).enclave_signing_key)
    else:
        signer = _parse_measurement(mr_signer, "--mr-signer")
    measured = _parse_measurement(mr_enclave, "--mr-enclave")
    report = EnclaveIdentity(measured, signer, **attributes).report(report_data)
    return World.load(directory).quote(report, version)


def _td_quote(
    directory: Path,
    mr_td: str,
    report_data: bytes,
    version: int,
    *,
    mr_signer: str | None,
    rtmrs: Sequence[str],
    debug: bool,
    isv_prod_id: int,
    isv_svn: int,
) -> bytes:
    if mr_signer or isv_prod_id or isv_svn:
        raise UsageError("--mr-signer, --isv-prod-id and --isv-svn are an enclave's")
    if version < 4:
        raise UsageError(f"a quote of version {version} holds no trust domain", hint="take 4 or 5")
    if len(rtmrs) > RTMRS:
        raise UsageError(f"--rtmr is given {len(rtmrs)} times, a trust domain has {RTMRS}")
    measured = _parse_measurement(mr_td, "--mr-td", TDX_MEASUREMENT_BYTES)
    extended = [_parse_measurement(text, "--rtmr", TDX_MEASUREMENT_BYTES) for text in rtmrs]
    extended += [bytes(TDX_MEASUREMENT_BYTES)] * (RTMRS - len(extended))
    rtmr0, rtmr1, rtmr2, rtmr3 = extended
    identity = TrustDomainIdentity(measured, (rtmr0, rtmr1, rtmr2, rtmr3), debug=debug)
    report = identity.report(report_data) if version == 4 else identity.report_15(report_data)
    return World.load(directory).td_quote(report, version)
