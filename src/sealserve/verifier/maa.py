"""Verification by Microsoft Azure Attestation: what it was asked and its token in, claims out.

    0. The question: a quote, the data that its report data binds, a fresh nonce. An instance that
       says no to it refuses the quote.
    1. The token is a signed one, by RS256, and names the instance's own key list.
    2. The key that it names is in that list, and is an RSA key with a certificate that fits.
    3. That key signed the token.
    4. The token is of this instance, valid now, and answers this question: it has its nonce.
    5. It speaks of the quote that was asked about: by the quote's hash (SGX), and in every field
       that it states; and the report data binds the data that was asked with.
    6. The claims come out. Accepting them, and this verifier, is the policy's business.

The first check that fails ends it with a VerificationError, whose code (`maa_codes.MaaCode`) is the
check's own. What the claims say of the target is read from the quote itself, once the token vouches
for it. Nobody here looks at Intel's certificates or collateral: the instance did, by its own policy
and by a baseline of Azure's, and that is what its users rely on. Nothing here opens a file, a
socket or a clock.

Source: Azure REST API specifications, Attestation, data plane 2025-06-01; "Claim sets", "Examples
of an attestation token" and "EAT profile for TDX" of Microsoft's documentation.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sealserve import jws
from sealserve.endorsements.signed_json import Members
from sealserve.endorsements.tcb_status import TcbStatus
from sealserve.errors import FormatError, VerificationError
from sealserve.evidence.quote import Body, parse_quote
from sealserve.evidence.report import SgxReport
from sealserve.evidence.td_report import TdReport
from sealserve.verifier.claims import AzureStanding, Claims
from sealserve.verifier.codes import Code, rejecting, rejection
from sealserve.verifier.maa_codes import MaaCode
from sealserve.verifier.maa_keys import KeySet
from sealserve.verifier.target import target_of

TOKEN_LIMIT: Final = 64 << 10  # characters
KEYS_PATH: Final = "/certs"
SCHEMA_VERSION: Final = "1.0"
CLOCK_DIFFERENCE: Final = timedelta(seconds=60)
"""How far the instance's clock may be ahead of ours; that a token is fresh, its nonce shows."""
# Azure, Azure Government, Azure operated by 21Vianet.
MICROSOFT_DOMAINS: Final = ("attest.azure.net", "attest.azure.us", "attest.azure.cn")

_SECONDS_LIMIT = (1 << 32) - 1
_TOKEN_ID = re.compile(r"[!-~]{1,128}")
_POLICY_HASH = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes


@dataclass(frozen=True, slots=True)
class Question:
    """What an instance is asked: is this quote genuine, and are these the data that it binds?"""

    instance: str
    """The instance's URL, scheme and host (and port) alone: also the issuer of its tokens."""
    nonce: str
    quote: bytes
    """The quote without bytes after its end, which no signature covers."""
    body: Body
    runtime_data: bytes
    """Whose SHA-256 is the first half of the report data."""

    @property
    def path(self) -> str:
        """Where in the instance's REST interface the question is put."""
        return "/attest/SgxEnclave" if isinstance(self.body, SgxReport) else "/attest/TdxVm"

    def content(self) -> bytes:
        """The JSON body of the request."""
        data = {"data": jws.encode(self.runtime_data), "dataType": "Binary"}
        request = {"quote": jws.encode(self.quote), "runtimeData": data, "nonce": self.nonce}
        return json.dumps(request).encode()


def ask(instance: str, quote: bytes, runtime_data: bytes, nonce: str) -> Question:
    """The question about `quote`; raises VerificationError for what no instance would affirm."""
    with rejecting(Code.QUOTE_FORMAT):
        parsed = parse_quote(quote)
    end = len(quote) - len(parsed.trailing)
    if hashlib.sha256(runtime_data).digest() != parsed.body.report_data[:32]:
        raise rejection(
            MaaCode.RUNTIME_DATA,
            "the quote's report data does not begin with the SHA-256 of the runtime data",
        )
    return Question(instance, nonce, quote[:end], parsed.body, runtime_data)


def is_microsofts(instance: str) -> bool:
    """Whether Microsoft runs the instance with this URL: its name is in their domains."""
    url = urlsplit(instance)
    host = url.hostname or ""
    return url.scheme == "https" and any(host.endswith(f".{each}") for each in MICROSOFT_DOMAINS)


def verify_token(token: str, keys: KeySet, question: Question, now: datetime) -> Claims:
    """The claims that `token` vouches for, in answer to `question`; `now` knows its zone.

    Raises VerificationError.
    """
    # 1. The token.
    kid = _read_key_id(token, question.instance)
    # 2. The key.
    key = keys.find(kid, now)
    # 3. The signature, and only then what it is of.
    stated = _read_claims(token, key)
    # 4. An answer to this question, valid now.
    with rejecting(MaaCode.CLAIMS_FORMAT):
        standing = _read_standing(stated, question)
        _check_times(stated, now)
        _check_answer(stated, question)
        # 5. About this quote.
        _check_quote(stated, question)
    # 6. The claims.
    return Claims(target_of(question.body), standing, verified_at=now)


def _read_key_id(token: str, instance: str) -> str:
    with rejecting(MaaCode.TOKEN_FORMAT):
        header = jws.read_header(token, limit=TOKEN_LIMIT)
    algorithm = header.get("alg")
    if algorithm == "none":
        raise rejection(
            MaaCode.UNSECURED,
            "the token is not signed: it was made by a draft policy, and proves nothing",
            hint="ask for a token without draftPolicyForAttestation",
        )
    if algorithm != "RS256":
        raise rejection(MaaCode.ALGORITHM, f"the token's alg is {algorithm!r:.40}, not RS256")
    expected = instance + KEYS_PATH
    if header.get("jku") != expected:
        raise rejection(
            MaaCode.KEY_URL, f"the token's jku is {header.get('jku')!r:.200}, not {expected}"
        )
    kid = header.get("kid")
    if not isinstance(kid, str) or header.get("typ", "JWT") != "JWT":
        raise rejection(MaaCode.TOKEN_FORMAT, "the token's header names no key, or no JWT")
    return kid


def _read_claims(token: str, key: RSAPublicKey) -> Members:
    with rejecting(MaaCode.TOKEN_FORMAT):
        try:
            payload = jws.verified_payload(token, key, "RS256")
        except VerificationError as error:
            raise rejection(MaaCode.SIGNATURE, error.message) from None
    with rejecting(MaaCode.CLAIMS_FORMAT):
        return Members(jws.read_object(payload, "the token's claims"), "the token")


def _read_standing(stated: Members, question: Question) -> AzureStanding:
    if stated.text("x-ms-ver") != SCHEMA_VERSION:
        raise rejection(
            MaaCode.VERSION,
            f"the token's x-ms-ver is {stated.text('x-ms-ver')!r}, not {SCHEMA_VERSION}",
        )
    return AzureStanding(
        issuer=question.instance,
        token_id=_matching(stated, "jti", _TOKEN_ID),
        policy_hash=_matching(stated, "x-ms-policy-hash", _POLICY_HASH),
        tcb_status=_tcb_status(stated) if isinstance(question.body, TdReport) else None,
        token_valid_from=_time(stated, "nbf"),
        token_valid_until=_time(stated, "exp"),
        simulated=not is_microsofts(question.instance),
    )


def _matching(stated: Members, name: str, pattern: re.Pattern[str]) -> str:
    text = stated.text(name, 200)
    if not pattern.fullmatch(text):
        raise FormatError(f"the token's {name} is {text[:80]!r}")
    return text


def _tcb_status(stated: Members) -> TcbStatus:
    status = stated.one_of("attester_tcb_status", TcbStatus)
    if status is TcbStatus.REVOKED:
        raise rejection(Code.TCB_REVOKED, "the platform's TCB level is revoked")
    return status


def _time(stated: Members, name: str) -> datetime:
    return datetime.fromtimestamp(stated.number(name, _SECONDS_LIMIT), UTC)


def _check_times(stated: Members, now: datetime) -> None:
    start = max(_time(stated, "nbf"), _time(stated, "iat"))
    end = _time(stated, "exp")
    if now < start - CLOCK_DIFFERENCE:
        raise rejection(
            MaaCode.NOT_YET_VALID,
            f"the token is valid from {start}, and it is {now}",
            hint="look at this machine's clock",
        )
    if now >= end:
        raise rejection(
            MaaCode.EXPIRED,
            f"the token is valid until {end}, and it is {now}",
            hint="look at this machine's clock",
        )


def _check_answer(stated: Members, question: Question) -> None:
    issuer = stated.text("iss", 2048)
    if issuer != question.instance:
        raise rejection(
            MaaCode.ISSUER, f"the token's issuer is {issuer[:200]!r}, not {question.instance}"
        )
    if stated.text("nonce", 256) != question.nonce:
        raise rejection(MaaCode.NONCE, "the token has another nonce: it answers another question")


def _check_quote(stated: Members, question: Question) -> None:
    body = question.body
    kind = "sgx" if isinstance(body, SgxReport) else "tdxvm"
    if stated.text("x-ms-attestation-type") != kind:
        found = stated.text("x-ms-attestation-type")
        raise rejection(MaaCode.TEE, f"the token is about {found!r}, and the quote of {kind!r}")
    if isinstance(body, SgxReport):
        found = stated.nested("x-ms-sgx-collateral").hexadecimal("quotehash", 32).hex()
        expected = hashlib.sha256(question.quote).hexdigest()
        if found != expected:
            raise rejection(
                MaaCode.QUOTE_HASH,
                f"the token is about the quote with SHA-256 {found}, and not {expected}",
            )
        _check_sgx_fields(stated, body)
    else:
        _check_td_fields(stated, body)
    if "x-ms-sgx-ehd" in stated:
        echo = stated.text("x-ms-sgx-ehd", TOKEN_LIMIT).rstrip("=")
        if jws.decode(echo) != question.runtime_data:
            raise rejection(MaaCode.RUNTIME_DATA, "the token repeats other runtime data")


def _check_sgx_fields(stated: Members, body: SgxReport) -> None:
    """What has one spelling alone: that of the KSS fields is not documented; the hash has them."""
    _check_bytes(stated, "x-ms-sgx-mrenclave", body.mr_enclave)
    _check_bytes(stated, "x-ms-sgx-mrsigner", body.mr_signer)
    _check_bytes(stated, "x-ms-sgx-report-data", body.report_data)
    _check_field(
        "x-ms-sgx-product-id", stated.number("x-ms-sgx-product-id", 0xFFFF), body.isv_prod_id
    )
    _check_field("x-ms-sgx-svn", stated.number("x-ms-sgx-svn", 0xFFFF), body.isv_svn)
    _check_field("x-ms-sgx-is-debuggable", stated.flag("x-ms-sgx-is-debuggable"), body.debug)


def _check_td_fields(stated: Members, body: TdReport) -> None:
    fields = {
        "tdx_mrtd": body.mr_td,
        "tdx_mrconfigid": body.mr_config_id,
        "tdx_mrowner": body.mr_owner,
        "tdx_mrownerconfig": body.mr_owner_config,
        "tdx_mrseam": body.mr_seam,
        "tdx_mrsignerseam": body.mr_signer_seam,
        "tdx_seam_attributes": body.seam_attributes,
        "tdx_td_attributes": body.td_attributes,
        "tdx_xfam": body.xfam,
        "tdx_tee_tcb_svn": body.tee_tcb_svn,
        "tdx_report_data": body.report_data,
        **{f"tdx_rtmr{n}": rtmr for n, rtmr in enumerate(body.rtmrs)},
    }
    for name, expected in fields.items():
        _check_bytes(stated, name, expected)


def _check_bytes(stated: Members, name: str, expected: bytes) -> None:
    _check_field(name, stated.hexadecimal(name, len(expected)).hex(), expected.hex())


def _check_field(name: str, found: object, expected: object) -> None:
    if found != expected:
        raise rejection(
            MaaCode.QUOTE_FIELD, f"the token's {name} is {found}, and the quote says {expected}"
        )
