"""The policy of a self-test: one target, one secret, on the root that vouched for the evidence.

A platform whose TCB is not up to date is let in by an exception that ends tomorrow, and the report
says so: whether such platforms may have anything is for the owner's own policy. A revoked one never
gets here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from sealserve.errors import UsageError
from sealserve.policies.editing import Reference, add_measurement
from sealserve.policies.editing_domains import add_trust_domain
from sealserve.verifier import Claims, TcbStatus
from sealserve.verifier.claims import DcapStanding, SgxEnclave, Target

SECRET: Final = "selftest"  # noqa: S105  # its name
_IDENTITY: Final = "what runs here"
_RULE: Final = "selftest"


def policy_text(target: Target, claims: Claims, *, simulated: bool) -> str:
    """The policy that gives the one secret to `target`, on a platform such as that of `claims`.

    Raises UsageError for a target that no identity can name: one under debug, for instance.
    """
    standing = claims.standing
    if not isinstance(standing, DcapStanding):
        raise AssertionError("our own verifier spoke")
    if standing.simulated != simulated or target.debug:
        raise UsageError("a self-test makes no policy for what is under debug, or mixes roots")
    root = standing.trust_root_sha256.hex() if simulated else "intel"
    text = f'version = 2\ntrust_root = "{root}"\n'
    if isinstance(target, SgxEnclave):
        reference = Reference(
            target.mr_enclave, target.mr_signer, target.isv_prod_id, target.isv_svn, ""
        )
        text = add_measurement(text, _IDENTITY, reference, create=True).text
    else:
        text = add_trust_domain(text, _IDENTITY, target, "", create=True).text
    return "\n".join((text, *_rule(), *_exception(standing, claims)))


def _rule() -> Iterator[str]:
    yield "[[rules]]"
    yield f'name = "{_RULE}"'
    yield f'identities = ["{_IDENTITY}"]'
    yield f'secret = "{SECRET}"'
    yield ""


def _exception(standing: DcapStanding, claims: Claims) -> Iterator[str]:
    behind = standing.tcb_status is not TcbStatus.UP_TO_DATE
    if not behind and not standing.advisory_ids:
        return
    end = (claims.verified_at + timedelta(days=1)).date()
    yield "[[exceptions]]"
    yield 'name = "this platform"'
    yield 'reason = "a self-test of this very machine, whatever its TCB, and of nothing else"'
    yield f"expires = {end.isoformat()}"
    yield f'rules = ["{_RULE}"]'
    if behind:
        yield f'tcb_statuses = ["{standing.tcb_status}"]'
    if standing.advisory_ids:
        listed = ", ".join(f'"{each}"' for each in standing.advisory_ids)
        yield f"advisory_ids = [{listed}]"
