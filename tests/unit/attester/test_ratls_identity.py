"""The RA-TLS certificates that we make, read as a verifier reads them, beside Gramine's own."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealserve.attester.ratls import make_certificate
from sealserve.evidence.quote import parse_quote
from sealserve.evidence.ratls import (
    DICE_OID,
    MALFORMED_LEGACY_OID,
    check_binding,
    extract_evidence,
    legacy_report_data,
)
from sealserve.evidence.report import SgxReport
from sealserve.lab.world import World

SAMPLES = Path(__file__).parents[2] / "data" / "gramine" / "ratls"

REPORT = SgxReport(
    bytes(16), 0, bytes(16), bytes(16), bytes(32), bytes(32), bytes(64), 0, 0, 0, bytes(16),
    bytes(64),
)  # fmt: skip


class Source:
    """Quotes of the lab's hardware, and what they were asked over."""

    def __init__(self) -> None:
        self.world = World.create(now=datetime.now(UTC))
        self.asked: list[bytes] = []

    def quote(self, report_data: bytes) -> bytes:
        self.asked.append(report_data)
        return self.world.quote(replace(REPORT, report_data=report_data))


@pytest.fixture
def source() -> Source:
    return Source()


def extensions(certificate_der):
    parsed = x509.load_der_x509_certificate(certificate_der)
    return {extension.oid: extension for extension in parsed.extensions}


def test_by_default_both_extensions_carry_quotes_of_their_own(source):
    identity = make_certificate(source)
    found = extensions(identity.certificate_der)
    assert {MALFORMED_LEGACY_OID, DICE_OID} <= set(found)
    assert len(set(source.asked)) == 2
    legacy = parse_quote(found[MALFORMED_LEGACY_OID].value.value)
    evidence = extract_evidence(identity.certificate_der)
    assert legacy.body.report_data == legacy_report_data(evidence.spki)
    assert evidence.style == "dice"
    check_binding(evidence, parse_quote(evidence.quote).body.report_data)


@pytest.mark.parametrize("key_type", ["p384", "rsa3072"])
def test_the_legacy_style_has_one_quote(source, key_type):
    identity = make_certificate(source, key_type=key_type, style="legacy")
    evidence = extract_evidence(identity.certificate_der)
    assert evidence.style == "legacy"
    assert len(source.asked) == 1
    check_binding(evidence, parse_quote(evidence.quote).body.report_data)


def test_key_types_are_gramines(source):
    new = make_certificate(source).private_key
    old = make_certificate(source, key_type="rsa3072", style="legacy").private_key
    assert isinstance(new, ec.EllipticCurvePrivateKey)
    assert isinstance(new.curve, ec.SECP384R1)
    assert isinstance(old, rsa.RSAPrivateKey)
    assert old.key_size == 3072


@pytest.mark.parametrize("style", ["both", "legacy"])
def test_the_digest_names_the_quote_that_counts(source, style):
    identity = make_certificate(source, style=style)
    quote = extract_evidence(identity.certificate_der).quote
    assert identity.evidence_digest == hashlib.sha256(quote).hexdigest()


def test_every_identity_has_a_key_of_its_own(source):
    first, second = make_certificate(source), make_certificate(source)
    assert first.private_key.public_key() != second.private_key.public_key()


def test_neither_key_nor_certificate_shows_in_a_repr(source):
    identity = make_certificate(source)
    secret = identity.private_key.private_numbers().private_value
    assert repr(identity) == f"RatlsIdentity(evidence_digest={identity.evidence_digest!r})"
    assert str(secret) not in repr(identity)


@pytest.mark.parametrize(
    ("sample", "options"),
    [("new.der", {}), ("old.der", {"key_type": "rsa3072", "style": "legacy"})],
)
def test_a_certificate_has_the_shape_of_gramines(source, sample, options):
    ours = x509.load_der_x509_certificate(make_certificate(source, **options).certificate_der)
    theirs = x509.load_der_x509_certificate((SAMPLES / sample).read_bytes())
    assert ours.version is theirs.version
    assert ours.signature_algorithm_oid == theirs.signature_algorithm_oid
    assert ours.issuer == ours.subject
    evidence = {MALFORMED_LEGACY_OID, DICE_OID}
    assert [e.oid for e in ours.extensions if e.oid in evidence] == [
        e.oid for e in theirs.extensions if e.oid in evidence
    ]
    assert not any(extension.critical for extension in ours.extensions)
