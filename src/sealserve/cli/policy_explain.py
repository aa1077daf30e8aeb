"""`sealserve policy explain`: which rule came nearest, what failed in it, and what would fix it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sealserve.appraisal import AttestationResult, Condition, RuleOutcome, appraise
from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.policy_evidence import Asked, read_evidence
from sealserve.cli.policy_files import policy_argument
from sealserve.cli.verification import Moment, read_policy
from sealserve.errors import DeniedError, RejectedError
from sealserve.verifier import Claims


@click.command()
@policy_argument
@click.option(
    "--quote",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The quote, or the RA-TLS certificate with one, to verify and appraise.",
)
@click.option(
    "--collateral",
    metavar="DIR|FILE|URL",
    help="With --quote: a folder, one JSON file, a PCCS, or a service by its name.",
)
@click.option(
    "--trust-root",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --quote: the root certificate to rest on.  [default: Intel's SGX Root CA]",
)
@click.option(
    "--claims",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Instead of --quote: claims in JSON, as `quote verify --json` prints; or one record of "
    "the audit log, a line of what `audit export` writes.",
)
@click.option(
    "--at",
    type=Moment(),
    help="The time to judge at.  [default: now; with --claims, when they were verified]",
)
@click.option(
    "--asked-for",
    metavar="HOST",
    help="The host name under which it asks.  [default: none, or that of the record]",
)
@click.option(
    "--secret",
    metavar="NAME",
    help="The name of the secret that it asks for.  [default: none, or that of the record]",
)
@json_option
@click.pass_context
def explain(context: click.Context, /, file: Path, as_json: bool, **options: Any) -> None:
    """Say what the policy FILE decides for a quote or for recorded claims, and why.

    For the rule that grants or comes nearest: each condition, what was found, what was expected,
    which exception carried it, and what would make it hold.

    The exit code is 0 when a secret is granted, 2 when the evidence is rejected, 3 when its
    collateral is not to be had, 4 when the policy denies it.

    \b
    Example:
      sealserve policy explain policy.toml --quote quote.bin --collateral https://pccs.example.com
      sealserve policy explain policy.toml --claims record.json --secret team-a-resnet50
    """
    asked = Asked(**options)
    policy = read_policy(file)
    try:
        evidence = read_evidence(asked, policy)
    except RejectedError as error:
        _print_rejection(error, as_json=as_json)
        context.exit(error.exit_code)
    result = appraise(
        evidence.claims,
        policy,
        asked_for=evidence.asked_for if asked.asked_for is None else asked.asked_for,
        now=evidence.now,
        secret=evidence.secret if asked.secret is None else asked.secret,
    )
    if as_json:
        print_json(_facts(evidence.claims, result))
    else:
        _print(result, simulated=evidence.claims.simulated)
    context.exit(0 if result.allowed else DeniedError.exit_code)


def _facts(claims: Claims, result: AttestationResult) -> dict[str, Any]:
    return {
        "verdict": "accept" if result.allowed else "deny",
        "code": result.code,
        "rule": result.rule,
        "identity": result.identity,
        "secret": result.grant.secret if result.grant else None,
        "exceptions": result.exceptions,
        "simulated": claims.simulated,
        "conditions": [_condition(each) for each in _decisive(result)],
        "rules": [
            {
                "rule": each.rule,
                "identity": each.identity,
                "failed": [condition.code for condition in each.failed],
            }
            for each in result.outcomes
        ],
    }


def _decisive(result: AttestationResult) -> tuple[Condition, ...]:
    return result.decisive.conditions if result.decisive else ()


def _condition(each: Condition) -> dict[str, Any]:
    return {
        "code": each.code,
        "field": each.subject,
        "held": each.held,
        "found": each.found,
        "expected": each.expected,
        "exception": each.exception,
        "fix": each.fix,
    }


def _print(result: AttestationResult, *, simulated: bool) -> None:
    if result.allowed and result.grant:
        click.secho(f"allowed: the secret {result.grant.secret!r}", bold=True, fg="green")
    else:
        click.secho(f"denied [{result.code}]", bold=True, fg="yellow")
    if simulated:
        click.secho("SIMULATED: no hardware vouches for any of this", bold=True)
    if result.decisive is None:
        click.echo("the policy has no rules, and what no rule allows is denied")
        return
    nearest = "granted by" if result.allowed else "nearest is"
    click.echo(f"{nearest} rule {result.rule!r}, for the identity {result.identity!r}:")
    for each in result.decisive.conditions:
        _print_condition(each)
    _print_others(result)


def _print_condition(each: Condition) -> None:
    if each.held:
        by = f" (by exception {each.exception!r})" if each.exception else ""
        click.echo(f"  ok    {each.subject}: {each.found}{by}")
        return
    click.secho(f"  FAIL  {each.subject} [{each.code}]", fg="red")
    for name, text in (("found", each.found), ("expected", each.expected), ("fix", each.fix)):
        click.echo(f"        {name + ':':<9} {text}")


def _print_others(result: AttestationResult) -> None:
    others = [each for each in result.outcomes if each is not result.decisive]
    if others and not result.allowed:
        click.echo("farther away:")
        for each in others:
            click.echo(f"  rule {each.rule!r}, identity {each.identity!r}: {_failed(each)}")


def _failed(outcome: RuleOutcome) -> str:
    return ", ".join(dict.fromkeys(condition.subject for condition in outcome.failed))


def _print_rejection(error: RejectedError, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "verdict": "reject",
                "code": error.code,
                "message": error.message,
                "hint": error.hint,
            }
        )
        return
    click.secho(f"rejected [{error.code}], before any policy is asked", bold=True, fg="red")
    note(error.message)
    if error.hint:
        note(f"  hint: {error.hint}")
