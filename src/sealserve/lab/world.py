"""A simulated platform with everything that vouches for it: root CA, PCK, collateral, quotes.

A world is made whole at one moment and stays good for thirty days (`renew` issues its collateral
again); with `Faults` it is made wrong in known ways. Its root CA is the trust root to name:
everything that rests on it is SIMULATED, and nothing in it verifies under Intel's root.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from sealserve.endorsements.collateral import Collateral, PckCa, Tee
from sealserve.errors import ConfigError
from sealserve.evidence.quote import HEADER_BYTES, Quote, serialize_quote
from sealserve.evidence.report import ATTRIBUTE_DEBUG, SgxReport
from sealserve.evidence.td_report import TdReport
from sealserve.lab import levels, pki, tdx_module
from sealserve.lab.authorities import FMSPC, Authorities, create_authorities, tcb_level
from sealserve.lab.faults import NO_FAULTS, Faults, parse_faults
from sealserve.lab.folder import LabFolder
from sealserve.lab.issuing import Issued, issue_all
from sealserve.lab.levels import Update
from sealserve.lab.quoting_enclave import QuotingEnclave

__all__ = ["FMSPC", "Authorities", "World"]

_BODY_TYPE_AND_LENGTH = 6  # bytes before the body, from quote version 5 on
_MR_ENCLAVE_OFFSET = 64  # in an SGX report
_MR_TD_OFFSET = 136  # in a TD report


@dataclass(frozen=True, slots=True)
class World:
    """One simulated platform and its authorities."""

    authorities: Authorities
    attestation_key: ec.EllipticCurvePrivateKey = field(repr=False)
    faults: Faults
    issued: Issued = field(repr=False)

    @classmethod
    def create(cls, *, now: datetime, faults: Faults = NO_FAULTS, ca: PckCa = "platform") -> World:
        """A new world whose certificates and collateral are issued at `now` (with a time zone).

        `ca` is who issues PCK certificates: of platforms with several processors, or with one.
        """
        authorities = create_authorities(now, faults, ca)
        issued = issue_all(authorities, faults, now)
        return cls(authorities, pki.new_key(), faults, issued)

    def renew(self, *, now: datetime) -> World:
        """The same world with TCB info, QE identity and CRLs issued again at `now`."""
        return replace(self, issued=issue_all(self.authorities, self.faults, now))

    @property
    def root_ca_pem(self) -> bytes:
        """The trust root to name, PEM."""
        return self.authorities.root_ca.certificate_pem

    def collateral(self, tee: Tee = "SGX", update: Update = "standard") -> Collateral:
        """What a PCCS serves about this platform, for enclaves or for trust domains."""
        return self.issued.collateral[tee, update]

    def quote(self, report: SgxReport, version: int = 3) -> bytes:
        """A quote (version 3, 4 or 5) of `report`, as the platform's quoting enclave signs it.

        CPUSVN is the platform's own, whatever the report says.
        """
        attributes = report.attributes
        if Faults.DEBUG in self.faults:
            attributes = bytes((attributes[0] | ATTRIBUTE_DEBUG,)) + attributes[1:]
        cpu_svn = tcb_level(self.faults).component_svns
        body = replace(report, cpu_svn=cpu_svn, attributes=attributes)
        return self._serialize(self.quoting_enclave("SGX").quote(body, version), _MR_ENCLAVE_OFFSET)

    def td_quote(self, report: TdReport, version: int = 4) -> bytes:
        """A quote of `report`, as the platform's TD quoting enclave signs it.

        Version 4 holds a report of TDX 1.0, version 5 any; raises FormatError otherwise. What the
        TDX module says of itself is the platform's own, whatever the report says.
        """
        body = tdx_module.complete(report, tcb_level(self.faults), self.faults)
        return self._serialize(self.quoting_enclave("TDX").quote(body, version), _MR_TD_OFFSET)

    def quoting_enclave(self, tee: Tee) -> QuotingEnclave:
        """The platform's QE or TD QE."""
        outdated = Faults.OUTDATED_QE in self.faults
        level = levels.QE_OUT_OF_DATE if outdated else levels.QE_UP_TO_DATE
        foreign = Faults.FOREIGN_QE in self.faults
        return QuotingEnclave(
            tee=tee,
            attestation_key=self.attestation_key,
            pck_key=self.authorities.pck.key,
            pck_chain_pem=self.authorities.pck_chain,
            platform_id=self.authorities.platform_id,
            mr_signer=bytes(32) if foreign else self.authorities.qe_mr_signer,
            isv_svn=level.isv_svn,
            level=tcb_level(self.faults),
        )

    def _serialize(self, quote: Quote, measurement: int) -> bytes:
        """The quote's bytes; tampered where that is the fault, in the report's measurement."""
        data = bytearray(serialize_quote(quote))
        if Faults.TAMPERED_QUOTE in self.faults:
            body = HEADER_BYTES + (_BODY_TYPE_AND_LENGTH if quote.version >= 5 else 0)
            data[body + measurement] ^= 1
        return bytes(data)

    def save(self, path: Path) -> None:
        """Write the world to the folder `path`; raises UsageError where one is already."""
        folder = LabFolder(path)
        folder.create(
            {"what": "a SIMULATED platform of sealserve lab", "faults": self.faults.names}
        )
        folder.write_key("attestation", self.attestation_key)
        for name in Authorities.__slots__:
            folder.write_holder(name, getattr(self.authorities, name))
        self.publish(path)

    def publish(self, path: Path) -> None:
        """Write what is public (trust root, PCK chain, collateral), over what is there."""
        LabFolder(path).write_public(self.root_ca_pem, self.authorities.pck_chain, self.issued)

    @classmethod
    def load(cls, path: Path) -> World:
        """The world that `save` wrote; raises ConfigError when there is none or it is damaged."""
        folder = LabFolder(path)
        facts = folder.facts()
        try:
            faults = parse_faults(facts["faults"])
        except (KeyError, TypeError) as error:
            raise ConfigError(f"the world in {path} is damaged: {error!r}") from error
        return cls(
            authorities=Authorities(*map(folder.read_holder, Authorities.__slots__)),
            attestation_key=folder.read_key("attestation"),
            faults=faults,
            issued=folder.read_issued(),
        )
