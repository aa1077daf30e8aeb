"""Which kind of evidence some bytes are, by how they begin. Nothing is parsed here."""

from __future__ import annotations

from enum import Enum
from typing import Final

from sealserve.errors import FormatError
from sealserve.evidence.sigstruct import SIGSTRUCT_HEADER

_PEM: Final = b"-----BEGIN CERTIFICATE-----"
_DER_SEQUENCE: Final = b"\x30"
_HIGHEST_VERSION: Final = 0xFF  # far beyond any quote version, and below two letters of text


class Kind(Enum):
    """What `sealserve evidence show` can show."""

    QUOTE = "quote"
    CERTIFICATE = "ra-tls-certificate"
    SIGSTRUCT = "sigstruct"


def detect(data: bytes) -> Kind:
    """The kind that `data` claims to be; raises FormatError (`evidence.unknown`)."""
    if data.startswith(SIGSTRUCT_HEADER):
        return Kind.SIGSTRUCT
    if data.startswith(_DER_SEQUENCE):
        return Kind.CERTIFICATE
    if len(data) >= 2 and 0 < int.from_bytes(data[:2], "little") <= _HIGHEST_VERSION:
        return Kind.QUOTE
    if _PEM in data:  # asked last: a quote has PEM inside
        return Kind.CERTIFICATE
    raise FormatError(
        f"the input begins with {data[:8].hex() or 'nothing'}: neither a quote, an X.509 "
        "certificate nor a SIGSTRUCT",
        code="evidence.unknown",
        hint="quotes and SIGSTRUCTs are binary files; certificates may be DER or PEM",
    )
