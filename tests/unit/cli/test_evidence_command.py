"""`sealserve evidence show`: what it prints, what it admits not to know, and its exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sealserve.cli import main
from sealserve.evidence.quote import (
    INTEL_QE_VENDOR_ID,
    CertificationDataType,
    Quote,
    parse_quote_body,
    serialize_quote,
)
from sealserve.evidence.ratls import (
    PROPER_LEGACY_OID,
    extract_evidence,
    legacy_report_data,
    spki_der,
)
from sealserve.evidence.td_report import TdInstance
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SAMPLES = Path(__file__).parents[2] / "data" / "gramine"
OLD = SAMPLES / "ratls" / "old.der"
NEW = SAMPLES / "ratls" / "new.der"
SIGSTRUCT = SAMPLES / "sigstruct" / "sample.sig"


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["evidence", "show", *map(str, arguments)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def shown(capsys: pytest.CaptureFixture[str], path: Path, *, code: int = 0) -> Any:
    assert run(path, "--json") == code
    return json.loads(capsys.readouterr().out)


def stolen_quote(folder: Path) -> Path:
    """A certificate that carries the quote of another, under the proper OID."""
    quote = extract_evidence(OLD.read_bytes()).quote
    return certificate_with(folder / "stolen.pem", ec.generate_private_key(ec.SECP256R1()), quote)


def certificate_with(path: Path, key: ec.EllipticCurvePrivateKey, quote: bytes) -> Path:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "RATLS")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 12, 31, tzinfo=UTC))
        .add_extension(x509.UnrecognizedExtension(PROPER_LEGACY_OID, quote), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_sigstruct_shows_what_gramine_shows(capsys: pytest.CaptureFixture[str]) -> None:
    facts = shown(capsys, SIGSTRUCT)
    expected = json.loads((SAMPLES / "sigstruct" / "sample.view.json").read_text())
    assert {name: facts[name] for name in expected} == expected
    assert facts["kind"] == "sigstruct"
    assert facts["signature"] == {"holds": True}
    assert facts["verified"] is False


@pytest.mark.parametrize(
    ("path", "style", "oid"),
    [(OLD, "legacy", "0.6.9.42.840.113741.1337.6"), (NEW, "dice", "2.23.133.5.4.9")],
    ids=["old", "new"],
)
def test_a_certificate_shows_its_evidence_and_that_it_binds(
    capsys: pytest.CaptureFixture[str], path: Path, style: str, oid: str
) -> None:
    facts = shown(capsys, path)
    assert (facts["certificate"]["style"], facts["certificate"]["oid"]) == (style, oid)
    assert facts["binding"] == {"holds": True}
    assert facts["signature"]["present"] is False
    assert facts["verified"] is False
    assert facts["mr_enclave"] == "11" * 32


def test_a_quote_shows_both_reports_and_what_certifies_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    body = parse_quote_body(extract_evidence(OLD.read_bytes()).quote)
    quote = Quote(
        version=3,
        attestation_key_type=2,
        tee_type=0,
        qe_svn=11,
        pce_svn=16,
        qe_vendor_id=INTEL_QE_VENDOR_ID,
        user_data=bytes(20),
        body=replace(body, attributes=b"\x07" + bytes(15)),
        signature=b"s" * 64,
        attestation_key=b"k" * 64,
        qe_report=body,
        qe_report_signature=b"q" * 64,
        qe_auth_data=b"auth",
        certification_data_type=CertificationDataType.PCK_CHAIN,
        certification_data=b"-----BEGIN CERTIFICATE-----",
        trailing=b"\x00" * 7,
    )
    path = tmp_path / "quote.bin"
    path.write_bytes(serialize_quote(quote))
    facts = shown(capsys, path)
    assert (facts["kind"], facts["verified"], facts["debug_enclave"]) == ("quote", False, True)
    assert (facts["header"]["qe_svn"], facts["header"]["pce_svn"]) == (11, 16)
    assert facts["signature"] == {
        "present": True,
        "qe_auth_data": b"auth".hex(),
        "certification_data_type": 5,
        "certification_data": "PCK_CHAIN",
        "certification_data_bytes": 27,
        "trailing_bytes": 7,
    }
    assert facts["qe_report"]["debug_enclave"] is False
    assert facts["qe_report"]["mr_signer"] == "22" * 32


@pytest.mark.parametrize(("version", "body_type"), [(4, None), (5, "TD_15")])
def test_a_quote_of_a_trust_domain_shows_what_its_generation_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, version: int, body_type: str | None
) -> None:
    td = TrustDomainIdentity(mr_td=b"\x11" * 48, debug=True)
    data = bytes(range(64))
    report = td.report(data) if version == 4 else td.report_15(data)
    path = tmp_path / "quote.bin"
    path.write_bytes(World.create(now=NOW).td_quote(report, version))
    facts = shown(capsys, path)
    assert (facts["mr_td"], facts["debug_td"], facts["rtmr3"]) == ("11" * 48, True, "00" * 48)
    assert facts["report_data"] == data.hex()
    assert (facts["header"]["version"], facts["header"]["tee"]) == (version, "TDX")
    assert facts["header"].get("body_type") == body_type
    assert ("mr_service_td" in facts) == (version == 5)
    assert facts["qe_report"]["isv_prod_id"] == 2
    assert facts["signature"]["certification_data"] == "PCK_CHAIN"


def test_an_extended_report_shows_which_td_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sizes = (48, 48, 8, 16, 16, 12, 48, 8)
    instance = TdInstance(7, b"\x1d" * 32, *(bytes(size) for size in sizes))
    report = TrustDomainIdentity(mr_td=b"\x11" * 48).report_15(bytes(64))
    path = tmp_path / "quote.bin"
    extended = replace(report, instance=instance)
    path.write_bytes(World.create(now=NOW).td_quote(extended, 5))
    facts = shown(capsys, path)
    assert facts["header"]["body_type"] == "TD_15_EX"
    assert (facts["td_instance"]["vmid"], facts["td_instance"]["td_id"]) == (7, "1d" * 32)
    assert run(path) == 0
    assert "td_instance" in capsys.readouterr().out


@pytest.mark.parametrize("version", [4, 5])
def test_a_certificate_may_carry_the_quote_of_a_trust_domain(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, version: int
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    td = TrustDomainIdentity(mr_td=b"\x11" * 48)
    quote = World.create(now=NOW).td_quote(
        td.report(legacy_report_data(spki_der(key.public_key()))), version
    )
    facts = shown(capsys, certificate_with(tmp_path / "td.pem", key, quote))
    assert facts["binding"] == {"holds": True}
    assert (facts["mr_td"], facts["header"]["version"]) == ("11" * 48, version)


def test_a_quote_that_binds_another_key_is_shown_and_ends_in_two(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    facts = shown(capsys, stolen_quote(tmp_path), code=2)
    assert facts["certificate"]["oid"] == "1.2.840.113741.1337.6"
    assert facts["binding"]["holds"] is False
    assert facts["binding"]["code"] == "binding.report-data"


def test_a_person_is_told_that_nothing_was_verified(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(NEW) == 0
    output = capsys.readouterr()
    assert "shown, not verified" in output.out
    assert "shown, not verified" in output.err
    assert run(stolen_quote(tmp_path)) == 2
    assert "[binding.report-data]" in capsys.readouterr().err


def test_a_sigstruct_with_a_flipped_bit_is_shown_and_ends_in_two(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = bytearray(SIGSTRUCT.read_bytes())
    data[960] ^= 1
    path = tmp_path / "flipped.sig"
    path.write_bytes(data)
    assert shown(capsys, path, code=2)["signature"]["code"] == "sigstruct.signature"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "evidence.unknown", id="empty"),
        pytest.param(b"hello, world", "evidence.unknown", id="text"),
        pytest.param(b"\x06\x00" + bytes(1000), "quote.version", id="version 6"),
        pytest.param(b"\x04\x00\x02\x00", "quote.length", id="cut quote of version 4"),
        pytest.param(b"\x03\x00\x02\x00", "quote.length", id="cut quote"),
        pytest.param(SIGSTRUCT.read_bytes()[:-1], "sigstruct.length", id="cut SIGSTRUCT"),
        pytest.param(OLD.read_bytes()[:-1], "ratls.certificate", id="cut certificate"),
    ],
)
def test_malformed_input_ends_in_two_with_its_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: bytes, code: str
) -> None:
    path = tmp_path / "input"
    path.write_bytes(data)
    assert shown(capsys, path, code=2)["error"]["code"] == code


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    assert run(tmp_path / "absent") == 1
