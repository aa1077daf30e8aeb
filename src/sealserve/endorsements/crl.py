"""Certificate revocation lists, read strictly into values.

Signature, issuer and dates are the verifier's to judge. Source: RFC 5280 section 5; Intel SGX PCK
Certificate and Certificate Revocation List Profile Specification, section 3.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from sealserve.endorsements import der
from sealserve.endorsements.chain import X509_ERRORS, check_algorithm, common_names
from sealserve.errors import FormatError

CRL_LIMIT = 256 << 10  # bytes of DER, some ten thousand entries; Intel's largest of today has 4 KB

_EXTENSIONS_LIMIT = 4096  # bytes; Intel's have about 50
_EXTENSIONS = 0xA0  # the tag of a CRL's extensions: [0], constructed

_PEM = re.compile(rb"\s*+-----BEGIN X509 CRL-----([^-]++)-----END X509 CRL-----\s*+", re.DOTALL)
_HEX = re.compile(rb"\s*+([0-9A-Fa-f]++)\s*+")
# Profile: CRL number and authority key identifier, neither critical. A critical extension, such as
# the mark of a delta CRL, changes what the list means, and we would not know how.
_REQUIRED = (x509.CRLNumber, x509.AuthorityKeyIdentifier)


@dataclass(frozen=True, slots=True)
class Crl:
    """A CRL: who issued it, from when to when it speaks, and which serial numbers it names."""

    parsed: x509.CertificateRevocationList = field(repr=False)
    signed: bytes = field(repr=False)
    """The part that its signature is over."""
    issuer: bytes
    """The content of the DER Name."""
    this_update: datetime
    next_update: datetime

    def names(self, serial_number: int) -> bool:
        """Whether it names this serial number; raises FormatError where an entry is malformed."""
        try:
            return self.parsed.get_revoked_certificate_by_serial_number(serial_number) is not None
        except X509_ERRORS as error:
            raise FormatError(f"the CRL cannot be read: {error}") from error


def to_der(data: bytes) -> bytes:
    """DER of a CRL that came as DER, PEM or hex of DER; anything else comes back as it is."""
    try:
        if pem := _PEM.fullmatch(data):
            return base64.b64decode(b"".join(pem[1].split()), validate=True)
        if text := _HEX.fullmatch(data):
            return binascii.unhexlify(text[1])
    except binascii.Error:
        return data
    return data


def parse_crl(data: bytes) -> Crl:
    """The CRL in `data` (DER, at most 256 KiB); raises FormatError.

    Two limits keep a list that nobody signed from costing more than a moment: its own, and the one
    of its extensions, which `cryptography` turns into objects name by name.
    """
    if len(data) > CRL_LIMIT:
        raise FormatError(f"the CRL has {len(data)} bytes, at most {CRL_LIMIT} are read")
    try:
        crl = x509.load_der_x509_crl(data)
        check_algorithm(crl.signature_algorithm_oid)
        signed = crl.tbs_certlist_bytes
        issuer = _issuer(signed)
        _check_extensions(crl)
        next_update = crl.next_update_utc
        if next_update is None:
            raise FormatError("the CRL has no nextUpdate: nobody could tell when it is too old")
        return Crl(crl, signed, issuer, crl.last_update_utc, next_update)
    except X509_ERRORS as error:
        raise FormatError(f"the CRL cannot be read: {error}") from error


def _issuer(signed: bytes) -> bytes:
    """Of a list of version 2, which alone has extensions (RFC 5280, section 5.1.2).

    Their size is looked at here, before anybody reads them.
    """
    version, _, issuer, *others = der.decode_all(der.decode(signed, der.SEQUENCE))
    if version[0] != der.INTEGER:
        raise FormatError("the CRL is not of version 2")
    for tag, content in others:
        if tag == _EXTENSIONS and len(content) > _EXTENSIONS_LIMIT:
            raise FormatError(
                f"the CRL's extensions have {len(content)} bytes, "
                f"at most {_EXTENSIONS_LIMIT} are read"
            )
    common_names(issuer[1])
    return issuer[1]


def _check_extensions(crl: x509.CertificateRevocationList) -> None:
    extensions = list(crl.extensions)
    kinds = {type(extension.value) for extension in extensions}
    for required in _REQUIRED:
        if required not in kinds:
            raise FormatError(f"the CRL has no {required.__name__} extension")
    for extension in extensions:
        if extension.critical:
            raise FormatError(f"the CRL has the critical extension {extension.oid.dotted_string}")
