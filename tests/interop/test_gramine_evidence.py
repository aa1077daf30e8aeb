"""Certificates and a SIGSTRUCT that real Gramine programs made (old: before 1.0; new: 1.9).

The quotes in the certificates are placeholders: right header and body, zeros for signatures.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from sealserve.evidence.quote import is_placeholder, parse_quote_body
from sealserve.evidence.ratls import (
    DICE_OID,
    MALFORMED_LEGACY_OID,
    check_binding,
    dice_claims,
    dice_extension,
    extract_evidence,
)
from sealserve.evidence.sigstruct import check_signature, parse_sigstruct

SAMPLES = Path(__file__).parents[1] / "data" / "gramine"


def extension(certificate: bytes, oid: ObjectIdentifier) -> bytes:
    parsed = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_oid(oid)
    assert isinstance(parsed.value, x509.UnrecognizedExtension)
    return parsed.value.value


@pytest.mark.parametrize(
    ("name", "style", "oid", "key_bytes"),
    [
        ("old", "legacy", "0.6.9.42.840.113741.1337.6", 422),
        ("new", "dice", "2.23.133.5.4.9", 120),
    ],
)
def test_evidence_is_found_and_binds(name: str, style: str, oid: str, key_bytes: int) -> None:
    evidence = extract_evidence((SAMPLES / "ratls" / f"{name}.der").read_bytes())
    assert (evidence.style, evidence.oid, len(evidence.spki)) == (style, oid, key_bytes)
    assert is_placeholder(evidence.quote)
    check_binding(evidence, parse_quote_body(evidence.quote).report_data)


def test_the_new_certificate_has_another_quote_for_old_verifiers() -> None:
    data = (SAMPLES / "ratls" / "new.der").read_bytes()
    assert extract_evidence(data).quote != extension(data, MALFORMED_LEGACY_OID)


def test_our_builders_write_the_bytes_that_gramine_writes() -> None:
    data = (SAMPLES / "ratls" / "new.der").read_bytes()
    evidence = extract_evidence(data)
    assert dice_claims(evidence.spki) == evidence.claims
    assert dice_extension(evidence.quote, evidence.claims) == extension(data, DICE_OID)


def test_the_sigstruct_decodes_to_its_view() -> None:
    folder = SAMPLES / "sigstruct"
    stated = parse_sigstruct((folder / "sample.sig").read_bytes())
    view = json.loads((folder / "sample.view.json").read_text())
    assert view == {
        "mr_signer": stated.mr_signer.hex(),
        "mr_enclave": stated.mr_enclave.hex(),
        "isv_prod_id": stated.isv_prod_id,
        "isv_svn": stated.isv_svn,
        "debug_enclave": stated.debug,
    }
    check_signature(stated)
