"""`sealserve quote`: verify a quote against its collateral, and appraise it."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from sealserve.appraisal import AttestationResult, Policy, appraise, appraise_by_default
from sealserve.appraisal.appraise import Condition
from sealserve.cli.output import json_option, note, print_json, print_table
from sealserve.cli.verification import (
    Outcome,
    Sources,
    read_policy,
    verification_options,
    verify_file,
)
from sealserve.errors import DeniedError, FormatError, RejectedError
from sealserve.evidence.quote import TEE_TYPE_SGX, parse_quote
from sealserve.verifier import Claims, DcapStanding
from sealserve.verifier.steps import outcomes

APPRAISAL = 8  # the step after the verifier's
_COLOURS = {"accept": "green", "deny": "yellow", "reject": "red"}


@click.group()
def quote() -> None:
    """Verify quotes.

    \b
    Example:
      sealserve quote verify quote.bin --collateral collateral/
    """


@quote.command()
@click.argument("evidence", metavar="QUOTE", type=click.Path(path_type=Path, dir_okay=False))
@verification_options
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Appraise by this policy.  [default: no debug; the TCB status is reported]",
)
@click.option("--asked-for", metavar="NAME", help="With --policy: the name that was asked for.")
@json_option
@click.pass_context
def verify(
    context: click.Context,
    evidence: Path,
    sources: Sources,
    policy_file: Path | None,
    asked_for: str | None,
    as_json: bool,
) -> None:
    """Verify QUOTE: a quote, or an RA-TLS certificate with one, of SGX or TDX.

    Checks everything that docs/verifier.md lists, then appraises the claims. Without --policy the
    default stands: no debug, nothing revoked, the TCB status reported and not judged.

    The exit code is 0 when the quote is accepted, 2 when it is rejected (malformed, unverifiable),
    3 when its collateral is not to be had, 4 when the policy denies it.

    \b
    Example:
      sealserve quote verify quote.bin --collateral https://pccs.example.com:8081
      sealserve quote verify quote.bin --collateral collateral.json --at 2026-05-26T20:26:40Z --json
      sealserve quote verify ratls.pem --collateral intel --policy policy.toml
    """
    policy = read_policy(policy_file) if policy_file else None
    grace = policy.collateral_grace(sources.at) if policy else timedelta()
    outcome = verify_file(evidence, sources, grace=grace)
    if outcome.claims is None:
        facts, exit_code = _rejected(outcome), RejectedError.exit_code
    else:
        result = _appraise(outcome.claims, policy, asked_for, sources)
        facts = _appraised(outcome.claims, result)
        exit_code = 0 if result.allowed else DeniedError.exit_code
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    context.exit(exit_code)


def _appraise(
    claims: Claims, policy: Policy | None, asked_for: str | None, sources: Sources
) -> AttestationResult:
    if policy is None:
        return appraise_by_default(claims)
    return appraise(claims, policy, asked_for=asked_for, now=sources.at)


def _rejected(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    if error is None:
        raise AssertionError("evidence without claims has an error")
    return {
        "verdict": "reject",
        "code": error.code,
        "tcb_status": None,
        "advisory_ids": [],
        "tee": _claimed_tee(outcome.quote),
        "message": error.message,
        "hint": error.hint,
        "rule": None,
        "exceptions": [],
        "claims": None,
        "steps": [
            {"step": each.step, "check": each.check, "outcome": each.outcome}
            for each in outcomes(error.code)
        ],
    }


def _claimed_tee(data: bytes) -> str | None:
    """The kind of TEE that a quote says it is of: nobody vouches for it."""
    try:
        return "SGX" if parse_quote(data).tee_type == TEE_TYPE_SGX else "TDX"
    except FormatError:
        return None


def _appraised(claims: Claims, result: AttestationResult) -> dict[str, Any]:
    standing = claims.standing
    if not isinstance(standing, DcapStanding):
        raise AssertionError("our own verifier spoke")
    failed = [condition for condition in _conditions(result) if not condition.held]
    return {
        "verdict": "accept" if result.allowed else "deny",
        "code": result.code,
        "tcb_status": standing.tcb_status,
        "advisory_ids": standing.advisory_ids,
        "tee": claims.target.tee,
        "message": "; ".join(map(str, failed)) or None,
        "hint": failed[0].fix if failed else None,
        "rule": result.rule,
        "exceptions": result.exceptions,
        "claims": claims.as_dict(),
        "steps": [
            {"step": each.step, "check": each.check, "outcome": each.outcome}
            for each in outcomes(None)
        ]
        + [
            {
                "step": APPRAISAL,
                "check": condition.code,
                "outcome": "passed" if condition.held else "failed",
            }
            for condition in _conditions(result)
        ],
    }


def _conditions(result: AttestationResult) -> tuple[Condition, ...]:
    """Those of the rule that granted or came nearest."""
    for outcome in result.outcomes:
        if outcome.rule == result.rule:
            return outcome.conditions
    return ()


def _print(facts: dict[str, Any]) -> None:
    verdict = facts["verdict"]
    click.secho(f"{verdict} [{facts['code']}]", bold=True, fg=_COLOURS[verdict])
    for key in ("message", "hint"):
        if facts[key]:
            note(f"{key}: {facts[key]}")
    names = ("tee", "tcb_status", "advisory_ids", "rule", "exceptions")
    print_table("", [(name, facts[name]) for name in names])
    claims = facts["claims"]
    if claims is not None:
        if claims["simulated"]:
            click.secho("SIMULATED: the trust root is not Intel's", bold=True)
        print_table("Claims", list(claims.items()))
    click.secho("Checks", bold=True)
    for step, rows in itertools.groupby(facts["steps"], key=lambda row: row["step"]):
        click.echo(f"{step}. " + ", ".join(f"{row['check']} {row['outcome']}" for row in rows))
