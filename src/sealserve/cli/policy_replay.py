"""`sealserve policy replay`: what a policy would have decided for the evidence on record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from sealserve.appraisal import Policy
from sealserve.cli.exported_log import exported_records
from sealserve.cli.output import json_option, print_json, print_table, progress
from sealserve.cli.policy_files import policy_argument
from sealserve.cli.verification import Moment, read_policy
from sealserve.errors import ConfigError
from sealserve.policies import replay as replaying
from sealserve.policies.replay import Effect, Replayed

LISTED = 1000  # changed decisions that are shown; all are counted


class _When(click.ParamType[datetime | None]):
    """`recorded`, or a time."""

    name = "recorded|TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | None:
        return None if value in (None, "recorded") else Moment().convert(value, param, ctx)


class _Replay:
    """The log's decisions under one policy: counted, and those that change kept to be shown."""

    def __init__(self) -> None:
        self.effects: Counter[Effect] = Counter()
        self.changed: list[Replayed] = []
        self.records = 0

    def run(self, audit: Path, policy: Policy, at: datetime | None) -> None:
        with progress("replaying", _size(audit)) as advance:
            records = self._counted(exported_records(audit, advance))
            for replayed in replaying.replay(records, policy, at=at):
                self.effects[replayed.effect] += 1
                if replayed.effect in _CHANGES and len(self.changed) < LISTED:
                    self.changed.append(replayed)

    def _counted(
        self, records: Iterator[tuple[int, Mapping[str, Any]]]
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for each in records:
            self.records += 1
            yield each

    @property
    def unlisted(self) -> int:
        return sum(self.effects[effect] for effect in _CHANGES) - len(self.changed)


_CHANGES = (Effect.NOW_ALLOWED, Effect.NOW_DENIED, Effect.OTHER_SECRET)


@click.command()
@policy_argument
@click.option(
    "--audit",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The key service's audit log, as `sealserve audit export` writes it.",
)
@click.option(
    "--at",
    type=_When(),
    default="recorded",
    show_default=True,
    help="Judge each decision as of its own time, or all as if the same evidence came at TIME.",
)
@json_option
def replay(file: Path, audit: Path, at: datetime | None, as_json: bool) -> None:
    """Say what the policy FILE would have decided for every decision in the audit log.

    It is tried on the claims that were recorded: try a new policy before it is in force, or the
    present one at a later time, when its exceptions have ended. What was rejected before any policy
    was asked cannot be decided, nor what was revoked.

    Records are taken as they stand: `sealserve audit verify` says whether the log is as it was
    written. The exit code is 5 when a line of the file is no record.

    \b
    Example:
      sealserve audit export --config keyservice.toml --out audit.jsonl
      sealserve policy replay new-policy.toml --audit audit.jsonl
      sealserve policy replay policy.toml --audit audit.jsonl --at 2027-04-01T00:00:00Z
    """
    run = _Replay()
    run.run(audit, read_policy(file), at)
    if as_json:
        print_json(_facts(run))
        return
    counts = [(str(effect), run.effects[effect]) for effect in Effect]
    print_table(f"{run.effects.total()} decisions on record", counts)
    for each in run.changed:
        _print(each)
    if run.unlisted:
        click.echo(f"and {run.unlisted} more")


def _size(audit: Path) -> int:
    try:
        return audit.stat().st_size
    except OSError as error:
        raise ConfigError(f"cannot read {audit}: {error.strerror}") from error


def _facts(run: _Replay) -> dict[str, Any]:
    return {
        "decisions": run.effects.total(),
        **{effect.name.lower(): run.effects[effect] for effect in Effect},
        "other_records": run.records - run.effects.total(),
        "changed": [each.as_dict() for each in run.changed],
        "unlisted": run.unlisted,
    }


def _print(each: Replayed) -> None:
    click.secho(f"record {each.index}, {each.time}: {each.effect}", bold=True)
    click.echo(f"  was {each.before}, is [{each.after}] by rule {each.rule!r}")
    for reason in each.reasons:
        click.echo(f"  {reason}")
