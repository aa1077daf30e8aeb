"""`sealserve policy`: check and compare policies; the other commands are in modules beside this."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from sealserve.cli.output import json_option, print_json
from sealserve.cli.policy_apply import apply
from sealserve.cli.policy_edit import add_measurement, import_
from sealserve.cli.policy_explain import explain
from sealserve.cli.policy_files import counts, policy_argument, print_findings, read_text
from sealserve.cli.policy_replay import replay
from sealserve.cli.policy_show import show
from sealserve.cli.verification import Moment, read_policy
from sealserve.errors import ConfigError
from sealserve.policies.checking import Checked, check_policy
from sealserve.policies.diff import diff
from sealserve.policies.extent import Change

_COLOURS = {Change.WIDER: "red", Change.NARROWER: "green", Change.OTHER: "yellow"}


@click.group()
def policy() -> None:
    """Check, explain, compare, replay, import, edit, apply and show policies.

    A policy says which enclaves may have which secret; docs/policy-reference.md describes it.

    \b
    Example:
      sealserve policy check policy.toml
      sealserve policy diff policy.toml new-policy.toml
    """


@policy.command()
@policy_argument
@click.option("--at", type=Moment(), help="The time to check at.  [default: now]")
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@json_option
@click.pass_context
def check(
    context: click.Context, file: Path, at: datetime | None, strict: bool, as_json: bool
) -> None:
    """Check FILE: is it a policy, and does it say what was meant?

    Beyond the form it looks for rules that can never grant, exceptions that ended, soon will or
    are too wide, measurements that look like slips of the pen. Each finding has its line.

    The exit code is 1 when the policy is not valid or has errors.

    \b
    Example:
      sealserve policy check policy.toml
      sealserve policy check policy.toml --strict --at 2027-01-01T00:00:00Z --json
    """
    checked = check_policy(read_text(file), at or datetime.now(UTC))
    number = counts(checked.findings)
    if as_json:
        findings = [each.as_dict() for each in checked.findings]
        print_json({"valid": checked.policy is not None, **number, "findings": findings})
    else:
        print_findings(file, checked.findings)
        click.echo(_summary(file, checked))
    if number["errors"] or (strict and number["warnings"]):
        context.exit(ConfigError.exit_code)


def _summary(file: Path, checked: Checked) -> str:
    number = counts(checked.findings)
    found = f"errors {number['errors']}, warnings {number['warnings']}"
    if checked.policy is None:
        return f"{file} is not valid: {found}"
    tables = {
        "rules": checked.policy.rules,
        "identities": checked.policy.identities,
        "exceptions": checked.policy.exceptions,
    }
    sizes = ", ".join(f"{name} {len(entries)}" for name, entries in tables.items())
    return f"{file} is valid ({sizes}): {found}"


@policy.command("diff")
@click.argument("old", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("new", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def diff_(old: Path, new: Path, as_json: bool) -> None:
    """Say what the policy NEW lets in that OLD does not, and the other way round.

    Each difference is wider (lets in more), narrower (lets in less) or other. Comments, layout and
    the order within lists are no differences; the order of rules is.

    \b
    Example:
      sealserve policy diff policy.toml new-policy.toml
    """
    differences = diff(read_policy(old), read_policy(new))
    number = {str(change): sum(each.change is change for each in differences) for change in Change}
    if as_json:
        listed = [each.as_dict() for each in differences]
        print_json({"same": not differences, **number, "differences": listed})
        return
    for each in differences:
        change = click.style(f"{each.change:<8}", fg=_COLOURS[each.change], bold=True)
        click.echo(f"{change}  {each.place}: {each.text}")
    found = ", ".join(f"{change} {count}" for change, count in number.items())
    click.echo(found if differences else "the policies mean the same")


for command in (apply, show, explain, replay, import_, add_measurement):
    policy.add_command(command)
