"""Who may do what: the one table of operations and roles, and the person behind a certificate.

A person is a name in the subjectAltName (DNS name, e-mail address or URI) of the client certificate
that the TLS handshake verified; the common name counts for nothing (RFC 9525, section 6.3). A
certificate with the names of two people is nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509

from sealserve.errors import DeniedError
from sealserve.keyservice.administration.values import Role
from sealserve.keyservice.administration.wire import RecordsQuery
from sealserve.keyservice.config import Roles

_OWNER: Final = frozenset({Role.OWNER})
_READERS: Final = frozenset({Role.OWNER, Role.AUDITOR})
_EVERYBODY: Final = frozenset(Role)

OPERATIONS: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(
    {
        "openapi": _EVERYBODY,
        "status": _EVERYBODY,
        "list_secrets": _EVERYBODY,
        "add_secret": _OWNER,
        "show_secret": _READERS,
        "rotate_secret": _OWNER,
        "retire_secret": _OWNER,
        "list_revocations": _READERS,
        "add_revocation": _OWNER,
        "lift_revocation": _OWNER,
        "show_policy": _READERS,
        "try_policy": _READERS,
        "apply_policy": _OWNER,
        "audit_key": _READERS,
        "audit_checkpoint": _READERS,
        "audit_records": _EVERYBODY,
        "audit_inclusion": _READERS,
        "audit_consistency": _READERS,
    }
)


@dataclass(frozen=True)
class Person:
    """Somebody who has a role."""

    name: str
    role: Role


def person_of(certificate: bytes | None, roles: Roles, now: datetime) -> Person:
    """Whose certificate (DER, verified) it is; raises DeniedError for nobody's.

    The handshake verified it, but a connection may outlive it: its end is looked at again.
    """
    if certificate is None:
        raise DeniedError("no client certificate was shown", code="person.no-certificate")
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        end, (hosts, others) = parsed.not_valid_after_utc, _names(parsed)
    except (ValueError, x509.UnsupportedGeneralNameType, x509.DuplicateExtension):
        raise DeniedError(
            "the client certificate cannot be read", code="person.certificate"
        ) from None
    if now > end:
        raise DeniedError("the client certificate has expired", code="person.expired")
    people = [
        Person(name, role)
        for role in Role
        for name in getattr(roles, role.value)
        if name in others or name.lower() in hosts
    ]
    if not people:
        raise DeniedError(
            "no name in the client certificate has a role here",
            code="person.unknown",
            hint="the owner of the service names people under [admin.roles] in its configuration,"
            " by a subjectAltName of their certificates",
        )
    if len(people) > 1:
        raise DeniedError(
            "the client certificate has the names of several people", code="person.ambiguous"
        )
    return people[0]


def check(operation: str, person: Person) -> None:
    """Raise DeniedError unless this person's role may do this."""
    if person.role not in OPERATIONS[operation]:
        allowed = " or ".join(role for role in Role if role in OPERATIONS[operation])
        raise DeniedError(
            f"{person.name} is {person.role}, and {operation} is for {allowed}", code="role"
        )


def check_query(query: RecordsQuery, person: Person) -> None:
    """Raise DeniedError where an operator asks for more than what became of some evidence."""
    if person.role is not Role.OPERATOR:
        return
    asked = {name for name in query.model_fields_set if getattr(query, name) is not None}
    if "evidence" not in asked or asked - {"evidence", "after", "limit", "newest_first"}:
        raise DeniedError(
            "an operator finds records by `evidence` alone",
            code="role.evidence-only",
            hint="the enclave's log has the SHA-256 of its quote",
        )


def _names(certificate: x509.Certificate) -> tuple[set[str], set[str]]:
    """DNS names, whose letters have no case, and e-mail addresses and URIs, whose letters have."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set(), set()
    hosts = {name.lower() for name in found.get_values_for_type(x509.DNSName)}
    return hosts, {
        *found.get_values_for_type(x509.RFC822Name),
        *found.get_values_for_type(x509.UniformResourceIdentifier),
    }
