"""What commands that verify evidence share: their options, and the way from files to an outcome.

Evidence is a quote, or an RA-TLS certificate, which must then also bind its own key. Collateral is
asked for only when the quote's PCK chain stands under the named root.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from sealserve.appraisal import Policy, parse_policy
from sealserve.appraisal.policy import POLICY_LIMIT
from sealserve.collateral.source import parse_source
from sealserve.endorsements.collateral import PART_LIMIT
from sealserve.errors import ConfigError, FormatError, RejectedError, UsageError
from sealserve.evidence.kind import Kind, detect
from sealserve.evidence.ratls import RatlsEvidence, check_binding, extract_evidence
from sealserve.files import read_file
from sealserve.verifier import INTEL_SGX_ROOT_CA, Claims, load_trust_root, platform_of, verify

EVIDENCE_LIMIT = 64 * 1024  # bytes: the largest quote or certificate that is read
_SECONDS = re.compile(r"[0-9]{1,11}")
_Command = TypeVar("_Command", bound=Callable[..., Any])


class Moment(click.ParamType[datetime]):
    """A time with its zone (RFC 3339), or whole seconds since 1970."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if _SECONDS.fullmatch(value):
                return datetime.fromtimestamp(int(value), UTC)
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time such as 2026-05-26T20:26:40Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} names no time zone: write 2026-05-26T20:26:40Z", param, ctx)
        return moment


@dataclass(frozen=True, slots=True)
class Sources:
    """What a command was told about how to verify."""

    collateral: str
    trust_root: Path | None
    at: datetime | None
    skip_revocation: bool

    @property
    def now(self) -> datetime:
        """The time that was named, or the present: later after a fetch than before it."""
        return self.at or datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Claims that were verified, or the error that ended it; both where only the binding failed."""

    quote: bytes
    claims: Claims | None
    error: RejectedError | None
    is_certificate: bool = False

    def verified(self) -> Claims:
        """The claims, for who can go on with good ones only; raises what stands against them."""
        if self.error is not None:
            raise self.error
        if self.claims is None:
            raise AssertionError("there are claims or an error")
        return self.claims


def verification_options(command: _Command) -> _Command:
    """The options of a command that verifies; it is handed `sources: Sources`."""

    @functools.wraps(command)  # with the options that it has already
    def wrapped(
        collateral: str,
        trust_root: Path | None,
        at: datetime | None,
        dangerously_skip_revocation: bool,
        **others: Any,
    ) -> Any:
        sources = Sources(collateral, trust_root, at, dangerously_skip_revocation)
        return command(sources=sources, **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return cast(_Command, wrapped)


_OPTIONS = (
    click.option(
        "--collateral",
        required=True,
        metavar="DIR|FILE|URL",
        help="The endorsements: a folder, one JSON file, a PCCS, or a service by its name.",
    ),
    click.option(
        "--trust-root",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The root certificate (PEM or DER) to rest on.  [default: Intel's SGX Root CA]",
    ),
    click.option("--at", type=Moment(), help="The time to verify at.  [default: now]"),
    click.option(
        "--dangerously-skip-revocation",
        is_flag=True,
        help="Verify without CRLs: a revoked platform passes. For evidence that has none.",
    ),
)


def read_evidence(path: Path) -> bytes | RatlsEvidence:
    """The quote in the file, or the evidence in its certificate; raises a RejectedError."""
    data = read_file(path, limit=EVIDENCE_LIMIT)
    try:
        kind = detect(data)
    except FormatError:  # the verifier says what is wrong with it as a quote
        return data
    if kind is Kind.SIGSTRUCT:
        raise UsageError(
            f"{path} is a SIGSTRUCT, which proves nothing about a running enclave",
            hint="give a quote or an RA-TLS certificate; `sealserve evidence show` shows this file",
        )
    return extract_evidence(data) if kind is Kind.CERTIFICATE else data


def read_policy(path: Path) -> Policy:
    """The policy in the file at `path`; raises ConfigError."""
    return read_policy_with_digest(path)[0]


def read_policy_with_digest(path: Path) -> tuple[Policy, str]:
    """The policy in the file at `path`, and the hex SHA-256 of the very bytes that it was in."""
    data = read_file(path, limit=POLICY_LIMIT)
    try:
        return parse_policy(data.decode()), hashlib.sha256(data).hexdigest()
    except UnicodeDecodeError as error:
        raise ConfigError(f"the policy {path} is not UTF-8 text") from error


def verify_file(path: Path, sources: Sources, *, grace: timedelta = timedelta()) -> Outcome:
    """Verify the evidence in the file at `path`.

    What the verifier rejects is an outcome. Raises ConfigError for files that cannot be read,
    CollateralError where collateral is not to be had.
    """
    quote, claims, is_certificate = b"", None, False
    try:
        root = load_trust_root(_trust_root(sources.trust_root))
        evidence = read_evidence(path)
        is_certificate = isinstance(evidence, RatlsEvidence)
        quote = evidence.quote if isinstance(evidence, RatlsEvidence) else evidence
        platform = platform_of(quote, root, sources.now)
        collateral = parse_source(sources.collateral).collateral(platform)
        claims = verify(
            quote,
            collateral,
            trust_root=root,
            now=sources.now,  # a service may have issued it this very moment
            grace=grace,
            dangerously_skip_revocation=sources.skip_revocation,
        )
        if isinstance(evidence, RatlsEvidence):
            check_binding(evidence, claims.report_data)
    except RejectedError as error:
        return Outcome(quote, claims, error, is_certificate)
    return Outcome(quote, claims, None, is_certificate)


def _trust_root(path: Path | None) -> bytes:
    return INTEL_SGX_ROOT_CA if path is None else read_file(path, limit=PART_LIMIT)
