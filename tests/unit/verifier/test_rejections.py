"""Every check of the verifier is seen to fail, with its own code, by one thing that is wrong.

The evidence is the lab's: a whole world whose parts are genuine and of which each case changes one.
What a case re-signs, it re-signs with the right key, so that only the check in question can object.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.pck import SGX_EXTENSIONS_OID
from sealserve.errors import VerificationError
from sealserve.evidence.quote import CertificationDataType, Quote, parse_quote, serialize_quote
from sealserve.lab import pki
from sealserve.lab.faults import NO_FAULTS, Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.statements import raw_signature
from sealserve.lab.world import World
from sealserve.verifier import (
    INTEL_SGX_ROOT_CA,
    Code,
    platform_of,
    verify,
    verify_collateral,
    verify_quote,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENCLAVE = EnclaveIdentity(mr_enclave=b"\x01" * 32, mr_signer=b"\x02" * 32)
PEM = Encoding.PEM


@dataclass(frozen=True)
class Presented:
    """What the verifier is handed."""

    quote: bytes
    collateral: Collateral
    trust_root: bytes
    now: datetime = NOW

    @property
    def parsed(self) -> Quote:
        return parse_quote(self.quote)

    def with_quote(self, quote: Quote) -> Presented:
        return replace(self, quote=serialize_quote(quote))

    def with_chain(self, *pems: bytes) -> Presented:
        return self.with_quote(replace(self.parsed, certification_data=b"".join(pems)))

    def with_collateral(self, **parts: bytes) -> Presented:
        return replace(self, collateral=replace(self.collateral, **parts))


@cache
def _world(faults: Faults) -> World:
    return World.create(now=NOW, faults=faults)


def world(faults: Faults = NO_FAULTS) -> World:
    return _world(faults)


def genuine(faults: Faults = NO_FAULTS) -> Presented:
    made = world(faults)
    quote = made.quote(ENCLAVE.report(bytes(64)))
    return Presented(quote, made.collateral(), made.root_ca_pem)


def other() -> World:
    """A world with the same names and other keys."""
    return world(Faults.DEBUG)


CASES: list[tuple[Code, str, Callable[[], Presented]]] = []


def case(code: Code) -> Callable[[Callable[[], Presented]], Callable[[], Presented]]:
    def add(function: Callable[[], Presented]) -> Callable[[], Presented]:
        CASES.append((code, function.__name__, function))
        return function

    return add


def cases(code: Code, **variants: Callable[[], Presented]) -> None:
    CASES.extend((code, name, function) for name, function in variants.items())


# --- helpers: the same thing, with one difference, signed anew


def reissue(
    holder: pki.Holder,
    issuer: pki.Holder,
    *,
    name: str | None = None,
    extensions: Callable[[x509.Extension], tuple[x509.ExtensionType, bool] | None] = (
        lambda extension: (extension.value, extension.critical)
    ),
    key: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """The certificate of `holder`, PEM, issued again with one difference."""
    old = holder.certificate
    subject = (
        old.subject
        if name is None
        else x509.Name(
            [
                x509.NameAttribute(part.oid, name) if part.oid == x509.NameOID.COMMON_NAME else part
                for part in old.subject
            ]
        )
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject)
        .public_key((key or holder.key).public_key())
        .serial_number(old.serial_number)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
    )
    for extension in old.extensions:
        if (kept := extensions(extension)) is not None:
            builder = builder.add_extension(*kept[:1], critical=kept[1])
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(PEM)


def changed(kind: type[x509.ExtensionType], **difference: object) -> Callable:
    """Extensions as they are, but for one: `value`, `critical`, or `gone`."""

    def change(extension: x509.Extension) -> tuple[x509.ExtensionType, bool] | None:
        if not isinstance(extension.value, kind):
            return extension.value, extension.critical
        if difference.get("gone"):
            return None
        return (
            difference.get("value", extension.value),
            difference.get("critical", extension.critical),
        )

    return change


def pck_with(**difference: object) -> Presented:
    authorities = world().authorities
    leaf = reissue(authorities.pck, authorities.platform_ca, **difference)
    return genuine().with_chain(leaf, authorities.platform_chain)


def ca_with(**difference: object) -> Presented:
    authorities = world().authorities
    middle = reissue(authorities.platform_ca, authorities.root_ca, **difference)
    chain = (authorities.pck.certificate_pem, middle, authorities.root_ca.certificate_pem)
    return genuine().with_chain(*chain)


def usage(**flags: bool) -> x509.KeyUsage:
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    names += " key_cert_sign crl_sign encipher_only decipher_only"
    return x509.KeyUsage(**{name: flags.get(name, False) for name in names.split()})


def sgx_extension(value: bytes) -> Callable:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX_EXTENSIONS_OID), value)
    return changed(x509.UnrecognizedExtension, value=unknown)


def restated(part: str, name: str, edit: Callable[[dict], object]) -> Presented:
    """TCB info or QE identity with `edit` done to it, signed by the TCB signer."""
    statement = json.loads(getattr(genuine().collateral, part))[name]
    edit(statement)
    body = json.dumps(statement).encode()
    signature = raw_signature(world().authorities.tcb_signer.key, body).hex().encode()
    whole = b'{"%s": %s, "signature": "%s"}' % (name.encode(), body, signature)
    return genuine().with_collateral(**{part: whole})


def tcb_info(**members: object) -> Presented:
    return restated("tcb_info", "tcbInfo", lambda info: info.update(members))


def qe_identity(**members: object) -> Presented:
    return restated("qe_identity", "enclaveIdentity", lambda identity: identity.update(members))


def qe_report(**fields: object) -> Presented:
    """Another report of the quoting enclave, signed by the PCK; all else is as it was."""
    quote = genuine().parsed
    report = replace(quote.qe_report, **fields)
    signature = raw_signature(world().authorities.pck.key, report.serialize())
    return genuine().with_quote(replace(quote, qe_report=report, qe_report_signature=signature))


def flipped(field: str, index: int = 0) -> Presented:
    quote = genuine().parsed
    value = bytearray(getattr(quote, field))
    value[index] ^= 1
    return genuine().with_quote(replace(quote, **{field: bytes(value)}))


def crl(issuer: pki.Holder, key: ec.EllipticCurvePrivateKey, start: datetime) -> bytes:
    signer = replace(issuer, key=key)
    return pki.issue_crl(signer, start)


# --- 0: the trust root

cases(
    Code.TRUST_ROOT,
    no_certificate=lambda: replace(genuine(), trust_root=b"root"),
    two_certificates=lambda: replace(genuine(), trust_root=world().root_ca_pem * 2),
    a_leaf=lambda: replace(genuine(), trust_root=world().authorities.pck.certificate_pem),
    another_ca=lambda: replace(
        genuine(), trust_root=pki.issue(pki.PLATFORM_CA, NOW).certificate_pem
    ),
    not_self_signed=lambda: replace(
        genuine(),
        trust_root=pki.issue(pki.ROOT_CA, NOW, issuer=world().authorities.root_ca).certificate_pem,
    ),
    wrong_path_length=lambda: replace(
        genuine(),
        trust_root=pki.issue(replace(pki.ROOT_CA, path_length=2), NOW).certificate_pem,
    ),
)

# --- 1: the quote's form

cases(
    Code.QUOTE_FORMAT,
    empty=lambda: replace(genuine(), quote=b""),
    truncated=lambda: replace(genuine(), quote=genuine().quote[:-1]),
    version_6=lambda: replace(genuine(), quote=b"\x06" + genuine().quote[1:]),
    vendor_not_intel=lambda: flipped("qe_vendor_id"),
    reserved_byte_set=lambda: replace(
        genuine(), quote=genuine().quote[:70] + b"\x01" + genuine().quote[71:]
    ),
)

# --- 2: the PCK chain

cases(
    Code.PCK_CHAIN_MISSING,
    ppid_instead=lambda: genuine().with_quote(
        replace(
            genuine().parsed,
            certification_data_type=CertificationDataType.PPID_CLEARTEXT,
            certification_data=bytes(36),
        )
    ),
)
cases(
    Code.PCK_CHAIN_FORMAT,
    no_pem=lambda: genuine().with_chain(b"chain"),
    no_base64=lambda: genuine().with_chain(
        b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"
    ),
    no_certificate=lambda: genuine().with_chain(
        b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
    ),
    key_on_another_curve=lambda: pck_with(key=ec.generate_private_key(ec.SECP384R1())),
)
cases(
    Code.PCK_CHAIN,
    under_intels_root=lambda: replace(genuine(), trust_root=INTEL_SGX_ROOT_CA),
    under_another_worlds_root=lambda: replace(genuine(), trust_root=other().root_ca_pem),
    with_another_worlds_root=lambda: genuine().with_chain(
        world().authorities.pck.certificate_pem,
        world().authorities.platform_ca.certificate_pem,
        other().root_ca_pem,
    ),
    leaf_of_another_world=lambda: genuine().with_chain(
        other().authorities.pck.certificate_pem, world().authorities.platform_chain
    ),
    ca_of_another_world=lambda: genuine().with_chain(
        world().authorities.pck.certificate_pem,
        other().authorities.platform_ca.certificate_pem,
        world().root_ca_pem,
    ),
    without_leaf=lambda: genuine().with_chain(world().authorities.platform_chain),
    without_ca=lambda: genuine().with_chain(
        world().authorities.pck.certificate_pem, world().root_ca_pem
    ),
    without_root=lambda: genuine().with_chain(
        world().authorities.pck.certificate_pem,
        world().authorities.platform_ca.certificate_pem,
    ),
    with_a_fourth=lambda: genuine().with_chain(
        world().authorities.pck_chain, world().authorities.tcb_signer.certificate_pem
    ),
    with_two_leaves=lambda: genuine().with_chain(
        world().authorities.pck.certificate_pem * 2, world().root_ca_pem
    ),
    tcb_signer_as_leaf=lambda: genuine().with_chain(
        world().authorities.tcb_signer.certificate_pem, world().authorities.platform_chain
    ),
    leaf_with_another_name=lambda: pck_with(name="Intel SGX PCK Certificate 2"),
    leaf_that_is_a_ca=lambda: pck_with(
        extensions=changed(x509.BasicConstraints, value=x509.BasicConstraints(True, 0))
    ),
    leaf_for_signing_certificates=lambda: pck_with(
        extensions=changed(x509.KeyUsage, value=usage(digital_signature=True, key_cert_sign=True))
    ),
    leaf_with_an_unknown_critical_extension=lambda: pck_with(
        extensions=changed(x509.SubjectKeyIdentifier, critical=True)
    ),
    ca_without_basic_constraints=lambda: ca_with(
        extensions=changed(x509.BasicConstraints, gone=True)
    ),
    ca_without_key_usage=lambda: ca_with(extensions=changed(x509.KeyUsage, gone=True)),
    ca_without_crl_distribution_point=lambda: ca_with(
        extensions=changed(x509.CRLDistributionPoints, gone=True)
    ),
    ca_that_is_no_ca=lambda: ca_with(
        extensions=changed(x509.BasicConstraints, value=x509.BasicConstraints(False, None))
    ),
    ca_with_another_path_length=lambda: ca_with(
        extensions=changed(x509.BasicConstraints, value=x509.BasicConstraints(True, 1))
    ),
    ca_whose_constraints_are_not_critical=lambda: ca_with(
        extensions=changed(x509.BasicConstraints, critical=False)
    ),
    ca_not_for_signing_crls=lambda: ca_with(
        extensions=changed(x509.KeyUsage, value=usage(key_cert_sign=True))
    ),
)
cases(
    Code.PCK_CHAIN_VALIDITY,
    leaf_expired=lambda: genuine(Faults.EXPIRED_PCK),
    not_yet=lambda: replace(genuine(), now=NOW - timedelta(hours=2)),
    no_longer=lambda: replace(genuine(), now=NOW + timedelta(days=7 * 365)),
)
cases(
    Code.PCK_EXTENSIONS,
    missing=lambda: pck_with(extensions=changed(x509.UnrecognizedExtension, gone=True)),
    damaged=lambda: pck_with(extensions=sgx_extension(b"\x30\x01\x00")),
    empty=lambda: pck_with(extensions=sgx_extension(b"\x30\x00")),
)

# --- 3: revocation

cases(
    Code.CRL_CHAIN,
    no_pem=lambda: genuine().with_collateral(pck_crl_issuer_chain=b"chain"),
    empty=lambda: genuine().with_collateral(pck_crl_issuer_chain=b""),
    of_the_tcb_signer=lambda: genuine().with_collateral(
        pck_crl_issuer_chain=world().authorities.tcb_chain
    ),
    of_another_world=lambda: genuine().with_collateral(
        pck_crl_issuer_chain=other().authorities.platform_chain
    ),
)


@case(Code.CRL_CHAIN_VALIDITY)
def pck_ca_expired() -> Presented:
    root = world().authorities.root_ca
    expired = pki.issue(pki.PLATFORM_CA, NOW, issuer=root, expired=True)
    chain = expired.certificate_pem + root.certificate_pem
    return genuine().with_collateral(pck_crl_issuer_chain=chain)


@case(Code.CRL_MISSING)
def collateral_of_another_ca() -> Presented:
    """All of it genuine, and for processors whose PCK the other CA issued."""
    root = world().authorities.root_ca
    role = replace(pki.PLATFORM_CA, common_name="Intel SGX PCK Processor CA")
    processor_ca = pki.issue(role, NOW, issuer=root)
    return genuine().with_collateral(
        pck_crl_issuer_chain=processor_ca.certificate_pem + root.certificate_pem,
        pck_crl=pki.issue_crl(processor_ca, NOW),
    )


@case(Code.CRL_MISSING)
def collateral_of_another_ca_with_the_same_key() -> Presented:
    authorities = world().authorities
    name = "Intel SGX PCK Processor CA"
    renamed = reissue(authorities.platform_ca, authorities.root_ca, name=name)
    holder = replace(authorities.platform_ca, certificate=x509.load_pem_x509_certificate(renamed))
    return genuine().with_collateral(
        pck_crl_issuer_chain=renamed + authorities.root_ca.certificate_pem,
        pck_crl=pki.issue_crl(holder, NOW),
    )


@case(Code.CRL_MISSING)
def collateral_of_another_key_of_the_same_ca() -> Presented:
    root = world().authorities.root_ca
    namesake = pki.issue(pki.PLATFORM_CA, NOW, issuer=root)
    return genuine().with_collateral(
        pck_crl_issuer_chain=namesake.certificate_pem + root.certificate_pem,
        pck_crl=pki.issue_crl(namesake, NOW),
    )


cases(
    Code.CRL_MISSING,
    no_root_ca_crl=lambda: genuine().with_collateral(root_ca_crl=b""),
    no_pck_crl=lambda: genuine().with_collateral(pck_crl=b""),
    root_ca_crl_as_pck_crl=lambda: genuine().with_collateral(
        pck_crl=genuine().collateral.root_ca_crl
    ),
    pck_crl_as_root_ca_crl=lambda: genuine().with_collateral(
        root_ca_crl=genuine().collateral.pck_crl
    ),
)
cases(
    Code.CRL_FORMAT,
    no_crl=lambda: genuine().with_collateral(root_ca_crl=b"crl"),
    truncated=lambda: genuine().with_collateral(pck_crl=genuine().collateral.pck_crl[:-1]),
)
cases(
    Code.CRL_SIGNATURE,
    root_ca_crl_by_another_key=lambda: genuine().with_collateral(
        root_ca_crl=crl(world().authorities.root_ca, pki.new_key(), NOW)
    ),
    pck_crl_by_the_root=lambda: genuine().with_collateral(
        pck_crl=crl(world().authorities.platform_ca, world().authorities.root_ca.key, NOW)
    ),
)
cases(
    Code.CRL_VALIDITY,
    both_expired=lambda: genuine(Faults.EXPIRED_CRLS),
    root_ca_crl_of_tomorrow=lambda: genuine().with_collateral(
        root_ca_crl=pki.issue_crl(world().authorities.root_ca, NOW + timedelta(days=1))
    ),
    pck_crl_of_tomorrow=lambda: genuine().with_collateral(
        pck_crl=pki.issue_crl(world().authorities.platform_ca, NOW + timedelta(days=1))
    ),
    pck_crl_expired=lambda: genuine().with_collateral(
        pck_crl=pki.issue_crl(world().authorities.platform_ca, NOW, expired=True)
    ),
)
cases(
    Code.REVOKED,
    leaf=lambda: genuine(Faults.REVOKED_PCK),
    ca=lambda: genuine(Faults.REVOKED_PLATFORM_CA),
    tcb_signer=lambda: genuine(Faults.REVOKED_TCB_SIGNER),
)


@case(Code.REVOKED)
def ca_of_the_quote_alone() -> Presented:
    """The quote's CA has the same name and key as the collateral's, and a revoked serial."""
    authorities = world().authorities
    old = replace(
        authorities.platform_ca,
        certificate=pki.issue(pki.PLATFORM_CA, NOW, issuer=authorities.root_ca).certificate,
    )
    same_key = reissue(replace(old, key=authorities.platform_ca.key), authorities.root_ca)
    return (
        genuine()
        .with_chain(authorities.pck.certificate_pem, same_key, authorities.root_ca.certificate_pem)
        .with_collateral(
            root_ca_crl=pki.issue_crl(authorities.root_ca, NOW, revoked=[old.certificate])
        )
    )


# --- 4: TCB info and QE identity

for part, kind in (("tcb_info", "TCB_INFO"), ("qe_identity", "QE_IDENTITY")):
    chain = f"{part}_issuer_chain"
    chain_code = Code("TCB_CHAIN" if part == "tcb_info" else "QE_IDENTITY_CHAIN")
    restate = tcb_info if part == "tcb_info" else qe_identity

    def with_part(value: Callable[[], bytes], name: str = part) -> Callable[[], Presented]:
        return lambda: genuine().with_collateral(**{name: value()})

    cases(
        chain_code,
        **{
            f"{part}_no_pem": with_part(lambda: b"chain", chain),
            f"{part}_by_the_pck_ca": with_part(lambda: world().authorities.platform_chain, chain),
            f"{part}_by_the_pck": with_part(lambda: world().authorities.pck_chain, chain),
            f"{part}_by_another_world": with_part(lambda: other().authorities.tcb_chain, chain),
            f"{part}_signer_not_for_signatures": with_part(
                lambda: (
                    reissue(
                        world().authorities.tcb_signer,
                        world().authorities.root_ca,
                        extensions=changed(x509.KeyUsage, value=usage(key_agreement=True)),
                    )
                    + world().root_ca_pem
                ),
                chain,
            ),
        },
    )
    cases(
        Code(f"{chain_code}_VALIDITY"),
        **{
            f"{part}_signer_expired": with_part(
                lambda: (
                    pki.issue(
                        pki.TCB_SIGNING, NOW, issuer=world().authorities.root_ca, expired=True
                    ).certificate_pem
                    + world().root_ca_pem
                ),
                chain,
            )
        },
    )
    cases(
        Code(f"{kind}_SIGNATURE"),
        **{
            f"{part}_one_number_changed": with_part(
                lambda p=part: getattr(genuine().collateral, p).replace(
                    b'"tcbEvaluationDataNumber":17', b'"tcbEvaluationDataNumber":18'
                )
            ),
            f"{part}_one_space_more": with_part(
                lambda p=part: getattr(genuine().collateral, p).replace(b'"id":', b'"id": ')
            ),
            f"{part}_signature_of_zeros": with_part(
                lambda p=part: getattr(genuine().collateral, p)[:-130] + b"0" * 128 + b'"}'
            ),
            f"{part}_of_another_world": with_part(lambda p=part: getattr(other().collateral(), p)),
        },
    )
    cases(
        Code(f"{kind}_FORMAT"),
        **{
            f"{part}_no_json": with_part(lambda: b"{}"),
            f"{part}_the_other_statement": with_part(
                lambda p=part: (
                    genuine().collateral.qe_identity
                    if p == "tcb_info"
                    else genuine().collateral.tcb_info
                )
            ),
            f"{part}_third_member": with_part(
                lambda p=part: getattr(genuine().collateral, p)[:-1] + b',"x":1}'
            ),
            f"{part}_version_9": lambda restate=restate: restate(version=9),
            f"{part}_unknown_status": lambda restate=restate: restate(
                tcbLevels=[{"tcb": {}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "Fine"}]
            ),
            f"{part}_date_without_zone": lambda restate=restate: restate(
                issueDate="2026-05-01T00:00:00"
            ),
        },
    )
    cases(
        Code(f"{kind}_NOT_YET_VALID"),
        **{
            f"{part}_of_tomorrow": lambda restate=restate: restate(issueDate="2026-06-02T00:00:00Z")
        },
    )
    cases(
        Code(f"{kind}_EXPIRED"),
        **{
            f"{part}_of_last_month": lambda restate=restate: restate(
                nextUpdate="2026-06-01T11:59:59Z"
            )
        },
    )

cases(
    Code.TCB_INFO_MISMATCH,
    other_fmspc=lambda: tcb_info(fmspc="00906ED50000"),
    other_pce_id=lambda: tcb_info(pceId="0001"),
    for_tdx=lambda: tcb_info(id="TDX"),
)

# --- 5: the quoting enclave

cases(
    Code.QE_REPORT_SIGNATURE,
    report_changed=lambda: genuine().with_quote(
        replace(genuine().parsed, qe_report=replace(genuine().parsed.qe_report, isv_svn=9))
    ),
    signature_changed=lambda: flipped("qe_report_signature", 40),
    signature_of_zeros=lambda: genuine().with_quote(
        replace(genuine().parsed, qe_report_signature=bytes(64))
    ),
    signature_beyond_the_order=lambda: genuine().with_quote(
        replace(genuine().parsed, qe_report_signature=b"\xff" * 64)
    ),
)
cases(
    Code.QE_REPORT_DATA,
    other_attestation_key=lambda: flipped("attestation_key"),
    other_auth_data=lambda: flipped("qe_auth_data", 31),
    no_auth_data=lambda: genuine().with_quote(replace(genuine().parsed, qe_auth_data=b"")),
    bytes_after_the_hash=lambda: qe_report(
        report_data=genuine().parsed.qe_report.report_data[:32] + bytes(31) + b"\x01"
    ),
)
cases(
    Code.QE_IDENTITY_MISMATCH,
    other_signer=lambda: genuine(Faults.FOREIGN_QE),
    other_product=lambda: qe_report(isv_prod_id=2),
    misc_select=lambda: qe_report(misc_select=1),
    misc_select_high_bit=lambda: qe_report(misc_select=1 << 31),
    debug=lambda: qe_report(attributes=bytes.fromhex("1700000000000000e700000000000000")),
    not_initialised=lambda: qe_report(attributes=bytes.fromhex("1400000000000000e700000000000000")),
    of_the_td_quoting_enclave=lambda: qe_identity(id="TD_QE"),
    value_outside_its_mask=lambda: qe_identity(attributes="15000000000000000000000000000000"),
)
cases(
    Code.QE_TCB_NOT_SUPPORTED,
    below_all_levels=lambda: qe_report(isv_svn=5),
    no_levels=lambda: qe_identity(tcbLevels=[]),
)

# --- 6: the quote's signature

cases(
    Code.QUOTE_SIGNATURE,
    measurement_changed=lambda: genuine(Faults.TAMPERED_QUOTE),
    user_data_changed=lambda: flipped("user_data"),
    signature_changed=lambda: flipped("signature", 63),
    signature_of_zeros=lambda: genuine().with_quote(replace(genuine().parsed, signature=bytes(64))),
    **{
        f"{name}_changed": lambda name=name, value=value: genuine().with_quote(
            replace(genuine().parsed, body=replace(genuine().parsed.body, **{name: value}))
        )
        for name, value in {
            "cpu_svn": b"\xff" * 16,
            "misc_select": 1,
            "isv_ext_prod_id": b"\x01" * 16,
            "attributes": b"\x07" + bytes(15),
            "mr_signer": b"\x03" * 32,
            "config_id": b"\x01" * 64,
            "isv_prod_id": 1,
            "isv_svn": 1,
            "config_svn": 1,
            "isv_family_id": b"\x01" * 16,
            "report_data": b"\x01" * 64,
        }.items()
    },
)


@case(Code.QUOTE_SIGNATURE)
def attestation_key_is_no_point() -> Presented:
    """The quoting enclave's report vouches for it, and still it is no key."""
    quote = replace(genuine().parsed, attestation_key=b"\x01" * 64)
    bound = sha256(quote.attestation_key + quote.qe_auth_data).digest() + bytes(32)
    vouching = qe_report(report_data=bound).parsed
    return genuine().with_quote(replace(vouching, attestation_key=quote.attestation_key))


# --- 7: the TCB

cases(
    Code.TCB_NOT_SUPPORTED,
    below_all_levels=lambda: genuine(Faults.UNKNOWN_TCB),
    no_levels=lambda: tcb_info(tcbLevels=[]),
)


@case(Code.TCB_REVOKED)
def quoting_enclave_revoked() -> Presented:
    level = {
        "tcb": {"isvsvn": 1},
        "tcbDate": "2024-01-01T00:00:00Z",
        "tcbStatus": "Revoked",
    }
    return qe_identity(tcbLevels=[level])


cases(Code.TCB_REVOKED, platform=lambda: genuine(Faults.REVOKED_TCB))


@pytest.mark.parametrize(
    ("code", "present"),
    [pytest.param(code, make, id=f"{code.lower()}-{name}") for code, name, make in CASES],
)
def test_what_is_wrong_is_rejected_with_its_own_code(
    code: Code, present: Callable[[], Presented]
) -> None:
    presented = present()
    with pytest.raises(VerificationError) as caught:
        verify(
            presented.quote,
            presented.collateral,
            trust_root=presented.trust_root,
            now=presented.now,
        )
    assert caught.value.code == code


def test_the_same_evidence_with_nothing_wrong_is_accepted() -> None:
    presented = genuine()
    claims = verify(
        presented.quote,
        presented.collateral,
        trust_root=presented.trust_root,
        now=presented.now,
    )
    assert claims.target.mr_enclave == ENCLAVE.mr_enclave


def test_verified_collateral_is_not_used_outside_its_dates() -> None:
    presented = genuine()
    verified = verify_collateral(presented.collateral, presented.trust_root, NOW)
    assert verify_quote(presented.quote, verified, verified.valid_until)
    with pytest.raises(VerificationError) as caught:
        verify_quote(presented.quote, verified, verified.valid_until + timedelta(seconds=1))
    assert caught.value.code == Code.COLLATERAL_VALIDITY


def test_collateral_of_a_revoked_ca_is_rejected_before_any_quote_is_there() -> None:
    presented = genuine(Faults.REVOKED_PLATFORM_CA)
    with pytest.raises(VerificationError) as caught:
        verify_collateral(presented.collateral, presented.trust_root, NOW)
    assert caught.value.code == Code.REVOKED


def test_every_code_is_seen_in_a_case() -> None:
    assert {code for code, _, _ in CASES} | {Code.COLLATERAL_VALIDITY} == set(Code)


def test_a_platform_is_not_named_before_its_certificate_is_verified() -> None:
    presented = genuine()
    assert platform_of(presented.quote, presented.trust_root, NOW).ca == "platform"
    with pytest.raises(VerificationError) as caught:
        platform_of(presented.quote, INTEL_SGX_ROOT_CA, NOW)
    assert caught.value.code == Code.PCK_CHAIN


def test_certificates_known_from_the_collateral_are_checked_like_others() -> None:
    """`verify_quote` skips what the collateral's own CA has passed already, and nothing else."""
    verified = verify_collateral(genuine().collateral, genuine().trust_root, NOW)
    rejected = 0
    for code, _, present in CASES:
        presented = present()
        if code.step not in (2, 5, 6) or presented.collateral != genuine().collateral:
            continue
        if presented.trust_root != genuine().trust_root:
            continue
        rejected += 1
        with pytest.raises(VerificationError) as caught:
            verify_quote(presented.quote, verified, presented.now)
        assert caught.value.code == code
    assert rejected > 40
