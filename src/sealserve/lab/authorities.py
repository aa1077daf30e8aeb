"""Who signs what in a lab world: root CA, the CA of PCK certificates, TCB signer, PCK.

The keys are a world's only randomness: serial numbers, the platform's ids and the signer of its
quoting enclaves follow from them. Source: Intel SGX PCK Certificate and Certificate Revocation List
Profile Specification, section 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sealserve.endorsements.collateral import PckCa
from sealserve.endorsements.pck import PckExtensions, PlatformConfiguration, build_pck_extension
from sealserve.lab import levels, pki
from sealserve.lab.faults import NO_FAULTS, Faults

FMSPC = bytes.fromhex("53494d000000")  # "SIM": no processor of Intel's has it
PCE_ID = bytes(2)
_STANDARD, _SCALABLE_WITH_INTEGRITY = 0, 2  # SGX types: one processor, several

# The first that is set decides, so that of several the worst wins.
_TCB_FAULTS = (
    (Faults.UNKNOWN_TCB, levels.BELOW_ALL_LEVELS),
    (Faults.REVOKED_TCB, levels.REVOKED),
    (Faults.OUTDATED_TCB, levels.OUT_OF_DATE),
    (Faults.SW_HARDENING_TCB, levels.SW_HARDENING_NEEDED),
)


@dataclass(frozen=True, slots=True)
class Authorities:
    """Certificates and keys of one world."""

    root_ca: pki.Holder
    platform_ca: pki.Holder
    """Issues the PCK certificate; a Processor CA in a world that is made with one."""
    tcb_signer: pki.Holder
    pck: pki.Holder

    @property
    def tcb_chain(self) -> bytes:
        """TCB signing certificate and root, PEM."""
        return self.tcb_signer.certificate_pem + self.root_ca.certificate_pem

    @property
    def platform_chain(self) -> bytes:
        """The CA of the PCK certificate and root, PEM."""
        return self.platform_ca.certificate_pem + self.root_ca.certificate_pem

    @property
    def pck_chain(self) -> bytes:
        """PCK certificate, its CA and root, PEM."""
        return self.pck.certificate_pem + self.platform_chain

    @property
    def qe_mr_signer(self) -> bytes:
        """32 bytes: who signed the quoting enclaves, according to their identities."""
        return pki.derived_id("signer of the quoting enclaves", self.root_ca.key, 32)

    @property
    def platform_id(self) -> bytes:
        """16 bytes, the same in all quotes of this platform: its QE id."""
        return pki.derived_id("QE id", self.root_ca.key)


def create_authorities(
    now: datetime, faults: Faults = NO_FAULTS, ca: PckCa = "platform"
) -> Authorities:
    """New keys, and certificates issued at `now`; the faults of certificates in them."""
    root_ca = pki.issue(pki.ROOT_CA, now)
    platform = pck_extensions(tcb_level(faults), root_ca)
    ca_role, pck_role = pki.PLATFORM_CA, pki.PCK
    if ca == "processor":
        ca_role, pck_role = pki.PROCESSOR_CA, pki.PROCESSOR_PCK
        platform = replace(
            platform, sgx_type=_STANDARD, platform_instance_id=None, configuration=None
        )
    pck_ca = pki.issue(ca_role, now, issuer=root_ca)
    pck = pki.issue(
        pck_role,
        now,
        issuer=pck_ca,
        sgx_extensions=build_pck_extension(platform),
        expired=Faults.EXPIRED_PCK in faults,
    )
    tcb_signer = pki.issue(pki.TCB_SIGNING, now, issuer=root_ca)
    return Authorities(root_ca, pck_ca, tcb_signer, pck)


def tcb_level(faults: Faults) -> levels.TcbLevel:
    """At which level the platform stands."""
    return next((level for fault, level in _TCB_FAULTS if fault in faults), levels.UP_TO_DATE)


def pck_extensions(level: levels.TcbLevel, root_ca: pki.Holder) -> PckExtensions:
    """What the PCK certificate says of the lab's platform, which stands at `level`."""
    return PckExtensions(
        ppid=pki.derived_id("PPID", root_ca.key),
        component_svns=level.component_svns,
        pce_svn=level.pce_svn,
        cpu_svn=level.component_svns,
        pce_id=PCE_ID,
        fmspc=FMSPC,
        sgx_type=_SCALABLE_WITH_INTEGRITY,
        platform_instance_id=pki.derived_id("platform instance", root_ca.key),
        configuration=PlatformConfiguration(True, False, False),
    )
