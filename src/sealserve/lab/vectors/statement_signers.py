"""Cases of who signed TCB info and the QE identity, and whether it was these very bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cryptography import x509

from sealserve.endorsements.signed_json import split
from sealserve.lab.statements import raw_signature, signed_body
from sealserve.lab.vectors.case import EXTRA_CERTIFICATE, PROFILE, ROOT_BY_NAME, Case
from sealserve.lab.vectors.original import (
    STATEMENT_NAMES,
    STATEMENT_WORDS,
    Original,
    Statement,
    statement_case,
)
from sealserve.lab.vectors.reissuing import Difference, key_usage, reissue
from sealserve.verifier import Code

_GROUP = "statements"
_CHAIN_CODES: dict[Statement, Code] = {
    "tcb_info": Code.TCB_CHAIN,
    "qe_identity": Code.QE_IDENTITY_CHAIN,
}
_CHAIN_LATITUDES = {
    "without-root": ROOT_BY_NAME,
    "strange-root": ROOT_BY_NAME,
    "with-pck-ca": EXTRA_CERTIFICATE,
}


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote."""
    for part in STATEMENT_NAMES:
        yield from _signers(original, part)
        yield from _chains(original, part)
        yield from _signatures(original, part)


def _signers(original: Original, part: Statement) -> Iterator[Case]:
    """Well signed, by a certificate under the same root whose role that is not."""
    ours = original.authorities
    signed = split(getattr(original.collateral, part), STATEMENT_NAMES[part]).signed
    mute = reissue(
        ours.tcb_signer,
        ours.root_ca,
        Difference(extensions={x509.KeyUsage: key_usage("key_agreement")}),
    )
    renamed = reissue(ours.tcb_signer, ours.root_ca, Difference(common_name="TCB Signing"))
    root = ours.root_ca.certificate_pem
    for name, who, signer, chain in (
        ("pck", "the platform's PCK", ours.pck, ours.pck_chain),
        ("pck-ca", "the PCK's CA", ours.platform_ca, ours.platform_chain),
        ("root", "the root CA itself", ours.root_ca, root),
        ("mute", "a signer who may not sign", mute, mute.certificate_pem + root),
        ("renamed", "a signer of another name", renamed, renamed.certificate_pem + root),
        (
            "stranger",
            "another world's",
            original.stranger.authorities.tcb_signer,
            original.stranger.authorities.tcb_chain,
        ),
    ):
        evidence = original.resigned(part, signed, signer)
        evidence = evidence.with_collateral(**{f"{part}_issuer_chain": chain})
        yield original.reject(
            _GROUP,
            statement_case(part, f"signed-by-{name}"),
            f"{STATEMENT_WORDS[part]} is signed by {who}.",
            _CHAIN_CODES[part],
            evidence,
            PROFILE if name == "mute" else None,
        )


def _chains(original: Original, part: Statement) -> Iterator[Case]:
    ours, theirs = original.authorities, original.stranger.authorities
    signer, root = ours.tcb_signer.certificate_pem, ours.root_ca.certificate_pem
    strange = reissue(ours.tcb_signer, theirs.root_ca, Difference()).certificate_pem
    for name, change, chain in (
        ("missing", "is missing", b""),
        ("no-pem", "is not PEM", b"chain"),
        ("without-root", "lacks the root CA", signer),
        ("without-signer", "is the root CA alone", root),
        ("with-pck-ca", "has the PCK's CA in its midst", signer + ours.platform_chain),
        ("strange-signer", "has a signer whom another world's root certified", strange + root),
        ("strange-root", "ends in another world's root", signer + theirs.root_ca.certificate_pem),
    ):
        yield original.reject(
            _GROUP,
            statement_case(part, f"chain-{name}"),
            f"The chain of the signer of {STATEMENT_WORDS[part].removeprefix('The ')} {change}.",
            _CHAIN_CODES[part],
            original.evidence.with_collateral(**{f"{part}_issuer_chain": chain}),
            _CHAIN_LATITUDES.get(name),
        )


def _signatures(original: Original, part: Statement) -> Iterator[Case]:
    body = getattr(original.collateral, part)
    name = STATEMENT_NAMES[part]
    received = split(body, name)
    number = b'"tcbEvaluationDataNumber":'
    one_more = received.signed.replace(number + b"17", number + b"18")
    reordered = json.dumps(json.loads(received.signed), sort_keys=True, separators=(",", ":"))
    stranger = raw_signature(original.stranger.authorities.tcb_signer.key, received.signed)
    changed = bytearray(received.signature)
    changed[-1] ^= 1
    for case, change, signed, signature in (
        ("number-changed", "one number changed after it was signed", one_more, received.signature),
        (
            "space-added",
            "a space more than was signed",
            received.signed.replace(b":", b": ", 1),
            received.signature,
        ),
        (
            "reordered",
            "its members in another order than was signed",
            reordered.encode(),
            received.signature,
        ),
        ("signature-last-bit", "one bit of its signature flipped", received.signed, bytes(changed)),
        ("signature-zero", "a signature of zeros", received.signed, bytes(64)),
        ("signature-strange", "the signature of another world's signer", received.signed, stranger),
    ):
        yield original.reject(
            _GROUP,
            statement_case(part, case),
            f"{STATEMENT_WORDS[part]} has {change}.",
            Code[f"{part.upper()}_SIGNATURE"],
            original.evidence.with_collateral(**{part: signed_body(name, signed, signature)}),
        )
