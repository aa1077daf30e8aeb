"""What `policy add-measurement` adds: the enclave of a SIGSTRUCT, or what a quote is of.

A SIGSTRUCT speaks for itself: its signer says what the enclave will measure. A quote is believed
only when it verifies, by its collateral and under the root that the policy itself rests on.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sealserve.appraisal import Policy, appraise_by_default, parse_policy
from sealserve.cli.policy_files import read_text
from sealserve.cli.sigstruct_file import add_to_policy
from sealserve.cli.verification import EVIDENCE_LIMIT, Sources, verify_file
from sealserve.errors import FormatError, UsageError
from sealserve.evidence.kind import Kind, detect
from sealserve.files import read_file, write_file
from sealserve.policies import editing
from sealserve.policies.editing_domains import add_trust_domain
from sealserve.policies.inserting import Edited
from sealserve.verifier import Claims
from sealserve.verifier.claims import DcapStanding, SgxEnclave
from sealserve.verifier.roots import INTEL_SGX_ROOT_CA_SHA256


@dataclass(frozen=True, slots=True)
class Wish:
    """Into which identity, by what, and how a quote is verified."""

    identity: str
    by_signer: bool
    create: bool
    collateral: str | None
    trust_root: Path | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Added:
    """What came of it, and the claims of the quote that it came from; None of a SIGSTRUCT."""

    edited: Edited
    claims: Claims | None


def add_evidence(file: Path, evidence: Path, wish: Wish) -> Added:
    """Add what `evidence` is of to the policy `file`, which is replaced whole or not at all.

    Raises RejectedError for evidence that does not verify, CollateralError, ConfigError, UsageError
    for what is under debug, rests on another root than the policy, or is not of that identity.
    """
    if _kind(evidence) is Kind.SIGSTRUCT:
        if wish.collateral or wish.trust_root or wish.at:
            raise UsageError("--collateral, --trust-root and --at are for quotes")
        edited = add_to_policy(
            file, evidence, wish.identity, by_signer=wish.by_signer, create=wish.create
        )
        return Added(edited, None)
    path = file.resolve()
    text = read_text(path)
    claims = _verified(evidence, wish)
    _check_root(parse_policy(text), claims)
    edited = _add(text, claims, _remark(evidence, claims), wish)
    if edited.changed:
        write_file(path, edited.text.encode(), mode=stat.S_IMODE(path.stat().st_mode))
    return Added(edited, claims)


def _kind(evidence: Path) -> Kind:
    try:
        return detect(read_file(evidence, limit=EVIDENCE_LIMIT))
    except FormatError as error:
        error.about(evidence)
        raise


def _verified(evidence: Path, wish: Wish) -> Claims:
    if wish.collateral is None:
        raise UsageError(
            f"{evidence} is a quote, and a quote is verified by its collateral: give --collateral",
            hint="a folder, one JSON file, the URL of a PCCS, or a service such as intel",
        )
    sources = Sources(wish.collateral, wish.trust_root, wish.at, skip_revocation=False)
    claims = verify_file(evidence, sources).verified()
    result = appraise_by_default(claims)
    if not result.allowed and result.decisive is not None:
        (debug,) = result.decisive.failed
        raise UsageError(f"{evidence} is of {debug.found}, whose host can look in", hint=debug.fix)
    return claims


def _check_root(policy: Policy, claims: Claims) -> None:
    standing = claims.standing
    if not isinstance(standing, DcapStanding):
        raise AssertionError("our own verifier spoke")
    wanted = policy.trust_root or INTEL_SGX_ROOT_CA_SHA256
    if standing.trust_root_sha256 != wanted:
        simulated = "SIMULATED: " if standing.simulated else ""
        raise UsageError(
            f"{simulated}the quote rests on {_root(standing.trust_root_sha256)}, and the policy "
            f"on {_root(wanted)}",
            hint="a measurement belongs into a policy that rests on the root that vouches for it",
        )


def _root(sha256: bytes) -> str:
    return "Intel's root" if sha256 == INTEL_SGX_ROOT_CA_SHA256 else f"the root {sha256.hex()}"


def _add(text: str, claims: Claims, remark: str, wish: Wish) -> Edited:
    target = claims.target
    if isinstance(target, SgxEnclave):
        reference = editing.Reference(
            target.mr_enclave, target.mr_signer, target.isv_prod_id, target.isv_svn, remark
        )
        add = editing.add_signer if wish.by_signer else editing.add_measurement
        return add(text, wish.identity, reference, create=wish.create)
    if wish.by_signer:
        raise UsageError("nobody signs a trust domain: leave out --by-signer")
    return add_trust_domain(text, wish.identity, target, remark, create=wish.create)


def _remark(evidence: Path, claims: Claims) -> str:
    simulated = "SIMULATED, " if claims.simulated else ""
    return f"{simulated}{evidence.name}, verified {claims.verified_at.date().isoformat()}"
