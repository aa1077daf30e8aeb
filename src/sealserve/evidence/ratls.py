"""RA-TLS: a self-signed X.509 certificate that carries a quote over its own public key.

Two styles exist, and Gramine 1.9 writes both into one certificate, each with a quote of its own:

- `dice`: extension 2.23.133.5.4.9 (TCG DICE tagged evidence), CBOR tag 60000 over
  `[quote, claims]`; the claims hold a digest of the public key, the quote's report data is
  SHA-256(claims) and 32 zero bytes;
- `legacy`: the value is the bare quote; its report data is SHA-256(public key) and 32 zero bytes.
  Gramine and Graphene write the OID 1.2.840.113741.1337.6 with its own tag and length inside, so
  that on the wire it is 0.6.9.42.840.113741.1337.6; both spellings are read.

Where the standard extension is present it alone counts: if it is wrong the certificate is refused,
the legacy one is never a fallback. The public key is hashed as its DER SubjectPublicKeyInfo.

Nothing here shows that a quote is genuine. A caller must (1) take the evidence with
`extract_evidence`, (2) verify the quote, (3) call `check_binding` with the report data of the
*verified* quote, and (4) know that the peer holds the key, which TLS shows. The validity dates in
such a certificate are self-declared and not looked at.

Source: Gramine's documentation, "Attestation and Secret Provisioning"; Confidential Computing
Consortium, "Interoperable RA-TLS"; TCG DICE Attestation Architecture, tagged evidence extension.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cryptography.x509 import ObjectIdentifier

from sealserve.errors import BindingError, FormatError
from sealserve.evidence import cbor
from sealserve.evidence.certificate import SelfSigned, read_of_peer, read_self_signed
from sealserve.evidence.certificate import spki_der as spki_der

MAX_RATLS_QUOTE_BYTES: Final = 8192  # Gramine's SGX_QUOTE_MAX_SIZE; a TD's quote has some 5000

MALFORMED_LEGACY_OID: Final = ObjectIdentifier("0.6.9.42.840.113741.1337.6")
"""What Gramine writes; `cryptography` encodes it to the very bytes of Gramine's certificates."""
PROPER_LEGACY_OID: Final = ObjectIdentifier("1.2.840.113741.1337.6")
LEGACY_OIDS: Final = (MALFORMED_LEGACY_OID, PROPER_LEGACY_OID)
DICE_OID: Final = ObjectIdentifier("2.23.133.5.4.9")

DICE_TAG: Final = 60000
PUBLIC_KEY_CLAIM: Final = "pubkey-hash"
HASH_SHA256: Final = 1  # IANA "Named Information Hash Algorithm Registry"
_HASHES: Final = {HASH_SHA256: hashlib.sha256, 7: hashlib.sha384, 8: hashlib.sha512}

Style: TypeAlias = Literal["dice", "legacy"]


@dataclass(frozen=True, slots=True)
class RatlsEvidence:
    """The evidence of one certificate, not yet verified."""

    quote: bytes
    style: Style
    oid: str
    """The extension that the quote comes from, dotted."""
    spki: bytes
    """The certificate's public key, DER SubjectPublicKeyInfo."""
    bound: bytes
    """64 bytes: the report data that a quote for this key must have."""
    claims: bytes = b""
    """The CBOR claims as they stand (`dice`), or nothing (`legacy`)."""
    present: tuple[str, ...] = ()
    """Every extension of the certificate that holds evidence, dotted; only `oid` counts."""


def extract_evidence(certificate: bytes) -> RatlsEvidence:
    """The evidence in an RA-TLS certificate, DER or PEM, of at most 32 KiB.

    Checks the certificate's own signature and, in the `dice` style, that the claims name its key.
    Raises what `read_self_signed` raises; FormatError (`ratls.duplicate-extension`,
    `ratls.no-evidence`, `ratls.evidence`, `ratls.quote-size`, `cbor.*`); BindingError
    (`binding.public-key`).
    """
    return _evidence_in(read_self_signed(certificate))


def evidence_of_peer(certificate: bytes) -> RatlsEvidence:
    """The evidence in the certificate (DER) that the other end of a TLS session has shown.

    TLS has checked that the peer signed it. Raises as `extract_evidence`, but for
    `binding.self-signature`.
    """
    return _evidence_in(read_of_peer(certificate))


def _evidence_in(parsed: SelfSigned) -> RatlsEvidence:
    spki = parsed.spki
    extensions = {
        oid: value for oid, value in parsed.extensions.items() if oid in (DICE_OID, *LEGACY_OIDS)
    }
    if DICE_OID in extensions:
        quote, claims = _read_dice(extensions[DICE_OID])
        _check_claims(claims, spki)
        style: Style = "dice"
        oid, bound = DICE_OID, dice_report_data(claims)
    else:
        style, claims = "legacy", b""
        oid, quote = _only_legacy(extensions)
        bound = legacy_report_data(spki)
    _check_quote_size(quote)
    present = tuple(sorted(found.dotted_string for found in extensions))
    return RatlsEvidence(quote, style, oid.dotted_string, spki, bound, claims, present)


def check_binding(evidence: RatlsEvidence, report_data: bytes) -> None:
    """Raise BindingError (`binding.report-data`) unless a quote's report data binds the key.

    `report_data` is the 64 bytes of the quote in `evidence`, after the quote was verified.
    """
    if report_data != evidence.bound:
        raise BindingError(
            f"the quote's report data is {report_data.hex()}, but the certificate's key needs "
            f"{evidence.bound.hex()}",
            code="binding.report-data",
            hint="the quote was made for another key: do not trust this peer",
        )


def legacy_report_data(spki: bytes) -> bytes:
    """The 64 bytes of report data that bind a key in the `legacy` style."""
    return hashlib.sha256(spki).digest() + bytes(32)


def dice_claims(spki: bytes, extra: Mapping[str, bytes] | None = None) -> bytes:
    """CBOR claims that name a key by its SHA-256, with further claims (a nonce, say) beside it."""
    digest = cbor.encode([HASH_SHA256, hashlib.sha256(spki).digest()])
    claims: dict[int | str, cbor.CborValue] = {PUBLIC_KEY_CLAIM: digest}
    for name, value in (extra or {}).items():
        if name in claims:
            raise FormatError(f"the claim {name!r} cannot be given", code="ratls.evidence")
        claims[name] = value
    return cbor.encode(claims)


def dice_report_data(claims: bytes) -> bytes:
    """The 64 bytes of report data that bind claims in the `dice` style."""
    return hashlib.sha256(claims).digest() + bytes(32)


def dice_extension(quote: bytes, claims: bytes) -> bytes:
    """The value of the extension `DICE_OID`."""
    _check_quote_size(quote)
    return cbor.encode(cbor.Tagged(DICE_TAG, [quote, claims]))


def _only_legacy(extensions: Mapping[ObjectIdentifier, bytes]) -> tuple[ObjectIdentifier, bytes]:
    if len(extensions) > 1:
        raise FormatError(
            "the certificate has the legacy quote under both spellings of its OID",
            code="ratls.duplicate-extension",
        )
    for oid, value in extensions.items():
        return oid, value
    raise FormatError(
        "the certificate carries no attestation evidence",
        code="ratls.no-evidence",
        hint="an RA-TLS certificate has extension 2.23.133.5.4.9 or 1.2.840.113741.1337.6",
    )


def _read_dice(value: bytes) -> tuple[bytes, bytes]:
    match cbor.decode(value):
        case cbor.Tagged(tag, [bytes() as quote, bytes() as claims]) if tag == DICE_TAG:
            return quote, claims
        case _:
            raise FormatError(
                f"the DICE evidence is not CBOR tag {DICE_TAG} over [quote, claims]",
                code="ratls.evidence",
            )


def _check_claims(claims: bytes, spki: bytes) -> None:
    """The claims name the certificate's key by a digest that we know."""
    decoded = cbor.decode(claims)
    entry = decoded.get(PUBLIC_KEY_CLAIM) if isinstance(decoded, dict) else None
    match cbor.decode(entry) if isinstance(entry, bytes) else None:
        case [int() as name, bytes() as digest] if name in _HASHES and name is not True:
            pass
        case _:
            raise FormatError(
                f"the DICE claims hold no {PUBLIC_KEY_CLAIM!r} with SHA-256, SHA-384 or SHA-512",
                code="ratls.evidence",
            )
    if digest != _HASHES[name](spki).digest():
        raise BindingError(
            "the DICE claims name another public key than the certificate's",
            code="binding.public-key",
            hint="the evidence was made for another key: do not trust this peer",
        )


def _check_quote_size(quote: bytes) -> None:
    if not 0 < len(quote) <= MAX_RATLS_QUOTE_BYTES:
        raise FormatError(
            f"the quote is {len(quote)} bytes, expected 1 to {MAX_RATLS_QUOTE_BYTES}",
            code="ratls.quote-size",
        )
