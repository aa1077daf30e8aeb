"""`sealserve result`: attestation results for other relying parties, issued and verified."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from sealserve.appraisal import appraise, appraise_by_default
from sealserve.appraisal.ear import LIFETIME, issue, jwk, thumbprint
from sealserve.appraisal.ear_reading import (
    RESULT_LIMIT,
    VerifiedResult,
    check_executables,
    verify_result,
)
from sealserve.appraisal.policy import POLICY_LIMIT
from sealserve.appraisal.trustworthiness import Tier
from sealserve.cli.output import json_option, note, print_json, print_table
from sealserve.cli.result_keys import new_key, read_private_key, read_public_key
from sealserve.cli.verification import (
    Moment,
    Sources,
    read_policy_with_digest,
    verification_options,
    verify_file,
)
from sealserve.errors import DeniedError, FormatError
from sealserve.files import PUBLIC, read_file, write_file

MAX_SECONDS = 7 * 86400

_FILE = click.Path(path_type=Path, dir_okay=False)
_COLOURS = {
    Tier.AFFIRMING: "green",
    Tier.WARNING: "yellow",
    Tier.CONTRAINDICATED: "red",
    Tier.NONE: "red",
}


@click.group()
def result() -> None:
    """Issue and verify attestation results: appraisals that others can rely on.

    A result is a signed token (EAR) that says what a verifier concluded, by which policy, and
    until when that holds. Whoever trusts the verifier's key need not verify the quote again.

    \b
    Example:
      sealserve result key --out verifier.key
      sealserve result issue quote.bin --collateral intel --policy policy.toml \\
        --key verifier.key --out result.jwt
      sealserve result verify result.jwt --key verifier.key.pub
    """


@result.command()
@click.option("--out", type=_FILE, required=True, help="The private key's file, which is new.")
@json_option
def key(out: Path, as_json: bool) -> None:
    """Make the key that results are signed with: OUT, and its public half in OUT.pub.

    OUT is for its owner alone (mode 0600); OUT.pub (PEM) goes to whoever verifies results. With
    --json the public key is printed as a JWK, which verifies results as well.

    \b
    Example:
      sealserve result key --out verifier.key
    """
    public = new_key(out)
    facts = {**jwk(public), "kid": thumbprint(public), "use": "sig", "alg": "ES256"}
    if as_json:
        print_json(facts)
        return
    print_table("A new key", [("private", out), ("public", f"{out}.pub"), ("kid", facts["kid"])])
    note(f"whoever has {out} can sign results in your name")


@result.command(name="issue")
@click.argument("evidence", metavar="QUOTE", type=_FILE)
@verification_options
@click.option("--policy", "policy_file", type=_FILE, help="Appraise by this policy.")
@click.option("--asked-for", metavar="NAME", help="With --policy: the name that was asked for.")
@click.option("--key", "key_file", type=_FILE, required=True, help="The key to sign with.")
@click.option("--out", type=_FILE, required=True, help="Where the result goes.")
@click.option("--nonce", help="What the relying party sent: 12 to 88 characters of base64url.")
@click.option(
    "--lifetime",
    type=click.IntRange(1, MAX_SECONDS),
    default=int(LIFETIME.total_seconds()),
    show_default=True,
    metavar="SECONDS",
    help="For how long the result holds at most; never longer than its collateral.",
)
@click.option(
    "--with-platform-ids",
    is_flag=True,
    help="State the ids that tell the machine from all others.",
)
@json_option
@click.pass_context
def issue_(
    context: click.Context,
    evidence: Path,
    sources: Sources,
    policy_file: Path | None,
    asked_for: str | None,
    key_file: Path,
    out: Path,
    nonce: str | None,
    lifetime: int,
    with_platform_ids: bool,
    as_json: bool,
) -> None:
    """Verify QUOTE, appraise it, and write the signed result to OUT.

    A denial is a result, too: it says "contraindicated". Evidence that does not verify has none.
    The exit code is 0 when the appraisal allows it, 2 when the evidence is rejected, 3 when its
    collateral is not to be had, 4 when the policy denies it.

    \b
    Example:
      sealserve result issue quote.bin --collateral intel --policy policy.toml \\
        --key verifier.key --out result.jwt
      sealserve result issue ratls.pem --collateral collateral.json --key verifier.key \\
        --nonce "$nonce" --lifetime 300 --out result.jwt
    """
    signing_key = read_private_key(key_file)
    policy, digest = read_policy_with_digest(policy_file) if policy_file else (None, None)
    grace = policy.collateral_grace(sources.now) if policy else timedelta()
    outcome = verify_file(evidence, sources, grace=grace)
    claims = outcome.verified()
    appraised = (
        appraise(claims, policy, asked_for=asked_for, now=claims.verified_at)
        if policy
        else appraise_by_default(claims)
    )
    token = issue(
        appraised,
        claims,
        policy_sha256=digest,
        evidence_sha256=hashlib.sha256(outcome.quote).hexdigest(),
        key=signing_key,
        now=claims.verified_at,
        nonce=nonce,
        lifetime=timedelta(seconds=lifetime),
        with_platform_ids=with_platform_ids,
    )
    write_file(out, f"{token}\n".encode(), mode=PUBLIC)
    found = verify_result(token, public_key=signing_key.public_key(), now=claims.verified_at)
    _show(found, as_json=as_json)
    context.exit(0 if appraised.allowed else DeniedError.exit_code)


@result.command()
@click.argument("token", metavar="TOKEN", type=_FILE)
@click.option(
    "--key",
    "key_file",
    type=_FILE,
    required=True,
    help="The verifier's public key: PEM, or a JWK.",
)
@click.option("--policy", "policy_file", type=_FILE, help="It must be by this very policy.")
@click.option("--nonce", help="It must have this nonce.")
@click.option(
    "--max-age",
    type=click.IntRange(1, MAX_SECONDS),
    metavar="SECONDS",
    help="It must be no older.",
)
@click.option("--allow-warnings", is_flag=True, help='Exit with 0 for the status "warning", too.')
@click.option(
    "--allow-default-policy",
    is_flag=True,
    help="Exit with 0 although nobody looked at which executable it is.",
)
@click.option("--at", type=Moment(), help="The time to verify at.  [default: now]")
@json_option
@click.pass_context
def verify(
    context: click.Context,
    token: Path,
    key_file: Path,
    policy_file: Path | None,
    nonce: str | None,
    max_age: int | None,
    allow_warnings: bool,
    allow_default_policy: bool,
    at: datetime | None,
    as_json: bool,
) -> None:
    """Verify the result in the file TOKEN, and say what it states.

    The exit code is 0 when its status is "affirming", 4 when it is any other, 2 when the result is
    not signed by the key, is malformed, has expired, or is not what was asked for. It is 4, too,
    when the result says nothing of which executable runs: by the default policy, unless
    --allow-default-policy is given, and by a policy that leaves it open and is not named here.

    \b
    Example:
      sealserve result verify result.jwt --key verifier.key.pub
      sealserve result verify result.jwt --key verifier.jwk --policy policy.toml --max-age 300
    """
    found = verify_result(
        _read_token(token),
        public_key=read_public_key(key_file),
        now=at or datetime.now(UTC),
        max_age=None if max_age is None else timedelta(seconds=max_age),
        nonce=nonce,
        policy_sha256=_policy_sha256(policy_file),
    )
    accepted = {Tier.AFFIRMING, Tier.WARNING} if allow_warnings else {Tier.AFFIRMING}
    if found.status in accepted:
        check_executables(
            found,
            allow_default_policy=allow_default_policy,
            policy_is_known=policy_file is not None,
        )
    _show(found, as_json=as_json)
    context.exit(0 if found.status in accepted else DeniedError.exit_code)


def _read_token(path: Path) -> str:
    data = read_file(path, limit=RESULT_LIMIT)
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise FormatError(f"{path} is no result: it is not text", code="RESULT_FORMAT") from None


def _policy_sha256(path: Path | None) -> str | None:
    if path is None:
        return None
    return hashlib.sha256(read_file(path, limit=POLICY_LIMIT)).hexdigest()


def _show(found: VerifiedResult, *, as_json: bool) -> None:
    if as_json:
        print_json({**_facts(found), "claims": found.ours.claims})
        return
    click.secho(str(found.status), bold=True, fg=_COLOURS[found.status])
    facts = _facts(found)
    vector = ", ".join(f"{name} {value}" for name, value in found.vector.items())
    print_table("", list({**facts, "trustworthiness": vector}.items())[1:])
    if found.simulated:
        click.secho("SIMULATED: no hardware vouches for any of it", bold=True)
    print_table("Claims", list(found.ours.claims.items()))


def _facts(found: VerifiedResult) -> dict[str, Any]:
    ours = found.ours
    return {
        "status": found.status,
        "tee": found.tee,
        "trustworthiness": dict(found.vector),
        "allowed": ours.allowed,
        "code": ours.code,
        "rule": ours.rule,
        "identity": ours.identity,
        "exceptions": ours.exceptions,
        "policy": found.policy,
        "evidence_sha256": ours.evidence_sha256,
        "issued_at": found.issued_at.isoformat(),
        "expires_at": found.expires_at.isoformat(),
        "nonce": found.nonce,
        "issuer": found.issuer,
        "verifier": found.build,
        "simulated": found.simulated,
    }
