"""`sealserve policy replay`: what a policy would have decided for the evidence on record."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from sealserve.appraisal import Policy
from sealserve.cli.output import json_option, note, print_json, print_table, progress
from sealserve.cli.policy_files import policy_argument
from sealserve.cli.verification import Moment, read_policy
from sealserve.errors import ConfigError
from sealserve.keyservice.audit import Chain, Link, check_chain
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

    def __init__(self, policy: Policy, at: datetime | None) -> None:
        self._policy = policy
        self._at = at
        self.effects: Counter[Effect] = Counter()
        self.changed: list[Replayed] = []
        self.others = 0

    def visit(self, link: Link) -> None:
        replayed = replaying.replay(link.receipt.number, link.record, self._policy, at=self._at)
        if replayed is None:
            self.others += 1
            return
        self.effects[replayed.effect] += 1
        if replayed.effect in _CHANGES and len(self.changed) < LISTED:
            self.changed.append(replayed)

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
    help="The key service's audit log; its chain is checked.",
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
    was asked cannot be decided.

    The exit code is 5 when the log is not as it was written.

    \b
    Example:
      sealserve policy replay new-policy.toml --audit audit.jsonl
      sealserve policy replay policy.toml --audit audit.jsonl --at 2027-04-01T00:00:00Z
    """
    run = _Replay(read_policy(file), at)
    chain = _read(audit, run)
    if as_json:
        print_json(_facts(run, chain))
        return
    counts = [(str(effect), run.effects[effect]) for effect in Effect]
    print_table(f"{run.effects.total()} decisions on record", counts)
    for each in run.changed:
        _print(each)
    if run.unlisted:
        click.echo(f"and {run.unlisted} more")
    if chain.torn:
        note(f"the last {len(chain.torn)} bytes of the log are no whole record, and were not read")


def _read(audit: Path, run: _Replay) -> Chain:
    try:
        size = audit.stat().st_size
    except OSError as error:
        raise ConfigError(f"cannot read {audit}: {error.strerror}") from error
    with progress("replaying", size) as advance:

        def visit(link: Link) -> None:
            run.visit(link)
            advance(link.size)

        return check_chain(audit, visit)


def _facts(run: _Replay, chain: Chain) -> dict[str, Any]:
    return {
        "decisions": run.effects.total(),
        **{effect.name.lower(): run.effects[effect] for effect in Effect},
        "other_records": run.others,
        "changed": [each.as_dict() for each in run.changed],
        "unlisted": run.unlisted,
        "audit_head": {"number": chain.head.number, "sha256": chain.head.digest},
        "torn_bytes": len(chain.torn),
    }


def _print(each: Replayed) -> None:
    click.secho(f"record {each.number}, {each.time}: {each.effect}", bold=True)
    click.echo(f"  was {each.before}, is [{each.after}] by rule {each.rule!r}")
    for reason in each.reasons:
        click.echo(f"  {reason}")
