"""`sealserve policy apply`: a policy into force, after it was checked and tried."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealserve.appraisal.policy import Policy, parse_policy
from sealserve.cli.administration_options import Access, administration_options
from sealserve.cli.output import json_option, print_json
from sealserve.cli.policy_files import counts, policy_argument, print_findings, read_text
from sealserve.errors import ConfigError, UsageError
from sealserve.policies.checking import Checked, check_policy
from sealserve.policies.diff import diff
from sealserve.policies.difference import Difference
from sealserve.policies.replay import Effect

if TYPE_CHECKING:
    from sealserve.keyservice.administration.values import Administration, DryRun, PolicyFacts

NO_POLICY = "version = 2\n"  # what holds before the first is applied: it grants nothing


@click.command()
@policy_argument
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Ask nobody.")
@administration_options
@json_option
@click.pass_context
def apply(
    context: click.Context,
    /,
    file: Path,
    dry_run: bool,
    yes: bool,
    access: Access,
    as_json: bool,
) -> None:
    """Put the policy FILE in force, from the next release on, in every copy of the service.

    It is checked as by `policy check`, compared with the one in force, and tried on the newest
    decisions on record; then you are asked. If anybody changes anything in between, nothing is
    applied: try again.

    The exit code is 1 when the policy has errors, or nobody said yes.

    \b
    Example:
      sealserve policy apply policy.toml --dry-run --config keyservice.toml
      sealserve policy apply policy.toml --yes --config keyservice.toml
    """
    text = read_text(file)
    checked = check_policy(text, datetime.now(UTC))
    if not as_json:
        print_findings(file, checked.findings)
    if checked.policy is None or counts(checked.findings)["errors"]:
        raise ConfigError(
            f"the policy {file} has {counts(checked.findings)['errors']} errors",
            hint=f"sealserve policy check {file}",
        )
    with access.open() as admin:
        tried, changes = _try(admin, text, checked.policy)
        if not as_json:
            _print_trial(tried, changes)
        applied = None
        if not dry_run:
            _confirm(file, yes)
            applied = admin.apply_policy(text, tried.token)
    if as_json:
        print_json(_facts(checked, tried, changes, applied))
    elif applied is not None:
        click.echo(f"applied: {file}, SHA-256 {applied.sha256}, revision {applied.revision}")
    else:
        click.echo("a dry run: nothing was changed")


def _try(admin: Administration, text: str, policy: Policy) -> tuple[DryRun, list[Difference]]:
    before = admin.policy().text
    changes = list(diff(parse_policy(NO_POLICY if before is None else before), policy))
    return admin.try_policy(text), changes


def _confirm(file: Path, yes: bool) -> None:
    """Raise UsageError unless somebody wants it."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing was applied: nobody is at a terminal to say yes",
            hint="--yes applies without asking, --dry-run says what would change",
        )
    if not click.confirm(f"Put {file} in force?", err=True):
        raise UsageError("nothing was applied: you said no")


def _print_trial(tried: DryRun, changes: list[Difference]) -> None:
    for each in changes:
        click.echo(f"{each.change:<8}  {each.place}: {each.text}")
    if not changes:
        click.echo("it means the same as the policy in force")
    number = sum(tried.counts.values())
    found = ", ".join(f"{effect}: {count}" for effect, count in tried.counts.items() if count)
    click.echo(f"tried on the newest {number} decisions on record: {found or 'there are none'}")
    for line in tried.changed:
        click.echo(f"  {line}")
    for name in tried.missing_secrets:
        click.secho(f"there is no secret {name!r}, which a rule grants", fg="yellow", bold=True)
    denied = tried.counts.get(Effect.NOW_DENIED, 0)
    if denied:
        click.secho(
            f"WARNING: {denied} of these decisions would be DENIED now: enclaves that run today"
            " would get nothing at their next start",
            fg="red",
            bold=True,
        )


def _facts(
    checked: Checked, tried: DryRun, changes: list[Difference], applied: PolicyFacts | None
) -> dict[str, object]:
    return {
        "applied": applied is not None,
        "policy_sha256": tried.policy_sha256,
        "revision": tried.revision if applied is None else applied.revision,
        "findings": [each.as_dict() for each in checked.findings],
        "differences": [each.as_dict() for each in changes],
        "counts": dict(tried.counts),
        "changed": list(tried.changed),
        "missing_secrets": list(tried.missing_secrets),
    }
