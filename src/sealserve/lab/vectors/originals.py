"""The genuine evidence that cases change: every form of quote, all of one world.

What is quoted is nobody's enclave or trust domain: its measurements are plain patterns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from sealserve.endorsements.collateral import Tee
from sealserve.evidence.quote import parse_quote
from sealserve.evidence.report import SgxReport
from sealserve.evidence.td_report import TdInstance, TdReport
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.vectors.original import EVALUATION_TIME, Original
from sealserve.lab.world import World

ENCLAVE = EnclaveIdentity(mr_enclave=b"\x01" * 32, mr_signer=b"\x02" * 32)
TRUST_DOMAIN = TrustDomainIdentity(mr_td=b"\x03" * 48)
REPORT_DATA = b"SealServe conformance vector, SIMULATED".ljust(64, b"\0")
_INSTANCE = TdInstance(
    vmid=0,
    td_id=b"\x04" * 32,
    device_info_hash=bytes(48),
    initial_service_td_hash=bytes(48),
    initial_service_td_attributes=bytes(8),
    initial_cpu_svn=bytes(16),
    initial_tee_tcb_svn=bytes(16),
    initial_tee_model=bytes(12),
    service_td_hash=bytes(48),
    service_td_attributes=bytes(8),
)
_TD_10 = TRUST_DOMAIN.report(REPORT_DATA)
_TD_15 = TRUST_DOMAIN.report_15(REPORT_DATA)
_TD_15_EX = replace(_TD_15, instance=_INSTANCE)
_FORMS: Mapping[str, tuple[SgxReport | TdReport, int]] = MappingProxyType(
    {
        "sgx-v3": (ENCLAVE.report(REPORT_DATA), 3),
        "sgx-v4": (ENCLAVE.report(REPORT_DATA), 4),
        "sgx-v5": (ENCLAVE.report(REPORT_DATA), 5),
        "tdx-v4": (_TD_10, 4),
        "tdx-v5-td10": (_TD_10, 5),
        "tdx-v5-td15": (_TD_15, 5),
        "tdx-v5-td15ex": (_TD_15_EX, 5),
    }
)


def make_originals() -> dict[str, Original]:
    """Genuine evidence of every form, by the form's name."""
    world, stranger = (World.create(now=EVALUATION_TIME) for _ in range(2))
    originals: dict[str, Original] = {}
    for form in _FORMS:
        tee, quote = quote_of(world, form)
        originals[form] = Original(form, tee, world, stranger, parse_quote(quote))
    return originals


def quote_of(world: World, form: str) -> tuple[Tee, bytes]:
    """What is quoted, and its quote."""
    report, version = _FORMS[form]
    if isinstance(report, TdReport):
        return "TDX", world.td_quote(report, version)
    return "SGX", world.quote(report, version)
