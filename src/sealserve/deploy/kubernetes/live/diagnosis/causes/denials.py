"""Denials in a sentence: what the policy found and expected, and what whom to do about it.

Sources: docs/policy-reference.md (codes of policies), docs/verifier.md (codes of verification),
docs/key-service-commands.md.
"""

from __future__ import annotations

from typing import Final

from sealserve.deploy.kubernetes.live import decided
from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Cause, Finding, shown
from sealserve.deploy.kubernetes.live.diagnosis.causes.giving import in_force
from sealserve.deploy.kubernetes.live.fields import Object, text
from sealserve.deploy.kubernetes.live.seen import Seen
from sealserve.deploy.kubernetes.live.told import told

_POLICY: Final = "docs/policy-reference.md has cause and cure of this code"
_CAUSES: Final = {"rejected": Cause.REJECTED, "failed": Cause.UNDECIDED}
_CURES: Final = {
    "policy.empty": "give the policy a rule, and put it in force: {in_force}",
    "policy.revoked": "run a build, or use a node, that is not revoked; what is revoked, and by "
    "whom: sealserve revocation list; if by mistake: sealserve revocation lift",
    "policy.tcb-status": "update the node's firmware and microcode, and until then accept the "
    "status by an exception with an end in policy.toml: {in_force}",
    "policy.advisories": "update the node's firmware and microcode, or accept these advisories by "
    "an exception with an end in policy.toml: {in_force}",
    "policy.debug": "run a build that is not under debug (sgx.debug = false, signed anew): its "
    "host reads the memory of one that is",
    "policy.simulated": "in a lab name the lab's root as trust_root; on hardware this is no "
    "evidence of SGX: find out what is running",
    "policy.trust-root": "compare trust_root in policy.toml with the root that the evidence rests "
    "on; in a lab: is it the lab that the policy was written for?",
    "policy.fmspc": "run it on a node of a kind that fmspcs names, or add this one: {in_force}",
    "policy.platform-id": "another machine answered: find out why, or add it to platform_ids: "
    "{in_force}",
    "policy.collateral-age": "sealserve collateral fetch, and find out why the key service did not",
    "secret.unknown": "add it, with the key that the models are sealed with: sealserve secret add",
    "secret.revoked": "give it a new version and seal the models anew: sealserve secret rotate",
    "secret.retired": "give it a new version and seal the models anew: sealserve secret rotate",
    "policy.secret": "name the secret in a rule of policy.toml: {in_force}",
}


def denial(seen: Seen, pod: Object, decision: Object) -> Finding:
    """The finding of a decision that is no release; an empty one is known to the server alone."""
    if not decision:
        return _unexplained(seen, pod)
    code = text(decision, "code") or Cause.DENIED
    cause = _CAUSES.get(text(decision, "outcome"), Cause.DENIED)
    reasons = shown("; ".join(each.replace(" FAILS:", ":") for each in decided.failed(decision)))
    if code in ("policy.measurement", "policy.signer"):
        return cause.of(pod, *_another_build(seen, pod, decision, reasons)).coded(code)
    what = {
        Cause.DENIED: "the key service denies the key",
        Cause.REJECTED: "the key service rejects the evidence",
        Cause.UNDECIDED: "the key service cannot decide",
    }[cause]
    return cause.of(pod, f"{what}: {reasons or code}", _cure(seen, code, decision)).coded(code)


def _cure(seen: Seen, code: str, decision: Object) -> str:
    cure = _CURES.get(code)
    if cure is not None:
        return cure.format(in_force=in_force(seen.plan))
    if code.startswith("policy."):
        return _POLICY
    if text(decision, "outcome") == "failed":
        return "its log says why; it asks again by itself"
    return "docs/verifier.md has cause and cure of this code"


def _another_build(seen: Seen, pod: Object, decision: Object, reasons: str) -> tuple[str, str]:
    """An enclave that the policy does not have, and how its owner would accept it."""
    measured = decided.measurement(decision) or told(seen.log(pod, "server")).measurement
    what = f"the policy does not have this build: {reasons}"
    if not reasons:
        what = f"the policy does not have this build, mr_enclave {measured or 'unknown'}"
    by_file = (
        ""
        if seen.plan.target.simulated
        else (" (sealserve policy add-measurement policy.toml FILE.sig --identity NAME)")
    )
    cure = (
        f"if you changed image, arguments or manifest, add {measured or 'its mr_enclave'} to "
        f"mr_enclave in policy.toml{by_file} and put it in force: {in_force(seen.plan)}; if not, "
        "find out what is running"
    )
    return what, cure


def _unexplained(seen: Seen, pod: Object) -> Finding:
    fault = told(seen.log(pod, "server")).fault
    what = "the key service denies the key, and says why in its audit log alone"
    hint = fault.hint.rpartition(" ")[2] if fault else ""
    evidence = f" --evidence {hint}" if len(hint) == 64 else ""
    return Cause.DENIED.of(pod, what, f"its owner asks: sealserve audit search{evidence}")
