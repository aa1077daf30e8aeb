"""`sealserve audit search`: find records of the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import click

from sealserve.cli.administration_options import Access, administration_options
from sealserve.cli.output import json_option, print_json
from sealserve.cli.verification import Moment
from sealserve.errors import UsageError
from sealserve.keyservice.administration.values import PAGE, Administration, Query, Record

LIMIT = 100_000  # records of one search; `audit export` has no limit
_DIGITS = 16  # of a digest, in the table
_COLUMNS = ("INDEX", "TIME", "KIND", "OUTCOME", "SECRET", "EVIDENCE", "WHY")


@click.command()
@click.option("--kind", metavar="KIND", help="decision or change.")
@click.option("--outcome", metavar="OUTCOME", help="released, denied, rejected or failed.")
@click.option("--secret", metavar="NAME", help="Records on this secret.")
@click.option("--evidence", metavar="HEX", help="The SHA-256 of a quote.")
@click.option("--since", type=Moment(), help="From this time on.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option(
    "--limit", type=click.IntRange(1, LIMIT), default=20, show_default=True, help="At most so many."
)
@click.option("--oldest-first", is_flag=True, help="In the log's order, not the newest first.")
@administration_options
@json_option
def search(
    limit: int, oldest_first: bool, access: Access, as_json: bool, **conditions: Any
) -> None:
    """Find records; all conditions that are given have to hold.

    Records are shown as the service gives them: `audit verify` says whether the log is whole, and
    `audit prove` proves a single record.

    \b
    Example:
      sealserve audit search --outcome denied --limit 5 --config keyservice.toml
      sealserve audit search --secret resnet50 --since 2027-01-01T00:00:00Z --json \\
        --config keyservice.toml
    """
    query = _query(oldest_first, **conditions)
    with access.open() as admin:
        found = list(_records(admin, query, limit))
    if as_json:
        print_json({"records": [{"index": each.index, "record": _parsed(each)} for each in found]})
        return
    rows = [_row(each.index, _parsed(each)) for each in found]
    _print(rows)


def _query(
    oldest_first: bool,
    *,
    kind: str | None,
    outcome: str | None,
    secret: str | None,
    evidence: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Query:
    return Query(
        kind=kind,
        outcome=outcome,
        secret=secret,
        evidence=evidence.lower() if evidence else None,
        since=since,
        until=until,
        newest_first=not oldest_first,
    )


def _records(admin: Administration, query: Query, limit: int) -> Iterator[Record]:
    while limit > 0:
        page = admin.records(replace(query, limit=min(limit, PAGE)))
        yield from page
        limit -= len(page)
        if not page or (query.newest_first and page[-1].index == 0):
            return
        query = replace(query, after=page[-1].index)


def _parsed(record: Record) -> Mapping[str, Any]:
    try:
        found = json.loads(record.data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(
            f"record {record.index} is no JSON object: somebody changed it",
            code="audit.record",
            hint="sealserve audit verify",
        )
    return found


def _row(index: int, record: Mapping[str, Any]) -> tuple[str, ...]:
    """One line of the table: of a decision its code, of a change what it was."""
    if record.get("kind") == "change":
        why: object = f"{record.get('what')} by {record.get('by')}"
        if "target" in record:
            why = f"{why}: {record['target']}, {record.get('reason')}"
    else:
        why = record.get("code")
    cells = (
        index,
        str(record.get("time"))[:19],
        record.get("kind"),
        record.get("outcome"),
        record.get("secret") or record.get("asked_secret"),
        str(record.get("evidence_sha256") or "-")[:_DIGITS],
        why,
    )
    return tuple(_safe(cell) for cell in cells)


def _safe(cell: object) -> str:
    """A cell that moves no cursor, whoever wrote it."""
    return "-" if cell is None else str(cell).encode("unicode_escape").decode("ascii")[:200]


def _print(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
