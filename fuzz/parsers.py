"""The parsers as functions of bytes, with what must hold of what they accept.

What nobody reads before a signature was checked is put under a right one here, or a fuzzer would
never get behind it.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
from datetime import timedelta
from functools import cache
from itertools import pairwise

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding

from fuzz import seeds
from sealserve.appraisal import parse_policy
from sealserve.appraisal.ear import thumbprint
from sealserve.appraisal.ear_model import MEDIA_TYPE
from sealserve.appraisal.ear_reading import verify_result
from sealserve.attester.messages import FRAME, AnswerParser
from sealserve.attester.protocol import ResponseParser
from sealserve.deploy.gramine.lint import lint_manifest
from sealserve.endorsements import der
from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.crl import parse_crl, to_der
from sealserve.endorsements.signed_json import split
from sealserve.errors import FormatError, IntegrityError
from sealserve.evidence import cbor
from sealserve.evidence.kind import detect
from sealserve.evidence.quote import parse_quote, parse_quote_body, serialize_quote
from sealserve.evidence.ratls import DICE_OID, extract_evidence
from sealserve.evidence.report import SgxReport
from sealserve.evidence.sigstruct import check_signature, parse_sigstruct
from sealserve.evidence.td_report import TdReport
from sealserve.keyservice.named import NamedConversation
from sealserve.keyservice.protocol import RequestParser
from sealserve.keyservice.proxy import HeaderParser
from sealserve.policies.ra_config import parse_ra_config
from sealserve.sealing import unseal
from sealserve.sealing.header import MAGIC, derive_metadata_key
from sealserve.sealing.record import parse_record
from sealserve.transparency.checkpoint import LogVerifier, read_checkpoint
from sealserve.verifier import (
    TrustRoot,
    VerifiedCollateral,
    load_trust_root,
    verify_collateral,
    verify_quote,
)
from sealserve.verifier.maa import verify_token
from sealserve.verifier.maa_keys import KeySet, parse_keys
from sealserve.verifier.recorded import claims_from_dict

_METADATA_BYTES, _NODE_BYTES = 3884, 4096  # of a protected file, version 2


def quote(data: bytes) -> None:
    """What is accepted serialises to itself, and its kind is told before."""
    with contextlib.suppress(FormatError):
        detect(data)
        parse_quote_body(data)
    assert serialize_quote(parse_quote(data)) == data


def sgx_report(data: bytes) -> None:
    """What is accepted serialises to itself."""
    assert SgxReport.parse(data).serialize() == data


def td_report(data: bytes) -> None:
    """What is accepted serialises to itself."""
    assert TdReport.parse(data).serialize() == data


def dice_evidence(data: bytes) -> None:
    """The extension of a certificate whose own signature is right, or nobody would read it."""
    name = x509.Name([])
    certificate = x509.CertificateBuilder(
        name, name, seeds.KEY.public_key(), 1, seeds.NOW, seeds.NOW + timedelta(1)
    ).add_extension(x509.UnrecognizedExtension(DICE_OID, data), critical=False)
    extract_evidence(certificate.sign(seeds.KEY, hashes.SHA256()).public_bytes(Encoding.DER))


def accepted_cbor(data: bytes) -> None:
    """What is accepted encodes to itself."""
    assert cbor.encode(cbor.decode(data)) == data


def sigstruct(data: bytes) -> None:
    """Parsed, and its signature checked."""
    check_signature(parse_sigstruct(data))


def der_elements(data: bytes) -> None:
    """What is accepted encodes to itself."""
    elements = der.decode_all(data)
    assert b"".join(der.encode(tag, content) for tag, content in elements) == data


def protected_file(data: bytes) -> None:
    """As it comes, and with its first bytes as metadata under a right tag."""
    for file in (data, _with_authentic_metadata(data)):
        try:
            unseal(io.BytesIO(file), io.BytesIO(), seeds.WRAP_KEY)
        except IntegrityError:
            continue


def policy(data: bytes) -> None:
    """Bytes that are no UTF-8 are for the reader of files to refuse."""
    parse_policy(_text(data))


def provisioning_request(data: bytes) -> None:
    """In pieces of seven bytes."""
    parser = RequestParser()
    for piece in _pieces(data):
        parser.feed(piece)


def provisioning_answer(data: bytes) -> None:
    """In pieces of seven bytes."""
    parser = ResponseParser()
    for piece in _pieces(data):
        parser.feed(piece)


def named_request(data: bytes) -> None:
    """The JSON of a request: under its right length, in pieces of seven bytes."""
    conversation = NamedConversation()
    for piece in _pieces(FRAME.pack(len(data)) + data):
        conversation.feed(piece)


def named_answer(data: bytes) -> None:
    """The JSON of an answer, under its right length."""
    parser = AnswerParser(seeds.NAMES)
    parser.feed(FRAME.pack(len(data)))
    parser.feed(data)


def proxy_header(data: bytes) -> None:
    """As the listener reads it: never more than is wanted."""
    parser, at = HeaderParser(), 0
    while at < len(data):
        piece = data[at : at + parser.wanted]
        at += len(piece)
        if parser.feed(piece) is not None:
            return


def checkpoint(data: bytes) -> None:
    """A note; what is accepted is what the log signed."""
    note = data.decode("utf-8", "replace")
    said = read_checkpoint(note, seeds.LOG.verifier)
    assert note.startswith(said.text)


def log_verifier(data: bytes) -> None:
    """What is accepted is spelled in one way."""
    text = data.decode("utf-8", "replace")
    assert str(LogVerifier.parse(text)) == text


def model_record(data: bytes) -> None:
    """What is accepted has one canonical form."""
    record = parse_record(data)
    assert parse_record(record.to_json()) == record


def whole_quote(data: bytes) -> None:
    """All of a quote's steps, under the lab's collateral for its kind of TEE."""
    tee = "TDX" if data[4:8] == b"\x81\0\0\0" else "SGX"
    verify_quote(data, _verified(tee), seeds.NOW)


def whole_collateral(data: bytes) -> None:
    """All of collateral's steps, in the one-file form."""
    verify_collateral(Collateral.from_json(data), _root(), seeds.NOW)


def crl(data: bytes) -> None:
    """Whatever form it comes in."""
    parse_crl(to_der(data))


def signed_json(data: bytes) -> None:
    """Cut apart, not parsed."""
    split(data, "tcbInfo")


def azure_token(data: bytes) -> None:
    """As it comes."""
    asked = seeds.azure()
    verify_token(_text(data), _azure_keys(), asked.question, seeds.NOW)


def azure_claims(data: bytes) -> None:
    """Under the instance's signature."""
    asked = seeds.azure()
    signed = jwt.PyJWS().encode(data, asked.key, "RS256", {"kid": asked.kid, "jku": asked.jku})
    verify_token(signed, _azure_keys(), asked.question, seeds.NOW)


def azure_keys(data: bytes) -> None:
    """The set, and the first key in it."""
    keys = parse_keys(data)
    for kid in json.loads(data)["keys"][:1]:
        keys.find(kid["kid"], seeds.NOW)


def azure_certificate(data: bytes) -> None:
    """The certificate of the only key in a set."""
    listed = {"kid": "k", "kty": "RSA", "x5c": [base64.b64encode(data).decode()]}
    parse_keys(json.dumps({"keys": [listed]}).encode()).find("k", seeds.NOW)


def result_token(data: bytes) -> None:
    """As it comes."""
    verify_result(_text(data), public_key=seeds.KEY.public_key(), now=seeds.NOW)


def result_claims(data: bytes) -> None:
    """Under the signature of who appraised."""
    key = seeds.KEY.public_key()
    header = {"typ": MEDIA_TYPE, "kid": thumbprint(key)}
    signed = jwt.PyJWS().encode(data, seeds.KEY, "ES256", header)
    verify_result(signed, public_key=key, now=seeds.NOW)


def ra_config(data: bytes) -> None:
    """The published key server's list of enclaves."""
    parse_ra_config(_text(data))


def gramine_manifest(data: bytes) -> None:
    """A manifest or a template, for the oldest Gramine and the newest; each line is one it has."""
    text = _text(data)
    for version in ((1, 0), (1, 9)):
        for each in lint_manifest(text, version):
            assert 1 <= each.line <= text.count("\n") + 1


def recorded_claims(data: bytes) -> None:
    """Claims as an audit log has them; what is accepted is written as it was."""
    try:
        recorded = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(recorded, dict):
        assert claims_from_dict(recorded).as_dict() == recorded


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@cache
def _azure_keys() -> KeySet:
    return parse_keys(seeds.azure_key_sets()[0])


def _with_authentic_metadata(data: bytes) -> bytes:
    nonce, metadata = bytes(32), data[:_METADATA_BYTES].ljust(_METADATA_BYTES, b"\0")
    key = derive_metadata_key(seeds.WRAP_KEY, nonce)
    sealed = AESGCM(key).encrypt(bytes(12), metadata, None)
    head = MAGIC + b"\x02\0" + nonce + sealed[-16:] + b"\0"
    return (head + sealed[:-16]).ljust(_NODE_BYTES, b"\0") + data[_METADATA_BYTES:]


def _pieces(data: bytes) -> list[bytes]:
    marks = [*range(0, len(data), 7), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]


@cache
def _root() -> TrustRoot:
    return load_trust_root(seeds.world().root_ca_pem)


@cache
def _verified(tee: str) -> VerifiedCollateral:
    collateral = dict(zip(seeds.TEES, seeds.collateral(), strict=True))
    return verify_collateral(collateral[tee], _root(), seeds.NOW)
