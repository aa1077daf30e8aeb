"""`sealserve gramine measure`: what a signed enclave will measure, and into a policy with it."""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from sealserve import __version__
from sealserve.cli.image import read_by_name
from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.sigstruct_file import add_to_policy, read_sigstruct, signing_date
from sealserve.deploy.images.roles import ENCLAVE_FOLDER
from sealserve.errors import UsageError


@click.command()
@click.argument("source", metavar="SIG|IMAGE")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="POLICY",
    help="Add the enclave to this policy, as `sealserve policy add-measurement` does.",
)
@click.option("--identity", help="The identity of that policy to add it to, by its name.")
@click.option("--by-signer", is_flag=True, help="Take every build of its signer, from this SVN on.")
@click.option("--create", is_flag=True, help="Make the identity, if there is none of that name.")
@json_option
def measure(
    source: str,
    into: Path | None,
    identity: str | None,
    by_signer: bool,
    create: bool,
    as_json: bool,
) -> None:
    """Print the measurement, signer, product and version of the enclave that SIG is of.

    SIG is the SIGSTRUCT that gramine-sgx-sign writes beside the manifest; of an IMAGE, named as for
    `sealserve image show`, it is taken from the layers. Its own signature is checked first. The
    four lines are those of the published guide; no enclave and no container is started for them.

    \b
    Example:
      sealserve gramine measure server.sig
      sealserve gramine measure sealserve-server:0.1.0
      sealserve gramine measure server.sig --into policy.toml --identity server --create
    """
    _check(into, identity, more=by_signer or create)
    with sigstruct_of(source) as sig:
        stated = read_sigstruct(sig)
        edited = None
        if into is not None and identity is not None:
            edited = add_to_policy(into, sig, identity, by_signer=by_signer, create=create)
    facts: dict[str, object] = {
        "mr_enclave": stated.mr_enclave.hex(),
        "mr_signer": stated.mr_signer.hex(),
        "isv_prod_id": stated.isv_prod_id,
        "isv_svn": stated.isv_svn,
    }
    if as_json:
        facts |= {"debug": stated.debug, "date": signing_date(stated)}
        if edited is not None:
            facts["policy"] = {"file": str(into), "changed": edited.changed, "done": edited.done}
        print_json(facts)
        return
    for name, value in facts.items():
        click.echo(f"{name + ':':<12} {value}")
    if stated.debug:
        note("a debug enclave: its host can read its memory, and no policy should take it")
    if edited is not None:
        note(f"{into}: {edited.done}")


@contextmanager
def sigstruct_of(source: str) -> Iterator[Path]:
    """The file of the SIGSTRUCT, for as long as it is read."""
    file = Path(source)
    if file.suffix == ".sig" or (file.is_file() and not tarfile.is_tarfile(file)):
        yield file
        return
    found = read_by_name(source, None, __version__).image.sigstructs
    if len(found) != 1:
        raise UsageError(
            f"{source} holds {len(found)} SIGSTRUCTs in {ENCLAVE_FOLDER}, expected 1",
            hint="the image that `sealserve image build --signed` makes has one",
        )
    with tempfile.TemporaryDirectory(prefix="sealserve-measure-") as temporary:
        copied = Path(temporary) / f"{re.sub(r'[^A-Za-z0-9.-]', '-', source)[-100:]}.sig"
        copied.write_bytes(found[0])
        yield copied


def _check(into: Path | None, identity: str | None, *, more: bool) -> None:
    if into is None and (identity is not None or more):
        raise UsageError("--identity, --by-signer and --create are for the policy of --into")
    if into is not None and identity is None:
        raise UsageError(
            "--into needs --identity: which of the policy's identities is this enclave?",
            hint="name one, or a new one together with --create",
        )
