"""Whatever the bytes, only our own errors leave the evidence room; what it accepts, it can write.

Mutations start from sound input, because random bytes die at the first check.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.errors import FormatError, RejectedError
from sealserve.evidence import cbor
from sealserve.evidence.kind import detect
from sealserve.evidence.quote import (
    INTEL_QE_VENDOR_ID,
    TEE_TYPE_SGX,
    TEE_TYPE_TDX,
    BodyType,
    CertificationDataType,
    Quote,
    parse_quote,
    serialize_quote,
)
from sealserve.evidence.ratls import (
    DICE_OID,
    check_binding,
    dice_claims,
    dice_extension,
    evidence_of_peer,
    extract_evidence,
    spki_der,
)
from sealserve.evidence.report import SgxReport
from sealserve.evidence.sigstruct import check_signature, parse_sigstruct
from sealserve.evidence.td_report import TdReport

SAMPLES = Path(__file__).parents[1] / "data" / "gramine"
SIGSTRUCT = (SAMPLES / "sigstruct" / "sample.sig").read_bytes()
CERTIFICATES = [(SAMPLES / "ratls" / name).read_bytes() for name in ("old.der", "new.der")]
KEY = ec.derive_private_key(0x5EA1, ec.SECP256R1())
ECDSA_SHA256_DER = bytes.fromhex("300a06082a8648ce3d040302")

thorough = settings(max_examples=300, deadline=None)  # a loaded machine is no failure

# `cryptography` warns of oddities (a zero serial number, say) that are no concern of ours.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


def exactly(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


reports = st.builds(
    SgxReport,
    cpu_svn=exactly(16),
    misc_select=unsigned(32),
    isv_ext_prod_id=exactly(16),
    attributes=exactly(16),
    mr_enclave=exactly(32),
    mr_signer=exactly(32),
    config_id=exactly(64),
    isv_prod_id=unsigned(16),
    isv_svn=unsigned(16),
    config_svn=unsigned(16),
    isv_family_id=exactly(16),
    report_data=exactly(64),
)
td_reports = st.sampled_from([584, 648, 885]).flatmap(exactly).map(TdReport.parse)
TD_BODY_TYPES = {584: BodyType.TD_10, 648: BodyType.TD_15, 885: BodyType.TD_15_EX}


@st.composite
def quotes_of(draw: st.DrawFn, version: int, tee_type: int) -> Quote:
    """Of every form that this version has for this kind of TEE."""
    body = draw(reports if tee_type == TEE_TYPE_SGX else td_reports)
    if version == 4 and isinstance(body, TdReport):
        body = TdReport.parse(body.serialize()[:584])
    body_type = None
    if version == 5:
        body_type = TD_BODY_TYPES[body.size] if isinstance(body, TdReport) else BodyType.SGX
    return Quote(
        version=version,
        attestation_key_type=2,
        tee_type=tee_type,
        qe_svn=draw(unsigned(16)),
        pce_svn=draw(unsigned(16)),
        qe_vendor_id=INTEL_QE_VENDOR_ID,
        user_data=draw(exactly(20)),
        body=body,
        signature=draw(exactly(64)),
        attestation_key=draw(exactly(64)),
        qe_report=draw(reports),
        qe_report_signature=draw(exactly(64)),
        qe_auth_data=draw(st.binary(max_size=200)),
        certification_data_type=draw(st.sampled_from(CertificationDataType)),
        certification_data=draw(st.binary(max_size=200)),
        trailing=draw(st.binary(max_size=50)),
        body_type=body_type,
    )


quotes = st.one_of(
    *(quotes_of(version, TEE_TYPE_SGX) for version in (3, 4, 5)),
    *(quotes_of(version, TEE_TYPE_TDX) for version in (4, 5)),
)
cbor_values = st.recursive(
    st.one_of(
        st.integers(-(2**64), 2**64 - 1),
        st.binary(max_size=40),
        st.text(max_size=20),
        st.booleans(),
        st.none(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=8), unsigned(64)), inner, max_size=4),
        st.builds(cbor.Tagged, unsigned(64), inner),
    ),
    max_leaves=12,
)


@st.composite
def mutations(draw: st.DrawFn, original: bytes) -> bytes:
    """`original` with a few bytes replaced, inserted, removed or cut off."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        removed = draw(st.sampled_from((0, 1, 1, 1, 2, 4, len(data))))
        data[start : start + removed] = draw(st.binary(max_size=4))
    return bytes(data)


def der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def certificate(extension: bytes) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "RATLS")])
    return (
        x509.CertificateBuilder(name, name, KEY.public_key(), 1)
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 12, 31, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False)
        .add_extension(x509.UnrecognizedExtension(DICE_OID, extension), critical=False)
        .sign(KEY, hashes.SHA256())
    )


CLAIMS = dice_claims(spki_der(KEY.public_key()), {"nonce": b"n"})
EXTENSION = dice_extension(b"the quote", CLAIMS)


def rejected_or_sound(data: bytes) -> None:
    """Accepted evidence is whole; anything else is one of our rejections."""
    try:
        evidence = extract_evidence(data)
    except RejectedError:
        return
    check_binding(evidence, evidence.bound)
    assert evidence.quote


@thorough
@given(quotes)
def test_every_quote_survives_the_round_trip(quote: Quote) -> None:
    data = serialize_quote(quote)
    assert parse_quote(data) == quote
    assert serialize_quote(parse_quote(data)) == data


@thorough
@given(quotes.map(serialize_quote).flatmap(mutations))
def test_a_mutated_quote_is_refused_or_serialises_to_itself(data: bytes) -> None:
    try:
        quote = parse_quote(data)
    except FormatError:
        return
    assert serialize_quote(quote) == data


@thorough
@given(st.binary(max_size=3000))
def test_random_bytes_are_refused_by_every_parser(data: bytes) -> None:
    for parser in (
        detect,
        parse_quote,
        parse_sigstruct,
        extract_evidence,
        evidence_of_peer,
        cbor.decode,
    ):
        try:
            parser(data)
        except FormatError:
            continue
        assert parser in (detect, cbor.decode)


@thorough
@given(cbor_values)
def test_every_cbor_value_survives_the_round_trip(value: cbor.CborValue) -> None:
    try:
        decoded = cbor.decode(cbor.encode(value))
    except FormatError as error:
        assert error.code == "cbor.depth"
        return
    assert repr(decoded) == repr(value)


@thorough
@given(st.one_of(st.binary(max_size=64), cbor_values.map(cbor.encode).flatmap(mutations)))
def test_accepted_cbor_encodes_to_itself(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except FormatError:
        return
    assert cbor.encode(value) == data


@thorough
@given(st.sampled_from(CERTIFICATES).flatmap(mutations))
def test_a_mutated_certificate_of_gramine_is_refused_or_sound(data: bytes) -> None:
    rejected_or_sound(data)


@thorough
@given(mutations(EXTENSION))
def test_mutated_evidence_under_a_right_signature_is_refused_or_sound(value: bytes) -> None:
    rejected_or_sound(certificate(value).public_bytes(serialization.Encoding.DER))


@thorough
@given(mutations(certificate(EXTENSION).tbs_certificate_bytes))
def test_a_mutated_certificate_under_a_right_signature_is_refused_or_sound(content: bytes) -> None:
    signature = KEY.sign(content, ec.ECDSA(hashes.SHA256()))
    rejected_or_sound(der(0x30, content + ECDSA_SHA256_DER + der(0x03, b"\x00" + signature)))


@thorough
@given(mutations(SIGSTRUCT))
def test_a_mutated_sigstruct_is_refused(data: bytes) -> None:
    if data == SIGSTRUCT:
        return
    with pytest.raises(RejectedError):
        check_signature(parse_sigstruct(data))
