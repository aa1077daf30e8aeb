"""`sealserve audit verify` and `check`: the log as a whole, and the proof of one record."""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.administration_options import Access, administration_options
from sealserve.cli.audit_options import (
    FILE,
    log_key_option,
    read_log_key,
    read_note,
    read_since,
    records_progress,
    the_log_key,
)
from sealserve.cli.output import json_option, note, print_json, progress
from sealserve.errors import AuditError, ConfigError, UsageError
from sealserve.files import read_file
from sealserve.keyservice.administration.answers import InclusionAnswer
from sealserve.keyservice.administration.recorded_states import RecordedStates
from sealserve.keyservice.administration.values import Inclusion
from sealserve.keyservice.administration.verifying import verify_file, verify_log, verify_proof
from sealserve.transparency.checkpoint import Checkpoint, LogVerifier

PROOF_LIMIT = 256 << 10  # bytes


@click.command()
@log_key_option
@click.option("--since", type=FILE, help="A checkpoint kept from before: the log must go on it.")
@click.option("--file", "exported", type=FILE, help="Offline: the log, as `audit export` wrote it.")
@click.option("--checkpoint", type=FILE, help="With --file: the checkpoint exported with it.")
@administration_options
@json_option
def verify(
    log_key: str | None,
    since: Path | None,
    exported: Path | None,
    checkpoint: Path | None,
    access: Access,
    as_json: bool,
) -> None:
    """Read every record of the audit log, and check it against its signed checkpoint.

    The log's key has to be one that you keep (--log-key): a key that comes with the log proves
    that the log is whole, not whose it is. With --since nothing of what was there then may have
    been changed or removed. The secrets of the database have to be as the log leaves them.

    The exit code is 5 when anything is not as it was written; the error names the first record
    that differs, where that can be told.

    \b
    Example:
      sealserve audit verify --log-key log.key --since checkpoint --config keyservice.toml
      sealserve audit verify --file audit.jsonl --checkpoint checkpoint --log-key log.key
    """
    if (exported is None) != (checkpoint is None):
        raise UsageError("--file and --checkpoint go together")
    if exported is not None and checkpoint is not None:
        if access.config is not None or access.server is not None:
            raise UsageError("--file is for a log that no service holds: no --config, no --server")
        if log_key is None:
            raise UsageError("--file needs --log-key: nothing else says whose log it is")
        verifier = read_log_key(log_key)
        head = _verify_file(exported, checkpoint, since, verifier)
    else:
        with access.open() as admin:
            verifier = the_log_key(log_key, admin)
            kept = read_since(since, verifier)
            size = admin.status().log_size
            states = RecordedStates(admin)
            with records_progress("verifying", size) as advance:
                head = verify_log(states, verifier, kept, advance)
            if not states.compare(head.revision):
                note("secrets were changed meanwhile, and not compared with the log: run it again")
    _report(head, verifier, log_key is not None, as_json)


@click.command()
@click.argument("file", type=FILE)
@click.option("--log-key", metavar="KEY|FILE", required=True, help="The log's key that you keep.")
@json_option
def check(file: Path, log_key: str, as_json: bool) -> None:
    """Check the proof in FILE, offline: that the record in it stands in the log of that key.

    Prints the record. The exit code is 5 when the proof does not hold.

    \b
    Example:
      sealserve audit check proof.json --log-key log.key
    """
    found = _read_proof(file)
    head = verify_proof(found, read_log_key(log_key))
    text = found.data.decode("utf-8", "backslashreplace")
    if as_json:
        print_json({"ok": True, "index": found.index, "record": text, **_facts(head)})
        return
    click.echo(text)
    note(f"record {found.index} stands in the log {head.origin} of {head.size} records")


def _verify_file(
    exported: Path, checkpoint: Path, since: Path | None, verifier: LogVerifier
) -> Checkpoint:
    kept = read_since(since, verifier)
    try:
        size = exported.stat().st_size
        with exported.open("rb") as stream, progress("verifying", size) as advance:
            return verify_file(stream, read_note(checkpoint), verifier, kept, advance)
    except OSError as error:
        raise ConfigError(f"cannot read {exported}: {error.strerror}") from error


def _read_proof(file: Path) -> Inclusion:
    try:
        answer = InclusionAnswer.model_validate_json(read_file(file, limit=PROOF_LIMIT))
    except ValueError:
        raise AuditError(
            f"{file} is no proof", code="audit.inclusion", hint="`sealserve audit prove` makes one"
        ) from None
    return answer.value_of()


def _report(head: Checkpoint, verifier: LogVerifier, pinned: bool, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, **_facts(head), "log_key": str(verifier), "pinned": pinned})
        return
    click.echo(
        f"OK: {head.origin} has {head.size} records, root {head.root.hex()},"
        f" revision {head.revision}"
    )


def _facts(head: Checkpoint) -> dict[str, object]:
    return {
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "revision": head.revision,
    }
