"""`sealserve gramine verify-build`: is somebody else's enclave the one that is described?"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.sigstruct_file import read_sigstruct
from sealserve.deploy.description.reading import load_description
from sealserve.deploy.gramine.comparing import Kind
from sealserve.deploy.gramine.measuring import INSTALL, SIGNER
from sealserve.deploy.gramine.signed import SIGNED_LIMIT, read_signed
from sealserve.deploy.gramine.trusted import Root
from sealserve.deploy.gramine.verifying import Outcome, Verdict
from sealserve.deploy.gramine.verifying import verify_build as verify
from sealserve.errors import IntegrityError, RejectedError
from sealserve.files import read_file

_EXIT_CODES: Final = {
    Outcome.REPRODUCED: 0,
    Outcome.NOT_RECOMPUTED: RejectedError.exit_code,
    Outcome.DIFFERS: IntegrityError.exit_code,
}
_SHOWN: Final = 50  # differences; --json has all
_folder = click.Path(path_type=Path, file_okay=False, exists=True)
_file = click.Path(path_type=Path, dir_okay=False)


@click.command("verify-build")
@click.argument("description", type=_file)
@click.option("--manifest", required=True, type=_file, help="The signed one: NAME.manifest.sgx.")
@click.option("--sig", required=True, type=_file, help="The SIGSTRUCT beside it: NAME.sig.")
@click.option(
    "--root",
    type=_folder,
    default=Path("/"),
    show_default=True,
    help="The system's files: here, or those of an image that was unpacked.",
)
@click.option(
    "--folder",
    type=_folder,
    default=Path(),
    help="The enclave's folder, with models and CA.  [default: this one]",
)
@click.option("--libpal", type=_file, help="Gramine's libpal.so, if it is not the installed one.")
@json_option
@click.pass_context
def verify_build(
    context: click.Context,
    description: Path,
    manifest: Path,
    sig: Path,
    root: Path,
    folder: Path,
    libpal: Path | None,
    as_json: bool,
) -> None:
    """Say whether the enclave that somebody built and signed is the one that DESCRIPTION gives.

    The manifest is rendered anew, and its trusted files are looked up here: what differs is named,
    with what was signed and what is here. Where Gramine is installed, its gramine-sgx-sign measures
    the signed manifest, with a key that is thrown away, and the measurement must be the one in the
    SIGSTRUCT. Whether the signer is to be trusted is not asked.

    The exit code is 0 when the measurement is reproduced, 5 when something differs, and 2 when
    nothing differs but Gramine is missing, so that it was not measured.

    \b
    Example:
      sealserve gramine verify-build sealserve.toml --manifest server.manifest.sgx --sig server.sig
    """
    described = load_description(description)
    stated = read_sigstruct(sig)
    signed = read_signed(read_file(manifest, limit=SIGNED_LIMIT))
    verdict = verify(described, signed, stated, Root(root, folder), libpal)
    if as_json:
        measured = verdict.measured
        print_json(
            {
                "outcome": verdict.outcome,
                "description_sha256": described.digest,
                "mr_enclave": stated.mr_enclave.hex(),
                "mr_enclave_here": measured.sigstruct.mr_enclave.hex() if measured else None,
                "mr_signer": stated.mr_signer.hex(),
                "trusted_files": verdict.files,
                "paths": verdict.paths.as_dict(),
                "differences": [each.as_dict() for each in verdict.differences],
            }
        )
    else:
        click.echo(f"description  sha256 {described.digest}")
        click.echo(f"mr_enclave   {stated.mr_enclave.hex()}")
        click.echo(f"mr_signer    {stated.mr_signer.hex()}")
        _print(verdict)
    context.exit(_EXIT_CODES[verdict.outcome])


def _print(verdict: Verdict) -> None:
    for name, value in verdict.paths.as_dict().items():
        shown = ":".join(value) if isinstance(value, tuple) else value
        click.echo(f"built with   {name} {shown or 'none'}")
    click.echo(f"compared     {verdict.files} trusted files, and every key of the manifest")
    for each in verdict.differences[:_SHOWN]:
        click.echo(f"{click.style(f'{each.kind}:', fg='red', bold=True)} {_shown(each.name)}")
        click.echo(f"  signed  {_shown(each.signed)}\n  here    {_shown(each.here)}")
    if len(verdict.differences) > _SHOWN:
        note(f"and {len(verdict.differences) - _SHOWN} more: --json has them all")
    click.secho(_sentence(verdict), fg=None if verdict.differences else "green", bold=True)
    for hint in _hints(verdict):
        note(f"  hint: {hint}")


def _sentence(verdict: Verdict) -> str:
    match verdict.outcome:
        case Outcome.REPRODUCED:
            return "REPRODUCED: the same measurement from this description and these files"
        case Outcome.NOT_RECOMPUTED:
            return (
                "NOT RECOMPUTED: keys and files are the same, but the measurement was not made: "
                f"there is no {SIGNER}"
            )
        case Outcome.DIFFERS:
            number = len(verdict.differences)
            return f"DIFFERS: {number} difference{'s' if number > 1 else ''}"


def _hints(verdict: Verdict) -> list[str]:
    kinds = {each.kind for each in verdict.differences}
    hints = [] if verdict.measured else [INSTALL]
    if kinds == {Kind.MEASUREMENT}:
        hints.append(
            "keys and files are the same: another build of Gramine measures, whose libpal.so "
            "differs; name theirs with --libpal"
        )
    if verdict.measured and not verdict.measured.same_bytes:
        hints.append("the signed manifest is not as Gramine writes it: its bytes are measured")
    return hints


def _shown(value: object) -> str:
    """A side of a difference as a terminal may have it."""
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else repr(value)
    cut = text if len(text) <= 200 else f"{text[:200]}…"
    return cut if cut.isprintable() else repr(cut)
