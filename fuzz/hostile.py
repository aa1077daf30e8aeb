"""Inputs that are built to be dear, each as large as its parser lets it be.

A fuzzer that grows its inputs byte by byte does not reach these in a minute. Each is what somebody
would send who has read the parser: structures as small as the format allows and as many of them as
fit, nesting without end, text that a pattern almost matches, one value as long as everything.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from fuzz.seeds import KEY, NOW
from sealserve.endorsements import der
from sealserve.endorsements.chain import CHAIN_LIMIT
from sealserve.endorsements.collateral import ONE_FILE_LIMIT, PART_LIMIT
from sealserve.endorsements.crl import CRL_LIMIT
from sealserve.endorsements.signed_json import SIGNED_JSON_LIMIT
from sealserve.evidence.certificate import MAX_CERTIFICATE_BYTES
from sealserve.evidence.quote import MAX_QUOTE_BYTES

Inputs = Mapping[str, bytes]

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
_DER_OF_A_CHAIN = CHAIN_LIMIT * 3 // 4 - 1024  # base64 takes the quarter
_UTC_TIME = der.encode(0x17, b"260101000000Z")


def filled(unit: bytes, limit: int, start: bytes = b"", end: bytes = b"") -> bytes:
    """`unit` as often as it fits between `start` and `end`."""
    return start + unit * ((limit - len(start) - len(end)) // len(unit)) + end


def quotes(sound: bytes) -> Inputs:
    """A sound quote that is padded, and headers that announce more than is there."""
    return {
        "padded": sound.ljust(MAX_QUOTE_BYTES, b"\0"),
        "too long": bytes(MAX_QUOTE_BYTES + 1),
        "announces 4 GiB": sound[:432] + b"\xff" * (MAX_QUOTE_BYTES - 432),
    }


def chains() -> Inputs:
    """PEM that ends nowhere, and certificates that are mostly one thing."""
    return {
        "beginnings": filled(_BEGIN, CHAIN_LIMIT),
        "blanks": filled(b"\n", CHAIN_LIMIT, _BEGIN),
        "one letter a line": filled(b"A\n", CHAIN_LIMIT, _BEGIN, _END),
        "blanks around": filled(b" ", CHAIN_LIMIT, b"", _BEGIN),
        **{name: pem(certificate) for name, certificate in certificates(_DER_OF_A_CHAIN).items()},
    }


def pem(certificate: bytes) -> bytes:
    """One certificate."""
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)


def certificates(limit: int = _DER_OF_A_CHAIN) -> Inputs:
    """Signed by their own key, and as many as fit of what a certificate may list."""
    room = limit - 512
    names = [x509.DNSName("a")] * (room // 3)
    address = x509.UniformResourceIdentifier("a")
    point = x509.DistributionPoint([address], None, None, None)
    policy = x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)
    usages = [x509.ObjectIdentifier("1.2.3")] * (room // 4)
    unknown = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
    extensions: dict[str, x509.ExtensionType] = {
        "alternative names": x509.SubjectAlternativeName(names),
        "distribution points": x509.CRLDistributionPoints([point] * (room // 9)),
        "policies": x509.CertificatePolicies([policy] * (room // 6)),
        "usages": x509.ExtendedKeyUsage(usages),
        "an unknown extension": x509.UnrecognizedExtension(unknown, bytes(room)),
    }
    return {
        **{name: _certificate(_name(1), [value]) for name, value in extensions.items()},
        "parts of a name": _certificate(_name(room // 26), []),
        "extensions": _certificate(_name(1), list(_numbered(room // 11))),
    }


def _numbered(count: int) -> list[x509.ExtensionType]:
    oids = (x509.ObjectIdentifier(f"1.2.{n // 128}.{n % 128}") for n in range(count))
    return [x509.UnrecognizedExtension(oid, b"") for oid in oids]


def _name(parts: int) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "a")] * parts)


def _certificate(name: x509.Name, extensions: list[x509.ExtensionType]) -> bytes:
    builder = x509.CertificateBuilder(
        name, name, KEY.public_key(), 1, NOW - timedelta(1), NOW + timedelta(1)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def ratls(limit: int = MAX_CERTIFICATE_BYTES) -> Inputs:
    """The same as certificates, and PEM that is many or none."""
    return {
        **certificates(limit),
        "beginnings": filled(_BEGIN, limit),
        "blanks": filled(b"\n", limit, _BEGIN),
    }


def pck_extensions() -> Inputs:
    """DER of as many elements as fit a certificate."""
    return {
        "empty entries": der.encode(der.SEQUENCE, filled(b"\x30\x00", _DER_OF_A_CHAIN)),
        "one long entry": der.encode(der.SEQUENCE, bytes(_DER_OF_A_CHAIN)),
        "nested": _nested(_DER_OF_A_CHAIN),
    }


def _nested(limit: int) -> bytes:
    content = b""
    while len(content) < limit:
        content = der.encode(der.SEQUENCE, content)
    return content


def crls() -> Inputs:
    """As many entries as fit, and text that is almost hex or PEM."""
    begin = b"-----BEGIN X509 CRL-----"
    return {
        "entries": _crl(PART_LIMIT),
        "names of its issuer": _crl_of_names(CRL_LIMIT),
        "entries as hex": _crl(PART_LIMIT // 2).hex().encode(),
        "almost hex": filled(b"ab", PART_LIMIT, b"", b"?"),
        "blanks": filled(b" ", PART_LIMIT, b"", b"?"),
        "hex and blanks": filled(b" ", PART_LIMIT, b"ab", b"?"),
        "PEM without end": filled(b"A", PART_LIMIT, begin),
        "PEM of blanks": filled(b" ", PART_LIMIT, begin),
    }


def _crl(limit: int) -> bytes:
    """A CRL of the smallest entries; its signature is another's, and its reader does not look."""
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(KEY.public_key())
    signed = (
        x509.CertificateRevocationListBuilder(_name(1), NOW, NOW + timedelta(1))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(issuer, critical=False)
        .sign(KEY, hashes.SHA256())
    )
    listed, *signature = der.decode_all(der.decode(signed.public_bytes(Encoding.DER), der.SEQUENCE))
    *before, extensions = der.decode_all(listed[1])
    room = (limit - 512) // len(_entry(0))
    entries = (der.SEQUENCE, b"".join(map(_entry, range(room))))
    content = _joined([*before, entries, extensions])
    return der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, content), _joined(signature))


def _crl_of_names(limit: int) -> bytes:
    """A CRL that says in as many words as fit who issued it."""
    names = [x509.DNSName("a")] * ((limit - 512) // 3)
    signed = (
        x509.CertificateRevocationListBuilder(_name(1), NOW, NOW + timedelta(1))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(None, names, 1), critical=False)
        .sign(KEY, hashes.SHA256())
    )
    return signed.public_bytes(Encoding.DER)


def _joined(elements: Iterable[der.Element]) -> bytes:
    return b"".join(der.encode(tag, content) for tag, content in elements)


def _entry(number: int) -> bytes:
    serial = der.encode(der.INTEGER, (0x400000 + number).to_bytes(3, "big"))
    return der.encode(der.SEQUENCE, serial, _UTC_TIME)


def json(limit: int, start: bytes, end: bytes) -> Inputs:
    """Values between `start` and `end` that are dearer to hold than to send."""
    units = {
        "arrays": b"[],",
        "objects": b"{},",
        "objects of one": b'{"":0},',
        "numbers": b"1,",
        "floats": b"1.5,",
        "characters": b'"\xc3\xa9",',
        "escapes": b'"\\u00e9",',
    }
    wide = {name: filled(unit, limit, start + b"[", b"0]" + end) for name, unit in units.items()}
    return {
        **wide,
        "nested arrays": filled(b"[", limit, start),
        "nested objects": filled(b'{"":', limit, start),
        "closing": filled(b"}", limit, start),
        "blanks": filled(b" ", limit, start),
        "one number": filled(b"9", limit, start, end),
        "one text": filled(b"a", limit, start + b'"', b'"' + end),
        "one text of escapes": filled(b"\\u0041", limit, start + b'"', b'"' + end),
        "names": _names(limit, start, end),
        "half a surrogate pair": start + b'"\\ud800"' + end,
    }


def _names(limit: int, start: bytes, end: bytes) -> bytes:
    members = b",".join(b'"%x":0' % n for n in range((limit - len(start) - len(end)) // 10))
    return start + b"{" + members + b"}" + end


def signed_json() -> Inputs:
    """Bodies around a statement; nobody has signed them."""
    start, end = b'{"tcbInfo":{"a":', b'},"signature":"' + b"0" * 128 + b'"}'
    return {
        **json(SIGNED_JSON_LIMIT, start, end),
        "almost ends": filled(b'},"signature":"', SIGNED_JSON_LIMIT, start),
        "blanks between": filled(b" ", SIGNED_JSON_LIMIT, start + b"0}", b","),
        "braces and blanks": filled(b"} , ", SIGNED_JSON_LIMIT, start),
    }


def statements() -> Inputs:
    """The statement alone."""
    return json(SIGNED_JSON_LIMIT, b'{"tcbLevels":', b"}")


def one_file(sound: bytes) -> Inputs:
    """The one-file form of collateral, with what it should not have."""
    return {
        **json(ONE_FILE_LIMIT, b'{"tcb_info":', b"}"),
        "one part": filled(b"a", ONE_FILE_LIMIT, b'{"tcb_info":"', b'"}'),
        "a part with half a surrogate pair": sound.replace(b': "', b': "\\ud800', 1),
    }


def token(limit: int) -> Inputs:
    """A token whose header is one of the dear texts of JSON, and dots."""
    headers = json(limit // 2, b'{"a":', b"}")
    return {
        "dots": b"." * limit,
        "letters": b"a" * limit,
        **{
            name: base64.urlsafe_b64encode(text).rstrip(b"=") + b".e30.AA"
            for name, text in headers.items()
        },
    }


def cbor(limit: int = MAX_CERTIFICATE_BYTES) -> Inputs:
    """Arrays and maps of the smallest items, and lengths that nothing follows."""
    count = limit - 3
    return {
        "zeros": b"\x99" + count.to_bytes(2, "big") + bytes(count),
        "empty arrays": b"\x99" + count.to_bytes(2, "big") + b"\x80" * count,
        "nested arrays": b"\x81" * limit,
        "tags": b"\xc1" * limit,
        "a map": _cbor_map(limit),
        "announces 2^64 items": b"\x9b" + b"\xff" * 8 + bytes(limit - 9),
        "announces 2^64 bytes": b"\x5b" + b"\xff" * 8 + bytes(limit - 9),
    }


def _cbor_map(limit: int) -> bytes:
    count = (limit - 3) // 4
    entries = b"".join(b"\x19" + n.to_bytes(2, "big") + b"\0" for n in range(256, 256 + count))
    return b"\xb9" + count.to_bytes(2, "big") + entries


def toml(limit: int) -> Inputs:
    """Nesting and repetition as TOML spells them."""
    return {
        "nested arrays": filled(b"[", limit, b"a="),
        "nested tables": filled(b"{a=", limit, b"a="),
        "dotted": filled(b"a.", limit, b"", b"a=1"),
        "dotted header": filled(b"a.", limit, b"[", b"a]"),
        "tables": filled(b"[[a]]\n", limit),
        "numbers": filled(b"1,", limit, b"a=[", b"]"),
        "one number": filled(b"1", limit, b"a="),
        "one text": filled(b"a", limit, b'a="', b'"'),
        "blanks": filled(b" ", limit),
        "blank lines": filled(b"\n", limit),
    }


def none() -> Inputs:
    """For what is read as a stream, or has one size only."""
    return {}


def of_size(limit: int) -> Callable[[], Inputs]:
    """Zeros as long as may be."""
    return lambda: {"zeros": bytes(limit)}
