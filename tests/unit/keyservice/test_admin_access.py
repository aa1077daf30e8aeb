"""Whose certificate it is, and what their role lets them do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from administered import EVIDENCE, PPID
from sealserve.errors import DeniedError
from sealserve.keyservice.administration.values import Role
from sealserve.keyservice.administration.wire import RecordsQuery
from sealserve.keyservice.api.access import OPERATIONS, Person, check, check_query, person_of
from sealserve.keyservice.api.redaction import record_for_operators
from sealserve.keyservice.config import Roles

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
ROLES = Roles(
    owner=("alice.example.com", "Owen@example.com"), auditor=("audrey.example.com",), operator=()
)
CHANGES = {
    "add_secret",
    "rotate_secret",
    "retire_secret",
    "add_revocation",
    "lift_revocation",
    "apply_policy",
}


def certificate(
    *names: x509.GeneralName, common_name: str = "somebody", end: timedelta = timedelta(days=1)
) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=2))
        .not_valid_after(NOW + end)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([x509.DNSName("alice.example.com")], Person("alice.example.com", Role.OWNER)),
        ([x509.DNSName("ALICE.Example.com")], Person("alice.example.com", Role.OWNER)),
        ([x509.RFC822Name("Owen@example.com")], Person("Owen@example.com", Role.OWNER)),
        (
            [x509.DNSName("x.example.com"), x509.DNSName("audrey.example.com")],
            Person("audrey.example.com", Role.AUDITOR),
        ),
    ],
    ids=["DNS name", "DNS name in other letters", "e-mail address", "one of two names"],
)
def test_a_person_is_a_name_in_the_subject_alternative_names(
    names: Sequence[x509.GeneralName], found: Person
) -> None:
    assert person_of(certificate(*names), ROLES, NOW) == found


def test_a_uri_is_a_name_too() -> None:
    roles = Roles.model_construct(owner=("spiffe://example.com/alice",), auditor=(), operator=())
    uri = x509.UniformResourceIdentifier("spiffe://example.com/alice")
    assert person_of(certificate(uri), roles, NOW).role is Role.OWNER


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        (None, "person.no-certificate"),
        (b"\x30\x00", "person.certificate"),
        (certificate(common_name="alice.example.com"), "person.unknown"),
        (certificate(x509.DNSName("*.example.com")), "person.unknown"),
        (certificate(x509.DNSName("alice.example.com.evil.example")), "person.unknown"),
        (certificate(x509.RFC822Name("owen@example.com")), "person.unknown"),
        (
            certificate(x509.DNSName("alice.example.com"), end=-timedelta(seconds=1)),
            "person.expired",
        ),
        (
            certificate(x509.DNSName("alice.example.com"), x509.DNSName("audrey.example.com")),
            "person.ambiguous",
        ),
    ],
    ids=[
        "none",
        "no certificate",
        "the name is the common name alone",
        "a wildcard",
        "the name begins like hers",
        "e-mail addresses have case",
        "expired since the handshake",
        "the names of two people",
    ],
)
def test_what_is_nobodys_certificate_is_refused(shown: bytes | None, code: str) -> None:
    with pytest.raises(DeniedError) as refused:
        person_of(shown, ROLES, NOW)
    assert refused.value.code == code


def test_a_name_of_a_kind_that_nobody_reads_makes_a_certificate_nobodys() -> None:
    """ediPartyName (RFC 5280, section 4.2.1.6) stands in the place of an URI of the same length."""
    plain = certificate(x509.DNSName("alice.example.com"), x509.UniformResourceIdentifier("edi"))
    odd = plain.replace(b"\x86\x03edi", b"\xa5\x03edi")
    assert odd != plain
    with pytest.raises(DeniedError) as refused:
        person_of(odd, ROLES, NOW)
    assert refused.value.code == "person.certificate"


def test_every_change_is_the_owners_alone_and_owners_may_do_everything() -> None:
    for operation, roles in OPERATIONS.items():
        assert Role.OWNER in roles
        assert (roles == {Role.OWNER}) == (operation in CHANGES)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("role", Role)
def test_the_table_is_what_is_checked(operation: str, role: Role) -> None:
    person = Person("somebody", role)
    if role in OPERATIONS[operation]:
        check(operation, person)
        return
    with pytest.raises(DeniedError) as refused:
        check(operation, person)
    assert refused.value.code == "role"


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"kind": "change"},
        {"evidence": EVIDENCE, "secret": "digits"},
        {"evidence": EVIDENCE, "since": NOW},
        {"evidence": None},
    ],
    ids=["nothing", "changes", "a secret, too", "a time, too", "no evidence"],
)
def test_an_operator_finds_records_by_their_evidence_alone(asked: dict[str, object]) -> None:
    query = RecordsQuery(**asked)  # type: ignore[arg-type]
    with pytest.raises(DeniedError):
        check_query(query, Person("oscar", Role.OPERATOR))
    check_query(query, Person("audrey", Role.AUDITOR))
    check_query(RecordsQuery(evidence=EVIDENCE, limit=3), Person("oscar", Role.OPERATOR))


def test_an_operator_sees_why_and_not_which_platform() -> None:
    record = {
        "kind": "decision",
        "code": "policy.platform",
        "claims": {"ppid": PPID, "fmspc": "00606a000000", "tcb_status": "UpToDate"},
        "explanation": [f"platform.platform_ids: found {PPID}, expected {'6B' * 16}", "ab" * 32],
    }
    shown = record_for_operators(json.dumps(record).encode())
    assert PPID.encode() not in shown
    assert json.loads(shown)["claims"] == {"fmspc": "00606a000000", "tcb_status": "UpToDate"}
    assert json.loads(shown)["explanation"] == [
        "platform.platform_ids: found (left out), expected (left out)",
        "ab" * 32,
    ]
    assert json.loads(shown)["code"] == "policy.platform"
    assert json.loads(record_for_operators(b'{"kind":"decision","claims":null}'))["claims"] is None
