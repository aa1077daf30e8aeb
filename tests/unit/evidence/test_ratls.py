"""Evidence in certificates: which extension counts, what binds, what is refused."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import ObjectIdentifier

from sealserve.errors import BindingError, FormatError
from sealserve.evidence import cbor
from sealserve.evidence.certificate import MAX_CERTIFICATE_BYTES
from sealserve.evidence.ratls import (
    DICE_OID,
    MALFORMED_LEGACY_OID,
    MAX_RATLS_QUOTE_BYTES,
    PROPER_LEGACY_OID,
    check_binding,
    dice_claims,
    dice_extension,
    dice_report_data,
    evidence_of_peer,
    extract_evidence,
    legacy_report_data,
    spki_der,
)

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
SPKI = spki_der(KEY.public_key())
CLAIMS = dice_claims(SPKI)
QUOTE = b"the quote"
ECDSA_SHA256_DER = bytes.fromhex("300a06082a8648ce3d040302")

Extensions = list[tuple[ObjectIdentifier, bytes]]


def certificate(
    extensions: Extensions,
    *,
    key: Any = KEY,
    public_key: Any = None,
    algorithm: hashes.HashAlgorithm | None = None,
    issuer: str = "RATLS",
) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "RATLS")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key or key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 12, 31, tzinfo=UTC))
    )
    for oid, value in extensions:
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        signed = builder.sign(key, None)
    else:
        signed = builder.sign(key, algorithm or hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def signed_again(data: bytes, old: bytes, new: bytes) -> bytes:
    """The certificate with some of its bytes replaced, and again rightly signed by KEY."""
    content = x509.load_der_x509_certificate(data).tbs_certificate_bytes
    assert old in content
    assert len(old) == len(new)
    content = content.replace(old, new)
    signature = KEY.sign(content, ec.ECDSA(hashes.SHA256()))
    return der(0x30, content + ECDSA_SHA256_DER + der(0x03, b"\x00" + signature))


def dice(claims: bytes = CLAIMS) -> Extensions:
    return [(DICE_OID, dice_extension(QUOTE, claims))]


def pem(data: bytes) -> bytes:
    return x509.load_der_x509_certificate(data).public_bytes(serialization.Encoding.PEM)


def code_of(data: bytes) -> str:
    with pytest.raises((FormatError, BindingError)) as caught:
        extract_evidence(data)
    return caught.value.code


@pytest.mark.parametrize("oid", [MALFORMED_LEGACY_OID, PROPER_LEGACY_OID])
@pytest.mark.parametrize("encoding", ["der", "pem"])
def test_a_legacy_quote_is_found_under_both_spellings(oid: ObjectIdentifier, encoding: str) -> None:
    data = certificate([(oid, QUOTE)])
    evidence = extract_evidence(data if encoding == "der" else pem(data))
    assert (evidence.style, evidence.oid, evidence.quote) == ("legacy", oid.dotted_string, QUOTE)
    assert evidence.bound == hashlib.sha256(SPKI).digest() + bytes(32)
    assert evidence.claims == b""


def test_the_malformed_oid_goes_out_as_gramine_writes_it() -> None:
    data = certificate([(MALFORMED_LEGACY_OID, QUOTE)])
    assert bytes.fromhex("060b06092a864886f84d8a3906") in data


def test_the_standard_extension_is_found() -> None:
    evidence = extract_evidence(certificate(dice()))
    assert (evidence.style, evidence.oid, evidence.quote) == ("dice", "2.23.133.5.4.9", QUOTE)
    assert evidence.bound == hashlib.sha256(CLAIMS).digest() + bytes(32)
    assert evidence.claims == CLAIMS
    assert evidence.spki == SPKI


def test_the_standard_extension_alone_counts_where_both_are() -> None:
    evidence = extract_evidence(certificate([(MALFORMED_LEGACY_OID, b"another"), *dice()]))
    assert (evidence.style, evidence.quote) == ("dice", QUOTE)
    assert evidence.present == ("0.6.9.42.840.113741.1337.6", "2.23.133.5.4.9")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xd9\xea\x60", id="cut"),
        pytest.param(QUOTE, id="a bare quote"),
        pytest.param(cbor.encode([QUOTE, CLAIMS]), id="no tag"),
        pytest.param(cbor.encode(cbor.Tagged(60001, [QUOTE, CLAIMS])), id="another tag"),
        pytest.param(cbor.encode(cbor.Tagged(60000, [QUOTE])), id="no claims"),
        pytest.param(cbor.encode(cbor.Tagged(60000, [QUOTE, CLAIMS, b""])), id="three items"),
        pytest.param(cbor.encode(cbor.Tagged(60000, ["text", CLAIMS])), id="text for the quote"),
        pytest.param(dice_extension(QUOTE, CLAIMS) + b"\x00", id="bytes after it"),
        pytest.param(dice_extension(QUOTE, b""), id="empty claims"),
        pytest.param(dice_extension(QUOTE, dice_claims(b"another key")), id="another key"),
    ],
)
def test_a_wrong_standard_extension_is_never_replaced_by_the_legacy_one(value: bytes) -> None:
    data = certificate([(DICE_OID, value), (MALFORMED_LEGACY_OID, QUOTE)])
    assert code_of(data) in {"cbor.length", "cbor.type", "ratls.evidence", "binding.public-key"}


@pytest.mark.parametrize(("name", "algorithm"), [(1, "sha256"), (7, "sha384"), (8, "sha512")])
def test_claims_may_name_the_key_by_each_registered_digest(name: int, algorithm: str) -> None:
    digest = hashlib.new(algorithm, SPKI).digest()
    claims = cbor.encode({"pubkey-hash": cbor.encode([name, digest])})
    assert extract_evidence(certificate(dice(claims))).bound == dice_report_data(claims)


def test_other_claims_may_stand_beside_the_key() -> None:
    claims = dice_claims(SPKI, {"nonce": b"fresh"})
    assert cbor.decode(claims) == {
        "pubkey-hash": cbor.encode([1, hashlib.sha256(SPKI).digest()]),
        "nonce": b"fresh",
    }
    assert extract_evidence(certificate(dice(claims))).claims == claims


def test_the_claim_about_the_key_cannot_be_replaced() -> None:
    with pytest.raises(FormatError):
        dice_claims(SPKI, {"pubkey-hash": b"mine"})


SHA256 = hashlib.sha256(SPKI).digest()


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        pytest.param({}, "ratls.evidence", id="no claim about the key"),
        pytest.param({"pubkey-hash": SHA256}, "cbor", id="a bare digest"),
        pytest.param({"pubkey-hash": [1, SHA256]}, "ratls.evidence", id="entry not wrapped"),
        pytest.param(
            {"pubkey-hash": cbor.encode([2, SHA256[:15]])}, "ratls.evidence", id="short hash"
        ),
        pytest.param(
            {"pubkey-hash": cbor.encode([True, SHA256])}, "ratls.evidence", id="true for SHA-256"
        ),
        pytest.param(
            {"pubkey-hash": cbor.encode([1, SHA256, 0])}, "ratls.evidence", id="three items"
        ),
        pytest.param(
            {"pubkey-hash": cbor.encode([1, SHA256[:31]])}, "binding.public-key", id="cut digest"
        ),
        pytest.param(
            {"pubkey-hash": cbor.encode([7, SHA256])}, "binding.public-key", id="wrong algorithm"
        ),
        pytest.param(
            {"pubkey-hash": cbor.encode([1, bytes(32)])}, "binding.public-key", id="another key"
        ),
        pytest.param([SHA256], "ratls.evidence", id="claims that are no map"),
    ],
)
def test_claims_that_do_not_name_the_key_are_refused(claims: Any, code: str) -> None:
    assert code_of(certificate(dice(cbor.encode(claims)))).startswith(code)


def test_binding_holds_for_the_report_data_of_the_key() -> None:
    check_binding(extract_evidence(certificate(dice())), dice_report_data(CLAIMS))
    legacy = extract_evidence(certificate([(PROPER_LEGACY_OID, QUOTE)]))
    check_binding(legacy, legacy_report_data(SPKI))


@pytest.mark.parametrize(
    "report_data",
    [
        pytest.param(legacy_report_data(spki_der(OTHER_KEY.public_key())), id="another key"),
        pytest.param(legacy_report_data(SPKI), id="the other style"),
        pytest.param(dice_report_data(CLAIMS)[:32], id="no zeros"),
        pytest.param(dice_report_data(CLAIMS)[:63] + b"\x01", id="no zero at the end"),
        pytest.param(bytes(64), id="zeros"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_quote_for_something_else_does_not_bind(report_data: bytes) -> None:
    with pytest.raises(BindingError) as caught:
        check_binding(extract_evidence(certificate(dice())), report_data)
    assert caught.value.code == "binding.report-data"


def test_a_certificate_without_evidence_is_refused() -> None:
    assert code_of(certificate([(ObjectIdentifier("1.2.3.4"), QUOTE)])) == "ratls.no-evidence"


def test_both_spellings_at_once_are_refused() -> None:
    data = certificate([(MALFORMED_LEGACY_OID, QUOTE), (PROPER_LEGACY_OID, QUOTE)])
    assert code_of(data) == "ratls.duplicate-extension"


def test_the_same_extension_twice_is_refused() -> None:
    neighbour = bytes.fromhex("060667810505040a")
    data = certificate([*dice(), (ObjectIdentifier("2.23.133.5.4.10"), QUOTE)])
    twice = signed_again(data, neighbour, bytes.fromhex("0606678105050409"))
    assert code_of(twice) == "ratls.duplicate-extension"


def test_an_altered_certificate_is_refused() -> None:
    data = certificate(dice())
    assert code_of(data.replace(QUOTE, b"Xhe quote")) == "binding.self-signature"


def test_a_certificate_of_another_signer_is_refused() -> None:
    data = certificate(dice(), key=OTHER_KEY, public_key=KEY.public_key())
    assert code_of(data) == "binding.self-signature"


def test_a_certificate_that_names_another_issuer_is_refused() -> None:
    assert code_of(certificate(dice(), issuer="Somebody")) == "binding.self-signature"


def test_a_weak_signature_hash_is_refused() -> None:
    assert code_of(certificate(dice(), algorithm=hashes.SHA224())) == "binding.self-signature"


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(ed25519.Ed25519PrivateKey.generate(), id="Ed25519"),
        pytest.param(rsa.generate_private_key(65537, 1024), id="RSA of 1024 bits"),
        pytest.param(ec.generate_private_key(ec.SECP256K1()), id="secp256k1"),
    ],
)
def test_a_key_of_another_kind_is_refused(key: Any) -> None:
    assert code_of(certificate([(PROPER_LEGACY_OID, QUOTE)], key=key)) == "ratls.key"


@pytest.mark.parametrize(
    ("bits", "exponent"),
    [
        pytest.param(16384, 65537, id="16384 bits"),
        pytest.param(3072, (1 << 3071) + 1, id="an exponent of 3072 bits"),
        pytest.param(2048, (1 << 32) + 1, id="an exponent of 33 bits"),
    ],
)
def test_an_rsa_key_that_is_slow_to_check_is_refused(bits: int, exponent: int) -> None:
    public_key = rsa.RSAPublicNumbers(exponent, (1 << bits) - 1).public_key()
    data = certificate([(PROPER_LEGACY_OID, QUOTE)], public_key=public_key)
    assert code_of(data) == "ratls.key"


@pytest.mark.parametrize("size", [0, MAX_RATLS_QUOTE_BYTES + 1])
def test_the_size_of_the_quote_has_limits(size: int) -> None:
    assert code_of(certificate([(PROPER_LEGACY_OID, bytes(size))])) == "ratls.quote-size"
    with pytest.raises(FormatError):
        dice_extension(bytes(size), CLAIMS)


def test_the_largest_quote_is_accepted() -> None:
    quote = bytes(MAX_RATLS_QUOTE_BYTES)
    assert extract_evidence(certificate([(DICE_OID, dice_extension(quote, CLAIMS))])).quote == quote


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "ratls.certificate", id="nothing"),
        pytest.param(b"\x30\x00", "ratls.certificate", id="an empty sequence"),
        pytest.param(b"\x30" * 100, "ratls.certificate", id="no DER"),
        pytest.param(b"hello", "ratls.certificate", id="text"),
        pytest.param(
            b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
            "ratls.certificate",
            id="empty PEM",
        ),
        pytest.param(certificate(dice())[:-1], "ratls.certificate", id="cut"),
        pytest.param(certificate(dice()) + b"\x00", "ratls.certificate", id="a byte after it"),
        pytest.param(pem(certificate(dice())) * 2, "ratls.certificate", id="two in one PEM"),
        pytest.param(b"\x30" * (MAX_CERTIFICATE_BYTES + 1), "ratls.size", id="too large"),
    ],
)
def test_bytes_that_are_no_certificate_are_refused(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_an_unreadable_extension_is_refused_where_cryptography_parses_it_late() -> None:
    subject_alternative_name = bytes.fromhex("0603551d11")
    data = certificate([*dice(), (ObjectIdentifier("2.5.29.99"), b"no DER")])
    broken = signed_again(data, bytes.fromhex("0603551d63"), subject_alternative_name)
    assert code_of(broken) == "ratls.certificate"


def test_a_tls_feature_that_nobody_knows_is_an_unreadable_extension() -> None:
    features = ObjectIdentifier("1.3.6.1.5.5.7.1.24")  # RFC 7633: a sequence of integers
    data = certificate([*dice(), (features, der(0x30, der(0x02, b"\x63")))])
    assert code_of(data) == "ratls.certificate"


def test_of_a_tls_peer_the_certificates_own_signature_is_not_used():
    signed = certificate(dice())
    unsigned = signed[:-1] + bytes([signed[-1] ^ 1])
    with pytest.raises((BindingError, FormatError)):
        extract_evidence(unsigned)
    assert evidence_of_peer(unsigned) == evidence_of_peer(signed) == extract_evidence(signed)


def test_of_a_tls_peer_the_claims_must_still_name_the_certificates_key():
    others = dice(dice_claims(spki_der(OTHER_KEY.public_key())))
    with pytest.raises(BindingError) as caught:
        evidence_of_peer(certificate(others))
    assert caught.value.code == "binding.public-key"
