"""A simulated platform with everything that vouches for it: root CA, PCK, collateral, quotes.

A world is made whole at one moment and stays good for thirty days (`renew` issues its collateral
again); with `Faults` it is made wrong in known ways. Its root CA is the trust root to name:
everything that rests on it is SIMULATED, and nothing in it verifies under Intel's root.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.pck import PckExtensions, PlatformConfiguration, build_pck_extension
from sealserve.errors import ConfigError
from sealserve.evidence.report import ATTRIBUTE_DEBUG, SgxReport
from sealserve.lab import pki, statements
from sealserve.lab.faults import NO_FAULTS, Faults, parse_faults
from sealserve.lab.folder import LabFolder
from sealserve.lab.quoting_enclave import QuotingEnclave

FMSPC = bytes.fromhex("53494d000000")  # "SIM": no processor of Intel's has it
_OTHER_FMSPC = bytes.fromhex("53494d000001")
_PCE_ID = bytes(2)
_SGX_TYPE = 2  # scalable with integrity
_MR_ENCLAVE_OFFSET = 48 + 64  # in a quote: after the header, in the report body

# The first that is set decides, so that of several the worst wins.
_TCB_FAULTS = (
    (Faults.UNKNOWN_TCB, statements.BELOW_ALL_LEVELS),
    (Faults.REVOKED_TCB, statements.REVOKED),
    (Faults.OUTDATED_TCB, statements.OUT_OF_DATE),
    (Faults.SW_HARDENING_TCB, statements.SW_HARDENING_NEEDED),
)


@dataclass(frozen=True, slots=True)
class Authorities:
    """Who signs what: certificates and keys of one world."""

    root_ca: pki.Holder
    platform_ca: pki.Holder
    tcb_signer: pki.Holder
    pck: pki.Holder

    @property
    def tcb_chain(self) -> bytes:
        """TCB signing certificate and root, PEM."""
        return self.tcb_signer.certificate_pem + self.root_ca.certificate_pem

    @property
    def platform_chain(self) -> bytes:
        """Platform CA and root, PEM."""
        return self.platform_ca.certificate_pem + self.root_ca.certificate_pem

    @property
    def pck_chain(self) -> bytes:
        """PCK certificate, platform CA and root, PEM."""
        return self.pck.certificate_pem + self.platform_chain


@dataclass(frozen=True, slots=True)
class World:
    """One simulated platform and its authorities."""

    authorities: Authorities
    attestation_key: ec.EllipticCurvePrivateKey = field(repr=False)
    qe_mr_signer: bytes
    """32 bytes: who signed the quoting enclave, according to QE identity."""
    platform_id: bytes
    """16 bytes, the same in all quotes of this platform."""
    faults: Faults
    _collateral: Collateral = field(repr=False)

    @classmethod
    def create(cls, *, now: datetime, faults: Faults = NO_FAULTS) -> World:
        """A new world whose certificates and collateral are issued at `now` (with a time zone)."""
        authorities = _create_authorities(now, faults)
        qe_mr_signer = secrets.token_bytes(32)
        return cls(
            authorities=authorities,
            attestation_key=pki.new_key(),
            qe_mr_signer=qe_mr_signer,
            platform_id=secrets.token_bytes(16),
            faults=faults,
            _collateral=_issue_collateral(authorities, qe_mr_signer, faults, now),
        )

    def renew(self, *, now: datetime) -> World:
        """The same world with TCB info, QE identity and CRLs issued again at `now`."""
        issued = _issue_collateral(self.authorities, self.qe_mr_signer, self.faults, now)
        return replace(self, _collateral=issued)

    @property
    def root_ca_pem(self) -> bytes:
        """The trust root to name, PEM."""
        return self.authorities.root_ca.certificate_pem

    def collateral(self) -> Collateral:
        """What a PCCS serves about this platform."""
        return self._collateral

    def quote(self, report: SgxReport) -> bytes:
        """A quote of `report`, as the platform's quoting enclave signs it.

        CPUSVN is the platform's own, whatever the report says.
        """
        if Faults.DEBUG in self.faults:
            flags = report.attributes[0] | ATTRIBUTE_DEBUG
            report = replace(report, attributes=bytes((flags,)) + report.attributes[1:])
        quote = bytearray(self._quoting_enclave().quote(report))
        if Faults.TAMPERED_QUOTE in self.faults:
            quote[_MR_ENCLAVE_OFFSET] ^= 1
        return bytes(quote)

    def _quoting_enclave(self) -> QuotingEnclave:
        outdated = Faults.OUTDATED_QE in self.faults
        qe_level = statements.QE_OUT_OF_DATE if outdated else statements.QE_UP_TO_DATE
        foreign = Faults.FOREIGN_QE in self.faults
        return QuotingEnclave(
            attestation_key=self.attestation_key,
            pck_key=self.authorities.pck.key,
            pck_chain_pem=self.authorities.pck_chain,
            platform_id=self.platform_id,
            mr_signer=bytes(32) if foreign else self.qe_mr_signer,
            isv_svn=qe_level.isv_svn,
            level=_tcb_level(self.faults),
        )

    def save(self, path: Path) -> None:
        """Write the world to the folder `path`; raises UsageError where one is already."""
        folder = LabFolder(path)
        folder.create(
            {
                "what": "a SIMULATED platform of sealserve lab",
                "faults": self.faults.names,
                "qe_mr_signer": self.qe_mr_signer.hex(),
                "platform_id": self.platform_id.hex(),
            }
        )
        folder.write_key("attestation", self.attestation_key)
        for name in Authorities.__slots__:
            folder.write_holder(name, getattr(self.authorities, name))
        self.publish(path)

    def publish(self, path: Path) -> None:
        """Write what is public (trust root, PCK chain, collateral), over what is there."""
        LabFolder(path).write_public(self.root_ca_pem, self.authorities.pck_chain, self._collateral)

    @classmethod
    def load(cls, path: Path) -> World:
        """The world that `save` wrote; raises ConfigError when there is none or it is damaged."""
        folder = LabFolder(path)
        facts = folder.facts()
        try:
            qe_mr_signer = bytes.fromhex(facts["qe_mr_signer"])
            platform_id = bytes.fromhex(facts["platform_id"])
            faults = parse_faults(facts["faults"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the world in {path} is damaged: {error!r}") from error
        return cls(
            authorities=Authorities(*map(folder.read_holder, Authorities.__slots__)),
            attestation_key=folder.read_key("attestation"),
            qe_mr_signer=qe_mr_signer,
            platform_id=platform_id,
            faults=faults,
            _collateral=folder.read_collateral(),
        )


def _create_authorities(now: datetime, faults: Faults) -> Authorities:
    root_ca = pki.issue(pki.ROOT_CA, now)
    platform_ca = pki.issue(pki.PLATFORM_CA, now, issuer=root_ca)
    return Authorities(
        root_ca=root_ca,
        platform_ca=platform_ca,
        tcb_signer=pki.issue(pki.TCB_SIGNING, now, issuer=root_ca),
        pck=pki.issue(
            pki.PCK,
            now,
            issuer=platform_ca,
            sgx_extensions=_sgx_extensions(_tcb_level(faults)),
            expired=Faults.EXPIRED_PCK in faults,
        ),
    )


def _tcb_level(faults: Faults) -> statements.TcbLevel:
    """At which level the platform stands."""
    return next((level for fault, level in _TCB_FAULTS if fault in faults), statements.UP_TO_DATE)


def _sgx_extensions(level: statements.TcbLevel) -> bytes:
    return build_pck_extension(
        PckExtensions(
            ppid=secrets.token_bytes(16),
            component_svns=level.component_svns,
            pce_svn=level.pce_svn,
            cpu_svn=level.component_svns,
            pce_id=_PCE_ID,
            fmspc=FMSPC,
            sgx_type=_SGX_TYPE,
            platform_instance_id=secrets.token_bytes(16),
            configuration=PlatformConfiguration(True, False, False),
        )
    )


def _issue_collateral(
    authorities: Authorities, qe_mr_signer: bytes, faults: Faults, now: datetime
) -> Collateral:
    root_ca, platform_ca = authorities.root_ca, authorities.platform_ca
    root_revoked = [
        holder.certificate
        for fault, holder in (
            (Faults.REVOKED_PLATFORM_CA, platform_ca),
            (Faults.REVOKED_TCB_SIGNER, authorities.tcb_signer),
        )
        if fault in faults
    ]
    pck_revoked = [authorities.pck.certificate] if Faults.REVOKED_PCK in faults else []
    crls_expired = Faults.EXPIRED_CRLS in faults
    tcb_info, tcb_info_chain = _issue_tcb_info(authorities, faults, now)
    return Collateral(
        tcb_info=tcb_info,
        tcb_info_issuer_chain=tcb_info_chain,
        qe_identity=_issue_qe_identity(authorities.tcb_signer, qe_mr_signer, faults, now),
        qe_identity_issuer_chain=authorities.tcb_chain,
        pck_crl=pki.issue_crl(platform_ca, now, revoked=pck_revoked, expired=crls_expired),
        pck_crl_issuer_chain=authorities.platform_chain,
        root_ca_crl=pki.issue_crl(root_ca, now, revoked=root_revoked, expired=crls_expired),
    )


def _issue_tcb_info(authorities: Authorities, faults: Faults, now: datetime) -> tuple[bytes, bytes]:
    """TCB info and the chain of its signer."""
    signer, chain = authorities.tcb_signer, authorities.tcb_chain
    if Faults.MISISSUED_TCB_INFO in faults:
        signer, chain = authorities.pck, authorities.pck_chain
    fmspc = _OTHER_FMSPC if Faults.WRONG_FMSPC in faults else FMSPC
    dates = pki.collateral_dates(now, expired=Faults.EXPIRED_TCB_INFO in faults)
    info = statements.tcb_info(fmspc, _PCE_ID, dates, signer.key)
    return (_altered(info) if Faults.TAMPERED_TCB_INFO in faults else info), chain


def _issue_qe_identity(
    signer: pki.Holder, qe_mr_signer: bytes, faults: Faults, now: datetime
) -> bytes:
    dates = pki.collateral_dates(now, expired=Faults.EXPIRED_QE_IDENTITY in faults)
    identity = statements.qe_identity(qe_mr_signer, dates, signer.key)
    return _altered(identity) if Faults.TAMPERED_QE_IDENTITY in faults else identity


def _altered(statement: bytes) -> bytes:
    """Still well-formed, says something else than was signed."""
    number = b'"tcbEvaluationDataNumber":'
    true = number + b"%d" % statements.EVALUATION_DATA_NUMBER
    return statement.replace(true, number + b"%d" % (statements.EVALUATION_DATA_NUMBER + 1))
