"""`sealserve audit`: checkpoints, proofs and exports; verifying and searching are beside this."""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.administration_options import Access, administration_options
from sealserve.cli.audit_options import FILE, log_key_option, records_progress, the_log_key
from sealserve.cli.audit_search import search
from sealserve.cli.audit_verify import check, verify
from sealserve.cli.interruption import clean_end
from sealserve.cli.output import json_option, note, print_json
from sealserve.errors import AuditError
from sealserve.files import atomic_file, write_file
from sealserve.keyservice.administration.answers import InclusionAnswer
from sealserve.keyservice.administration.verifying import pages, verify_proof
from sealserve.transparency.checkpoint import LogVerifier, read_checkpoint
from sealserve.transparency.tree import Frontier, leaf_hash

PUBLIC = 0o644  # checkpoints hold no secret


@click.group()
def audit() -> None:
    """Verify, search, prove and export the audit log of a key service.

    Every decision and every change is one record in a log that can only grow. Keep its key (`audit
    checkpoint` prints it) and a checkpoint where the service cannot reach them.

    \b
    Example:
      sealserve audit search --outcome denied --config keyservice.toml
      sealserve audit verify --log-key log.key --since checkpoint --config keyservice.toml
    """


@audit.command()
@click.option("--out", type=FILE, help="The file to write it to, instead of printing it.")
@log_key_option
@administration_options
@json_option
def checkpoint(out: Path | None, log_key: str | None, access: Access, as_json: bool) -> None:
    """Fetch the signed head of the log, to be kept for `audit verify --since`.

    A file that is there is replaced: verify since it first.

    \b
    Example:
      sealserve audit checkpoint --out checkpoint --config keyservice.toml
    """
    with access.open() as admin:
        verifier = the_log_key(log_key, admin)
        signed = admin.checkpoint()
    head = read_checkpoint(signed, verifier)
    if out is not None:
        write_file(out, signed.encode(), mode=PUBLIC)
    if as_json:
        print_json({"checkpoint": signed, "log_key": str(verifier), "size": head.size})
    elif out is None:
        click.echo(signed, nl=False)
    else:
        click.echo(f"{out}: the head of {head.origin} at {head.size} records")


@audit.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("--out", type=FILE, required=True, help="The file to write; never one that exists.")
@log_key_option
@administration_options
@json_option
def prove(index: int, out: Path, log_key: str | None, access: Access, as_json: bool) -> None:
    """Write the record INDEX with the proof that it stands in the log.

    Whoever has the log's key checks it offline: `audit check`. The record may hold what tells a
    platform from others.

    \b
    Example:
      sealserve audit prove 17 --out proof.json --config keyservice.toml
      sealserve audit check proof.json --log-key log.key
    """
    with access.open() as admin:
        verifier = the_log_key(log_key, admin)
        found = admin.inclusion(index)
    if found.index != index:
        raise AuditError(f"record {index} was asked for, and {found.index} came")
    head = verify_proof(found, verifier)
    write_file(out, InclusionAnswer.of(found).model_dump_json(indent=2).encode(), replace=False)
    if as_json:
        print_json({"proof": str(out), "index": index, "size": head.size})
        return
    click.echo(f"{out}: record {index} in the log {head.origin} of {head.size} records")


@audit.command()
@click.option("--out", type=FILE, required=True, help="The file to write; never one that exists.")
@click.option("--checkpoint", type=FILE, help="Where to write the signed head that it ends at.")
@administration_options
@json_option
def export(out: Path, checkpoint: Path | None, access: Access, as_json: bool) -> None:
    """Write the whole log into a file: each record as it is in the log, on a line of its own.

    The file appears when it is complete. It is for `audit verify --file`, `policy replay` and
    whatever reads JSON lines; it may hold what tells platforms apart, so its mode is 0600.

    \b
    Example:
      sealserve audit export --out audit.jsonl --checkpoint checkpoint --config keyservice.toml
    """
    with access.open() as admin:
        signed = admin.checkpoint()
        head = read_checkpoint(signed, LogVerifier.parse(admin.log_key()))
        frontier = Frontier.empty()
        with (
            clean_end(),
            records_progress("exporting", head.size) as advance,
            atomic_file(out, replace=False) as stream,
        ):
            for page in pages(admin, head.size):
                stream.write(b"".join(_line(each.index, each.data) for each in page))
                frontier, _ = frontier.extended(leaf_hash(each.data) for each in page)
                advance(len(page))
    if checkpoint is not None:
        write_file(checkpoint, signed.encode(), mode=PUBLIC)
    if frontier.root != head.root:
        note("WARNING: this is not what the log was signed for: see `sealserve audit verify`")
    if as_json:
        print_json({"file": str(out), "records": head.size, "root": head.root.hex()})
        return
    click.echo(f"{out}: {head.size} records")


def _line(index: int, data: bytes) -> bytes:
    if b"\n" in data:
        raise AuditError(
            f"record {index} has a line break, which no record of ours has",
            code="audit.record",
            hint="sealserve audit verify",
        )
    return data + b"\n"


for command in (verify, check, search):
    audit.add_command(command)
