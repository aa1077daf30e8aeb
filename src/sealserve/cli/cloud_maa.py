"""`sealserve cloud maa-policy`: the policy of an Azure Attestation instance, for one's enclaves."""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.sigstruct_file import read_sigstruct
from sealserve.deploy.clouds.maa import HASH_UNCONFIRMED, policy_hash
from sealserve.deploy.clouds.maa import maa_policy as render
from sealserve.files import PUBLIC, write_file


@click.command("maa-policy")
@click.argument("sigs", metavar="SIG...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--by-signer", is_flag=True, help="Take every build of its signer, from this SVN on.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; it must not exist.  [default: standard output]",
)
@json_option
def maa_policy(sigs: tuple[Path, ...], by_signer: bool, out: Path | None, as_json: bool) -> None:
    """Render the policy of an Azure Attestation instance that lets in the enclaves of SIG.

    For an instance of your own: a shared one has Microsoft's policy, which permits debug enclaves.
    Each SIG is a SIGSTRUCT, as gramine-sgx-sign writes it. The hash that tokens will show is told,
    too, for the key service's policy. docs/azure-attestation.md says where both go.

    \b
    Example:
      sealserve cloud maa-policy server.sig --out maa-policy.txt
      sealserve cloud maa-policy old.sig new.sig --by-signer
    """
    text = render([read_sigstruct(sig) for sig in sigs], by_signer=by_signer)
    digest = policy_hash(text)
    if out is not None:
        write_file(out, text.encode(), mode=PUBLIC, replace=False)
    if as_json:
        print_json(
            {
                "file": None if out is None else str(out),
                "content": text,
                "policy_hash": digest,
                "unconfirmed": HASH_UNCONFIRMED,
            }
        )
    elif out is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"wrote {out}")
    note(f'policy_hashes = ["{digest}"]')
    note(f"{click.style('note', fg='yellow')}: not confirmed: {HASH_UNCONFIRMED}")
