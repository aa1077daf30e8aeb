"""Steps 1 to 6: the hardware's evidence, from a quote to the verdict of a policy.

The command that runs on the hardware prints a quote over bytes that are sent to it, and a
certificate; everything is judged here, by the verifier and the appraisal that the key service has.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from sealserve.appraisal import appraise, parse_policy
from sealserve.collateral.source import parse_source
from sealserve.endorsements.collateral import Collateral
from sealserve.errors import BindingError, DeniedError, FormatError
from sealserve.evidence.quote import Quote, parse_quote
from sealserve.evidence.ratls import check_binding, extract_evidence
from sealserve.selftest.commands import probe_words
from sealserve.selftest.platform import Platform, Site
from sealserve.selftest.policy import SECRET, policy_text
from sealserve.selftest.running import DoesNotApply, Task
from sealserve.verifier import Claims, load_trust_root, read_evidence, verify
from sealserve.verifier.claims import DcapStanding, SgxEnclave, Target, TrustDomain

REPORT_DATA_BYTES: Final = 64
_COMPARED: Final = {
    "SGX": ("mr_enclave", "mr_signer", "isv_prod_id", "isv_svn", "debug"),
    "TDX": ("mr_td", "rtmrs", "debug"),
}


@dataclass
class Found:
    """What the steps found so far, for those that follow."""

    quote: bytes = b""
    certificate: bytes = b""
    claims: Claims | None = None
    collateral: Collateral | None = None
    sgx_type: int | None = None
    """As the PCK certificate has it."""

    @property
    def verified(self) -> Claims:
        """The claims; a step that needs them is not run without."""
        if self.claims is None:
            raise AssertionError("the verification has passed")
        return self.claims


def evidence_tasks(platform: Platform, site: Site) -> tuple[Found, list[Task]]:
    """The first six steps, and where they leave what they find."""
    found = Found()
    steps = _Steps(platform, site, found)
    return found, [
        Task("source", "there is hardware that gives evidence", (), steps.source),
        Task("quote", "it quotes the 64 bytes that we chose", ("source",), steps.quote),
        Task(
            "certificate",
            "an RA-TLS certificate is made, whose quotes bind its key",
            ("quote",),
            steps.certificate,
        ),
        Task(
            "verification",
            "quotes verify up to the trust root, by the configured collateral",
            ("certificate",),
            steps.verification,
        ),
        Task(
            "measurement",
            "what was measured is what was predicted",
            ("verification",),
            steps.measurement,
        ),
        Task(
            "policy",
            "a policy made from the measurement accepts it, and one of another denies it",
            ("verification",),
            steps.policy,
        ),
    ]


class _Steps:
    def __init__(self, platform: Platform, site: Site, found: Found) -> None:
        self._platform, self._site, self._found = platform, site, found
        self._words = probe_words(platform.source)

    def source(self) -> str:
        return self._platform.find(self._site)

    def quote(self) -> str:
        challenge = secrets.token_bytes(REPORT_DATA_BYTES)
        printed = self._platform.run(self._words, challenge.hex())
        self._found.quote, self._found.certificate = _told(printed)
        quote = parse_quote(self._found.quote)
        if quote.body.report_data != challenge:
            raise BindingError("the quote is over other bytes than those that were sent")
        return f"{_kind(quote)} quote of version {quote.version}, {len(self._found.quote)} bytes"

    def certificate(self) -> str:
        evidence = extract_evidence(self._found.certificate)
        check_binding(evidence, parse_quote(evidence.quote).body.report_data)
        return f"{len(self._found.certificate)} bytes, evidence in {', '.join(evidence.present)}"

    def verification(self) -> str:
        claims = self._verify(self._found.quote)
        evidence = extract_evidence(self._found.certificate)
        bound = self._verify(evidence.quote)
        check_binding(evidence, bound.report_data)
        self._found.claims = claims
        standing = claims.standing
        if not isinstance(standing, DcapStanding):
            raise AssertionError("our own verifier spoke")
        root = "a root of the lab's own" if standing.simulated else "Intel's root"
        return (
            f"{root}, TCB {standing.tcb_status}, advisories "
            f"{', '.join(standing.advisory_ids) or 'none'}, collateral until "
            f"{standing.collateral_valid_until:%Y-%m-%d}"
        )

    def _verify(self, quote: bytes) -> Claims:
        root = load_trust_root(self._platform.trust_root())
        if self._found.collateral is None:
            evidence = read_evidence(quote, root, datetime.now(UTC))
            self._found.sgx_type = evidence.pck_extensions.sgx_type
            place, ca = self._platform.collateral, self._platform.collateral_ca
            self._found.collateral = parse_source(place, ca_file=ca).collateral(evidence.platform)
        return verify(quote, self._found.collateral, trust_root=root, now=datetime.now(UTC))

    def measurement(self) -> str:
        predicted = self._platform.predict(self._words)
        target = self._found.verified.target
        if predicted is None:
            raise DoesNotApply("nothing predicts what a VM measures: compare two boots of an image")
        for name in _COMPARED[target.tee]:
            found, expected = getattr(target, name), getattr(predicted, name, None)
            if found != expected:
                raise FormatError(
                    f"{name} is {_shown(found)}, predicted was {_shown(expected)}",
                    code="measurement",
                )
        return f"{', '.join(_COMPARED[target.tee])} are as predicted"

    def policy(self) -> str:
        claims = self._found.verified
        now = claims.verified_at
        own = parse_policy(policy_text(claims.target, claims, simulated=self._platform.simulated))
        result = appraise(claims, own, asked_for=None, now=now, secret=SECRET)
        if not result.allowed:
            failed = result.decisive.failed if result.decisive else ()
            raise DeniedError("; ".join(map(str, failed)), code=result.code)
        other = _other(claims.target)
        foreign = parse_policy(policy_text(other, claims, simulated=self._platform.simulated))
        refused = appraise(claims, foreign, asked_for=None, now=now, secret=SECRET)
        if refused.allowed:
            raise DeniedError("a policy of another measurement accepts it", code="policy")
        excepted = ", by an exception for this platform's TCB" if result.exceptions else ""
        return f"accepted{excepted}; with another measurement denied ({refused.code})"


def _told(printed: str) -> tuple[bytes, bytes]:
    """Quote and certificate; whatever else the hardware's loader prints comes before."""
    try:
        facts = json.loads(printed[printed.index("{") :])
        return bytes.fromhex(facts["quote"]), bytes.fromhex(facts["certificate"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"the command on the hardware prints no evidence: {error}") from None


def _kind(quote: Quote) -> str:
    return "an SGX" if quote.tee_type == 0 else "a TDX"


def _other(target: Target) -> Target:
    """The same but for one bit of its measurement."""
    if isinstance(target, SgxEnclave):
        return replace(target, mr_enclave=_flipped(target.mr_enclave))
    if isinstance(target, TrustDomain):
        return replace(target, mr_td=_flipped(target.mr_td))
    raise AssertionError("there are two kinds")


def _flipped(data: bytes) -> bytes:
    return bytes((data[0] ^ 1,)) + data[1:]


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    return value.hex() if isinstance(value, bytes) else str(value)
