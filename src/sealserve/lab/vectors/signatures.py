"""Cases of the two signatures in a quote, of every field that they cover, and of the binding.

Three links hold a quote together: the PCK signed the quoting enclave's report, that report vouches
for the attestation key, and the attestation key signed header and body.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sealserve.evidence.quote import serialize_quote
from sealserve.lab import pki
from sealserve.lab.quoting_enclave import binding
from sealserve.lab.statements import raw_signature
from sealserve.lab.vectors.case import Case
from sealserve.lab.vectors.original import Original, flipped, with_each_field_changed
from sealserve.verifier import Code

_GROUP = "signatures"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256


def quote_cases(original: Original) -> Iterator[Case]:
    """Of one form of quote: its own signature."""
    yield from _quote_signature(original)
    yield from _signed_fields(original)
    yield _strangers_key(original)


def qe_report_cases(original: Original) -> Iterator[Case]:
    """Of one form of quote: the quoting enclave's report, and what it vouches for."""
    yield from _qe_report_signature(original)
    yield from _binding(original)
    yield _no_point(original)


def _quote_signature(original: Original) -> Iterator[Case]:
    code = Code.QUOTE_SIGNATURE
    for name, change, signature in _broken("the quote's", original.quote.signature):
        evidence = original.with_unsigned(signature=signature)
        yield original.reject(_GROUP, f"quote-signature-{name}", change, code, evidence)
    signed = original.quote.signed_bytes
    for name, who, key in (
        ("another-key", "another world's attestation key", original.stranger.attestation_key),
        ("the-pck", "the PCK", original.authorities.pck.key),
    ):
        evidence = original.with_unsigned(signature=raw_signature(key, signed))
        change = f"The quote is signed by {who}."
        yield original.reject(_GROUP, f"quote-signature-by-{name}", change, code, evidence)
    evidence = original.with_unsigned(
        signature=raw_signature(original.world.attestation_key, original.quote.body.serialize())
    )
    change = "The attestation key signed the body without the header before it."
    yield original.reject(_GROUP, "quote-signature-of-body-alone", change, code, evidence)


def _signed_fields(original: Original) -> Iterator[Case]:
    """Every field of header and body that may hold any value."""
    quote = original.quote
    header = {name: getattr(quote, name) ^ 1 for name in ("qe_svn", "pce_svn")}
    header["user_data"] = flipped(quote.user_data, 0)
    changes = {
        name: ("header", original.with_unsigned(**{name: new})) for name, new in header.items()
    }
    for name, body in with_each_field_changed(quote.body):
        changes[name] = ("body", original.with_unsigned(body=body))
    for name, (part, evidence) in changes.items():
        yield original.reject(
            _GROUP,
            f"{part}-{_words(name, '-')}",
            f"The {_words(name)} in the quote's {part} was changed after it was signed.",
            Code.QUOTE_SIGNATURE,
            evidence,
        )


def _qe_report_signature(original: Original) -> Iterator[Case]:
    code = Code.QE_REPORT_SIGNATURE
    quote = original.quote
    for name, change, signature in _broken(
        "the quoting enclave's report's", quote.qe_report_signature
    ):
        evidence = original.with_unsigned(qe_report_signature=signature)
        yield original.reject(_GROUP, f"qe-report-signature-{name}", change, code, evidence)
    authorities = original.authorities
    for name, who, key in (
        ("another-pck", "another world's PCK", original.stranger.authorities.pck.key),
        ("the-attestation-key", "the attestation key", original.world.attestation_key),
        ("the-pck-ca", "the CA of the PCK", authorities.platform_ca.key),
    ):
        signature = raw_signature(key, quote.qe_report.serialize())
        evidence = original.with_unsigned(qe_report_signature=signature)
        change = f"The quoting enclave's report is signed by {who}."
        yield original.reject(_GROUP, f"qe-report-signature-by-{name}", change, code, evidence)
    for name, report in with_each_field_changed(quote.qe_report):
        yield original.reject(
            _GROUP,
            f"qe-report-{_words(name, '-')}",
            f"The {_words(name)} of the quoting enclave's report was changed after the PCK signed "
            "it.",
            code,
            original.with_unsigned(qe_report=report),
        )


def _binding(original: Original) -> Iterator[Case]:
    code = Code.QE_REPORT_DATA
    quote, data = original.quote, original.quote.qe_auth_data
    for name, change, auth_data in (
        (
            "first-byte",
            "The first byte of the QE authentication data was changed.",
            flipped(data, 0),
        ),
        (
            "last-byte",
            "The last byte of the QE authentication data was changed.",
            flipped(data, -1),
        ),
        ("longer", "The QE authentication data has a zero more at its end.", data + b"\0"),
        ("shorter", "The QE authentication data lacks its last byte.", data[:-1]),
        ("none", "The QE authentication data is gone.", b""),
    ):
        evidence = original.with_unsigned(qe_auth_data=auth_data)
        yield original.reject(_GROUP, f"authentication-data-{name}", change, code, evidence)
    bound = quote.qe_report.report_data
    for name, change, report_data in (
        ("no-hash", "The quoting enclave's report vouches for nothing.", bytes(64)),
        (
            "last-byte",
            "The last byte after the hash in the quoting enclave's report data is not zero.",
            flipped(bound, -1),
        ),
        (
            "reversed",
            "The hash in the quoting enclave's report data stands backwards.",
            bound[31::-1] + bytes(32),
        ),
        (
            "of-key-alone",
            "The quoting enclave's report vouches for the key without the authentication data.",
            binding(quote.attestation_key, b""),
        ),
    ):
        evidence = original.with_qe_report(report_data=report_data)
        yield original.reject(_GROUP, f"binding-{name}", change, code, evidence)


def _strangers_key(original: Original) -> Case:
    """A key of one's own signs a quote as one likes; only the binding stands against it."""
    key = original.stranger.attestation_key
    quote = replace(original.quote, attestation_key=pki.public_point(key))
    signature = raw_signature(key, quote.signed_bytes)
    return original.reject(
        _GROUP,
        "attestation-key-unbound",
        "Another key signed the quote and stands in it; the quoting enclave vouches for the old.",
        Code.QE_REPORT_DATA,
        original.with_bytes(serialize_quote(replace(quote, signature=signature))),
    )


def _no_point(original: Original) -> Case:
    """The quoting enclave's report vouches for it, and still it is no key."""
    point = b"\x01" * 64
    report = replace(
        original.quote.qe_report, report_data=binding(point, original.quote.qe_auth_data)
    )
    return original.reject(
        _GROUP,
        "attestation-key-no-point",
        "The attestation key is no point of the curve.",
        Code.QUOTE_SIGNATURE,
        original.with_unsigned(
            attestation_key=point,
            qe_report=report,
            qe_report_signature=raw_signature(original.authorities.pck.key, report.serialize()),
        ),
    )


def _broken(whose: str, signature: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Signatures that are none, by name and sentence."""
    r, s = signature[:32], signature[32:]
    order = _ORDER.to_bytes(32, "big")
    yield "first-bit", f"The first bit of {whose} signature is flipped.", flipped(signature, 0, 7)
    yield "last-bit", f"The last bit of {whose} signature is flipped.", flipped(signature, -1)
    yield "zero", f"{whose.capitalize()} signature is zero.", bytes(64)
    yield "r-zero", f"The r of {whose} signature is zero.", bytes(32) + s
    yield "s-zero", f"The s of {whose} signature is zero.", r + bytes(32)
    yield "r-order", f"The r of {whose} signature is the order of the curve.", order + s
    yield "swapped", f"The r and s of {whose} signature have changed places.", s + r
    little = r[::-1] + s[::-1]
    yield "little-endian", f"The r and s of {whose} signature are little-endian.", little


def _words(name: str, separator: str = " ") -> str:
    return name.replace("_", separator)
