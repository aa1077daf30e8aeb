"""`sealserve quote`: verify a quote against its collateral, and appraise it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from sealserve.appraisal import AttestationResult, Policy, appraise, appraise_by_default
from sealserve.appraisal.appraise import Condition
from sealserve.cli.output import json_option, print_json, print_table
from sealserve.cli.verification import (
    Outcome,
    Sources,
    read_policy,
    verification_options,
    verify_file,
)
from sealserve.errors import DeniedError, FormatError, RejectedError
from sealserve.evidence.quote import TEE_TYPE_SGX, parse_quote
from sealserve.verifier import Claims, Tee
from sealserve.verifier.claims import DcapStanding
from sealserve.verifier.steps import outcomes

APPRAISAL = 8  # the policy's step, after the verifier's (docs/verifier.md)
BINDING = "binding.report-data"  # of a certificate: its key is the one that the quote binds
_STEPS = {
    0: "trust root",
    1: "quote",
    2: "PCK chain",
    3: "revocation",
    4: "TCB info, QE identity",
    5: "quoting enclave",
    6: "quote signature",
    7: "TCB level",
    APPRAISAL: "binding, appraisal",
}
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
    grace = policy.collateral_grace(sources.now) if policy else timedelta()
    outcome = verify_file(evidence, sources, grace=grace)
    if outcome.error is not None:
        facts, exit_code = _rejected(outcome, outcome.error, sources), outcome.error.exit_code
    else:
        result = _appraise(outcome.verified(), policy, asked_for)
        facts = _appraised(outcome, result, sources)
        exit_code = 0 if result.allowed else DeniedError.exit_code
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    context.exit(exit_code)


def _appraise(claims: Claims, policy: Policy | None, asked_for: str | None) -> AttestationResult:
    if policy is None:
        return appraise_by_default(claims)
    return appraise(claims, policy, asked_for=asked_for, now=claims.verified_at)


def _rejected(outcome: Outcome, error: RejectedError, sources: Sources) -> dict[str, Any]:
    tee = _claimed_tee(outcome.quote)
    return {
        "verdict": "reject",
        "code": error.code,
        "tcb_status": None,
        "advisory_ids": [],
        "tee": tee,
        "message": error.message,
        "hint": error.hint,
        "rule": None,
        "exceptions": [],
        "claims": None,
        "steps": _checks(outcome, tee, sources),
    }


def _claimed_tee(data: bytes) -> Tee | None:
    """The kind of TEE that a quote says it is of: nobody vouches for it."""
    try:
        return "SGX" if parse_quote(data).tee_type == TEE_TYPE_SGX else "TDX"
    except FormatError:
        return None


def _appraised(outcome: Outcome, result: AttestationResult, sources: Sources) -> dict[str, Any]:
    claims = outcome.verified()
    standing = claims.standing
    if not isinstance(standing, DcapStanding):
        raise AssertionError("our own verifier spoke")
    decisive = result.decisive
    failed = decisive.failed if decisive else ()
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
            *_checks(outcome, claims.target.tee, sources),
            *map(_appraisal_check, decisive.conditions if decisive else ()),
        ],
    }


def _checks(outcome: Outcome, tee: Tee | None, sources: Sources) -> list[dict[str, Any]]:
    """The verifier's checks and, for a certificate, whether the quote binds its key."""
    code = outcome.error.code if outcome.error and outcome.claims is None else None
    checks = outcomes(code, tee=tee, revocation_checked=not sources.skip_revocation)
    rows = [_row(each.step, each.check, each.outcome) for each in checks]
    if outcome.is_certificate and outcome.claims is not None:
        rows.append(_row(APPRAISAL, BINDING, "failed" if outcome.error else "passed"))
    return rows


def _appraisal_check(condition: Condition) -> dict[str, Any]:
    return _row(APPRAISAL, condition.code, "passed" if condition.held else "failed")


def _row(step: int, check: str, outcome: str) -> dict[str, Any]:
    return {"step": step, "check": check, "outcome": outcome}


def _print(facts: dict[str, Any]) -> None:
    verdict = facts["verdict"]
    click.secho(f"{verdict} [{facts['code']}]", bold=True, fg=_COLOURS[verdict])
    names = ("message", "hint", "tee", "tcb_status", "advisory_ids", "rule", "exceptions")
    print_table("Outcome", [(name, facts[name]) for name in names if facts[name]])
    claims = facts["claims"]
    if claims is not None:
        title = (
            "Claims (SIMULATED: the trust root is not Intel's)" if claims["simulated"] else "Claims"
        )
        print_table(title, list(claims.items()))
    print_table("Steps", [_step(facts["steps"], step) for step in _STEPS])


def _step(checks: list[dict[str, Any]], step: int) -> tuple[str, str]:
    """One step in a line: what failed or, where nothing did, how many checks passed."""
    mine = [check for check in checks if check["step"] == step]
    by_outcome = {
        outcome: [check["check"] for check in mine if check["outcome"] == outcome]
        for outcome in ("failed", "passed", "not reached")
    }
    texts = [f"{len(names)} {outcome}" for outcome, names in by_outcome.items() if names]
    failed = ", ".join(by_outcome["failed"])
    return f"{step}. {_STEPS[step]}", ", ".join(texts) + (f" ({failed})" if failed else "")
