"""What the simulated hardware says of what it has measured: an enclave, or a trust domain.

An enclave's measurement is one value over everything. A trust domain has several, each of its own
part, and here all but one are constants: there is no virtual machine, so no firmware, no virtual
hardware, no kernel and no initrd of one is measured. What is launched extends RTMR 3, as software
does that a TD starts last: SHA-384 over the register's 48 bytes, zero at first, and the SHA-384 of
the manifest (`sealserve.lab.measurement`).
Source: Intel TDX Module 1.5 ABI Specification, TDG.MR.RTMR.EXTEND; which register is of what is the
convention that docs/policy-reference.md tells.
"""

from __future__ import annotations

from hashlib import sha384
from typing import TypeAlias

from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.measurement import EnclaveRequest, Measurement
from sealserve.lab.trust_domain import MEASUREMENT_BYTES, TrustDomainIdentity

Identity: TypeAlias = EnclaveIdentity | TrustDomainIdentity


def _constant(what: str) -> bytes:
    return sha384(f"SealServe Lab (SIMULATED) {what}".encode()).digest()


MR_TD = _constant("virtual firmware")
RTMRS = tuple(map(_constant, ("virtual hardware", "kernel", "command line and initrd")))


def extended(register: bytes, data: bytes) -> bytes:
    """The register after `data` was measured into it."""
    return sha384(register + sha384(data).digest()).digest()


def identity_of(request: EnclaveRequest, measurement: Measurement, mr_signer: bytes) -> Identity:
    """What every quote of the process says that this request launches."""
    if request.tee == "TDX":
        rtmr0, rtmr1, rtmr2 = RTMRS
        rtmr3 = extended(bytes(MEASUREMENT_BYTES), measurement.manifest)
        return TrustDomainIdentity(MR_TD, (rtmr0, rtmr1, rtmr2, rtmr3), debug=request.debug)
    return EnclaveIdentity(
        mr_enclave=measurement.mr_enclave,
        mr_signer=mr_signer,
        isv_prod_id=request.isv_prod_id,
        isv_svn=request.isv_svn,
        debug=request.debug,
    )


def told(identity: Identity) -> dict[str, str]:
    """The values by which a person knows what was launched, in hex."""
    if isinstance(identity, TrustDomainIdentity):
        return {"mr_td": identity.mr_td.hex(), "rtmr3": identity.rtmrs[3].hex()}
    return {"mr_enclave": identity.mr_enclave.hex()}
