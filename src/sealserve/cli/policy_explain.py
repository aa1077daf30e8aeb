"""`sealserve policy explain`: which rule came nearest, what failed in it, and what would fix it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from sealserve.appraisal import AttestationResult, Condition, Policy, RuleOutcome, appraise
from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.policy_files import policy_argument, read_text
from sealserve.cli.verification import Moment, Sources, read_policy, verify_file
from sealserve.errors import ConfigError, DeniedError, FormatError, RejectedError, UsageError
from sealserve.verifier import Claims
from sealserve.verifier.recorded import claims_from_dict

CLAIMS_LIMIT = 256 << 10  # bytes


@dataclass(frozen=True, slots=True)
class _Asked:
    """Where the claims come from, and under which name and at what time they are appraised."""

    quote: Path | None
    claims: Path | None
    collateral: str | None
    trust_root: Path | None
    at: datetime | None
    asked_for: str | None


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
    help="Instead of --quote: claims in JSON, as `quote verify --json` and audit records have.",
)
@click.option(
    "--at",
    type=Moment(),
    help="The time to judge at.  [default: now; with --claims, when they were verified]",
)
@click.option("--asked-for", metavar="NAME", help="The name under which the secret is asked for.")
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
      sealserve policy explain policy.toml --claims claims.json --asked-for models.example.com
    """
    asked = _Asked(**options)
    policy = read_policy(file)
    try:
        claims, now = _claims(asked, policy)
    except RejectedError as error:
        _print_rejection(error, as_json=as_json)
        context.exit(error.exit_code)
    result = appraise(claims, policy, asked_for=asked.asked_for, now=now)
    if as_json:
        print_json(_facts(claims, result))
    else:
        _print(result, simulated=claims.simulated)
    context.exit(0 if result.allowed else DeniedError.exit_code)


def _claims(asked: _Asked, policy: Policy) -> tuple[Claims, datetime]:
    """The claims to appraise, and when; raises RejectedError for evidence that does not verify."""
    if (asked.quote is None) == (asked.claims is None):
        raise UsageError("give either --quote, with --collateral, or --claims")
    if asked.claims is not None:
        if asked.collateral or asked.trust_root:
            raise UsageError("--collateral and --trust-root go with --quote: claims are verified")
        claims = _recorded(asked.claims)
        return claims, asked.at or claims.verified_at
    if asked.quote is None or asked.collateral is None:
        raise UsageError(
            "a quote is verified by its collateral: give --collateral",
            hint="a folder, one JSON file, the URL of a PCCS, or a service such as intel",
        )
    sources = Sources(asked.collateral, asked.trust_root, asked.at, skip_revocation=False)
    grace = policy.collateral_grace(sources.now)
    claims = verify_file(asked.quote, sources, grace=grace).verified()
    return claims, claims.verified_at


def _recorded(path: Path) -> Claims:
    """The claims in a file: alone, or as the member `claims` of what some command wrote."""
    try:
        document = json.loads(read_text(path, limit=CLAIMS_LIMIT))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    inner = document.get("claims", document) if isinstance(document, dict) else None
    if not isinstance(inner, dict):
        raise FormatError(
            f"{path} has no claims",
            code="claims.keys",
            hint="give what `sealserve quote verify --json` printed, or a record of the audit log",
        )
    return claims_from_dict(inner)


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
