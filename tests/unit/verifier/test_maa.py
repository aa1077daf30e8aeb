"""Tokens of Azure Attestation: the claims of a good one, and every check seen to fail."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from azure_instance import DROPPED, HOURS, POLICY_HASH, Instance, SigningKey, signing_key
from sealserve.errors import VerificationError
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World
from sealserve.verifier.claims import AzureStanding, Claims, SgxEnclave, TcbStatus, TrustDomain
from sealserve.verifier.codes import Code
from sealserve.verifier.maa import CLOCK_DIFFERENCE, Question, ask, is_microsofts, verify_token
from sealserve.verifier.maa_codes import MaaCode
from sealserve.verifier.maa_keys import KEYS_LIMIT, parse_keys

unhurried = settings(deadline=None)  # a loaded machine is no failure
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
URL = "https://sealserve.weu.attest.azure.net"
NONCE = "a nonce that nobody else has"
DATA = b"the public key that the report data binds"
REPORT_DATA = sha256(DATA).digest() + bytes(32)
ENCLAVE = EnclaveIdentity(b"e" * 32, b"s" * 32, isv_prod_id=7, isv_svn=3)
WORLD = World.create(now=NOW)
QUOTE = WORLD.quote(ENCLAVE.report(REPORT_DATA))
TD_QUOTE = WORLD.td_quote(TrustDomainIdentity(b"t" * 48).report(REPORT_DATA))
KEYS = [signing_key(URL, NOW) for _ in range(2)]
PAGE = Path(__file__).parents[3] / "docs" / "azure-attestation.md"


def instance(**changes) -> Instance:
    return Instance(URL, WORLD, now=NOW, keys=list(KEYS), **changes)


def question(quote: bytes = QUOTE) -> Question:
    return ask(URL, quote, DATA, NONCE)


def judge(
    made: Instance, *, quote: bytes = QUOTE, about: bytes | None = None, now: datetime = NOW
) -> Claims:
    """The claims of the instance's token about `about`, in answer to a question about `quote`."""
    token = made.token(about or quote, DATA, NONCE)
    return verify_token(token, parse_keys(made.certs()), question(quote), now)


def code_of(error: pytest.ExceptionInfo[VerificationError]) -> str:
    return error.value.code


def test_a_token_about_an_enclave_becomes_its_claims() -> None:
    claims = judge(instance())
    assert claims.target == SgxEnclave(
        mr_enclave=b"e" * 32,
        mr_signer=b"s" * 32,
        isv_prod_id=7,
        isv_svn=3,
        debug=False,
        report_data=REPORT_DATA,
        attributes=bytes.fromhex("0500000000000000e700000000000000"),
        misc_select=0,
        config_id=bytes(64),
        config_svn=0,
        isv_ext_prod_id=bytes(16),
        isv_family_id=bytes(16),
    )
    assert claims.standing == AzureStanding(
        issuer=URL,
        token_id="5f65006d573bc1c04f67820348c20f5d8da72ddbbd4d6c03da8de9f11b5cf29b",
        policy_hash=POLICY_HASH,
        tcb_status=None,
        token_valid_from=NOW,
        token_valid_until=NOW + 8 * HOURS,
        simulated=False,
    )
    assert claims.verified_at == NOW


def test_a_token_about_a_trust_domain_states_its_platforms_tcb() -> None:
    claims = judge(instance(claims={"attester_tcb_status": "OutOfDate"}), quote=TD_QUOTE)
    assert isinstance(claims.target, TrustDomain)
    assert claims.target.report_data == REPORT_DATA
    assert isinstance(claims.standing, AzureStanding)
    assert claims.standing.tcb_status is TcbStatus.OUT_OF_DATE


def test_the_question_holds_the_quote_without_what_follows_it() -> None:
    asked = question(QUOTE + bytes(100))
    content = json.loads(asked.content())
    assert asked.path == "/attest/SgxEnclave"
    assert base64.urlsafe_b64decode(content["quote"] + "==") == QUOTE
    assert base64.urlsafe_b64decode(content["runtimeData"]["data"] + "==") == DATA
    assert (content["runtimeData"]["dataType"], content["nonce"]) == ("Binary", NONCE)
    assert question(TD_QUOTE).path == "/attest/TdxVm"


def test_a_quote_that_does_not_bind_the_data_is_not_even_asked_about() -> None:
    with pytest.raises(VerificationError) as error:
        ask(URL, QUOTE, b"another key", NONCE)
    assert code_of(error) == MaaCode.RUNTIME_DATA


def test_what_is_no_quote_is_not_even_asked_about() -> None:
    with pytest.raises(VerificationError) as error:
        ask(URL, QUOTE[:-1], DATA, NONCE)
    assert code_of(error) == Code.QUOTE_FORMAT


@pytest.mark.parametrize(
    ("url", "microsofts"),
    [
        (URL, True),
        ("https://shared.usgov.attest.azure.us", True),
        ("http://sealserve.weu.attest.azure.net", False),
        ("https://attest.azure.net.example.com", False),
        ("https://notattest.azure.net", False),
        ("https://127.0.0.1:8443", False),
    ],
)
def test_only_names_in_microsofts_domains_are_microsofts(url: str, microsofts: bool) -> None:
    assert is_microsofts(url) is microsofts


def test_claims_of_an_instance_that_is_not_microsofts_are_simulated() -> None:
    url = "https://attestation.example.com"
    made = Instance(url, WORLD, now=NOW)
    token = made.token(QUOTE, DATA, NONCE)
    assert verify_token(
        token, parse_keys(made.certs()), ask(url, QUOTE, DATA, NONCE), NOW
    ).simulated


CLAIMS = {
    "another schema": ({"x-ms-ver": "2.0"}, MaaCode.VERSION),
    "no schema": ({"x-ms-ver": DROPPED}, MaaCode.CLAIMS_FORMAT),
    "another issuer": ({"iss": "https://other.weu.attest.azure.net"}, MaaCode.ISSUER),
    "an issuer with a slash": ({"iss": f"{URL}/"}, MaaCode.ISSUER),
    "no issuer": ({"iss": DROPPED}, MaaCode.CLAIMS_FORMAT),
    "no id": ({"jti": DROPPED}, MaaCode.CLAIMS_FORMAT),
    "an id with a line break": ({"jti": "a\nb"}, MaaCode.CLAIMS_FORMAT),
    "no policy hash": ({"x-ms-policy-hash": DROPPED}, MaaCode.CLAIMS_FORMAT),
    "a policy hash of another length": ({"x-ms-policy-hash": "AAAA"}, MaaCode.CLAIMS_FORMAT),
    "valid later": (
        {"nbf": int((NOW + CLOCK_DIFFERENCE).timestamp()) + 1},
        MaaCode.NOT_YET_VALID,
    ),
    "issued later": (
        {"iat": int((NOW + CLOCK_DIFFERENCE).timestamp()) + 1},
        MaaCode.NOT_YET_VALID,
    ),
    "no longer valid": ({"exp": int(NOW.timestamp())}, MaaCode.EXPIRED),
    "no end": ({"exp": DROPPED}, MaaCode.CLAIMS_FORMAT),
    "no beginning": ({"nbf": DROPPED}, MaaCode.CLAIMS_FORMAT),
    "no time of issue": ({"iat": DROPPED}, MaaCode.CLAIMS_FORMAT),
    "a time that is text": ({"exp": "4000000000"}, MaaCode.CLAIMS_FORMAT),
    "a time that is no whole number": ({"exp": 4e9}, MaaCode.CLAIMS_FORMAT),
    "a time beyond all times": ({"exp": 10**18}, MaaCode.CLAIMS_FORMAT),
    "another nonce": ({"nonce": "another nonce"}, MaaCode.NONCE),
    "no nonce": ({"nonce": DROPPED}, MaaCode.CLAIMS_FORMAT),
    "another kind of TEE": ({"x-ms-attestation-type": "sevsnpvm"}, MaaCode.TEE),
    "no kind of TEE": ({"x-ms-attestation-type": DROPPED}, MaaCode.CLAIMS_FORMAT),
    "another quote's hash": (
        {"x-ms-sgx-collateral": {"quotehash": sha256(b"another").hexdigest()}},
        MaaCode.QUOTE_HASH,
    ),
    "no quote hash": ({"x-ms-sgx-collateral": {}}, MaaCode.CLAIMS_FORMAT),
    "another MRENCLAVE": ({"x-ms-sgx-mrenclave": "00" * 32}, MaaCode.QUOTE_FIELD),
    "a short MRENCLAVE": ({"x-ms-sgx-mrenclave": "00"}, MaaCode.CLAIMS_FORMAT),
    "another MRSIGNER": ({"x-ms-sgx-mrsigner": "00" * 32}, MaaCode.QUOTE_FIELD),
    "another product": ({"x-ms-sgx-product-id": 8}, MaaCode.QUOTE_FIELD),
    "another version": ({"x-ms-sgx-svn": 4}, MaaCode.QUOTE_FIELD),
    "a version that is true": ({"x-ms-sgx-svn": True}, MaaCode.CLAIMS_FORMAT),
    "debuggable": ({"x-ms-sgx-is-debuggable": True}, MaaCode.QUOTE_FIELD),
    "debuggable by a word": ({"x-ms-sgx-is-debuggable": "false"}, MaaCode.CLAIMS_FORMAT),
    "other report data": ({"x-ms-sgx-report-data": "00" * 64}, MaaCode.QUOTE_FIELD),
    "other runtime data": ({"x-ms-sgx-ehd": "AAAA"}, MaaCode.RUNTIME_DATA),
    "runtime data that are not base64": ({"x-ms-sgx-ehd": "****"}, MaaCode.CLAIMS_FORMAT),
}


@pytest.mark.parametrize(("changes", "code"), CLAIMS.values(), ids=CLAIMS)
def test_a_signed_token_with_one_claim_changed_is_rejected(changes: dict, code: MaaCode) -> None:
    with pytest.raises(VerificationError) as error:
        judge(instance(claims=changes))
    assert code_of(error) == code


TD_CLAIMS = {
    "a revoked platform": ({"attester_tcb_status": "Revoked"}, Code.TCB_REVOKED),
    "an unknown status": ({"attester_tcb_status": "Fine"}, MaaCode.CLAIMS_FORMAT),
    "no status": ({"attester_tcb_status": DROPPED}, MaaCode.CLAIMS_FORMAT),
    "an enclave's token": ({"x-ms-attestation-type": "sgx"}, MaaCode.TEE),
    **{
        f"another {name}": ({name: "ff" * size}, MaaCode.QUOTE_FIELD)
        for names, size in (
            (("tdx_mrtd", "tdx_mrconfigid", "tdx_mrowner", "tdx_mrownerconfig"), 48),
            (("tdx_mrseam", "tdx_mrsignerseam", *(f"tdx_rtmr{n}" for n in range(4))), 48),
            (("tdx_seam_attributes", "tdx_td_attributes", "tdx_xfam"), 8),
            (("tdx_tee_tcb_svn",), 16),
            (("tdx_report_data",), 64),
        )
        for name in names
    },
}


@pytest.mark.parametrize(("changes", "code"), TD_CLAIMS.values(), ids=TD_CLAIMS)
def test_a_token_about_a_trust_domain_with_one_claim_changed_is_rejected(
    changes: dict, code: str
) -> None:
    with pytest.raises(VerificationError) as error:
        judge(instance(claims=changes), quote=TD_QUOTE)
    assert code_of(error) == code


def test_a_token_about_another_quote_of_the_same_enclave_is_rejected() -> None:
    with pytest.raises(VerificationError) as error:
        judge(instance(), about=WORLD.quote(ENCLAVE.report(REPORT_DATA)))
    assert code_of(error) == MaaCode.QUOTE_HASH


HEADERS = {
    "a symmetric algorithm": ({"alg": "HS256"}, MaaCode.ALGORITHM),
    "another RSA scheme": ({"alg": "PS256"}, MaaCode.ALGORITHM),
    "another hash": ({"alg": "RS512"}, MaaCode.ALGORITHM),
    "no signature": ({"alg": "none"}, MaaCode.UNSECURED),
    "no algorithm": ({"alg": DROPPED}, MaaCode.ALGORITHM),
    "another instance's keys": (
        {"jku": "https://other.weu.attest.azure.net/certs"},
        MaaCode.KEY_URL,
    ),
    "no key list": ({"jku": DROPPED}, MaaCode.KEY_URL),
    "no key": ({"kid": DROPPED}, MaaCode.TOKEN_FORMAT),
    "a key that is a number": ({"kid": 1}, MaaCode.TOKEN_FORMAT),
    "a key that is not listed": ({"kid": "nobody"}, MaaCode.KEY_UNKNOWN),
    "the other key of the list": ({"kid": KEYS[1].kid}, MaaCode.SIGNATURE),
    "no JWT": ({"typ": "dpop+jwt"}, MaaCode.TOKEN_FORMAT),
    "a critical parameter": ({"crit": ["exp"], "exp": 1}, MaaCode.TOKEN_FORMAT),
}


@pytest.mark.parametrize(("changes", "code"), HEADERS.values(), ids=HEADERS)
def test_a_token_with_its_header_changed_is_rejected(changes: dict, code: MaaCode) -> None:
    made = instance()
    token = made.token(QUOTE, DATA, NONCE)
    header = jwt.get_unverified_header(token) | changes
    header = {name: value for name, value in header.items() if value is not DROPPED}
    _, payload, _ = token.split(".")
    signing_input = f"{encode(json.dumps(header).encode())}.{payload}"
    signature = jwt.get_algorithm_by_name("RS256").sign(signing_input.encode(), KEYS[0].key)
    with pytest.raises(VerificationError) as error:
        verify_token(
            f"{signing_input}.{encode(signature)}", parse_keys(made.certs()), question(), NOW
        )
    assert code_of(error) == code


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_a_public_key_is_no_shared_secret() -> None:
    """The attack on libraries that let the token choose its algorithm (RFC 8725 section 2.1)."""
    made = instance()
    pem = KEYS[0].certificate.public_bytes(serialization.Encoding.PEM)
    header, payload, _ = made.token(QUOTE, DATA, NONCE).split(".")
    header = encode(
        json.dumps(jwt.get_unverified_header(f"{header}.{payload}.") | {"alg": "HS256"}).encode()
    )
    signature = hmac.digest(pem, f"{header}.{payload}".encode(), "sha256")
    with pytest.raises(VerificationError) as error:
        verify_token(
            f"{header}.{payload}.{encode(signature)}",
            parse_keys(made.certs()),
            question(),
            NOW,
        )
    assert code_of(error) == MaaCode.ALGORITHM


def flipped(token: str, part: int) -> str:
    parts = token.split(".")
    parts[part] = ("B" if parts[part][0] == "A" else "A") + parts[part][1:]
    return ".".join(parts)


ALGORITHM_TWICE = b'{"alg": "none", "alg": "RS256"}'
TOKENS = {
    "nothing": (lambda token: "", MaaCode.TOKEN_FORMAT),
    "two parts": (lambda token: token.rpartition(".")[0], MaaCode.TOKEN_FORMAT),
    "four parts": (lambda token: f"{token}.AAAA", MaaCode.TOKEN_FORMAT),
    "padding": (lambda token: f"{token}=", MaaCode.TOKEN_FORMAT),
    "a line break": (lambda token: f"{token}\n", MaaCode.TOKEN_FORMAT),
    "too long": (lambda token: token + "A" * 65536, MaaCode.TOKEN_FORMAT),
    "a header that is no JSON": (lambda token: flipped(token, 0), MaaCode.TOKEN_FORMAT),
    "a header that is a list": (
        lambda token: f"{encode(b'[]')}.{token.partition('.')[2]}",
        MaaCode.TOKEN_FORMAT,
    ),
    "a header that nests without end": (
        lambda token: f"{encode(b'[' * 40000)}.{token.partition('.')[2]}",
        MaaCode.TOKEN_FORMAT,
    ),
    "an algorithm named twice": (
        lambda token: f"{encode(ALGORITHM_TWICE)}.{token.partition('.')[2]}",
        MaaCode.TOKEN_FORMAT,
    ),
    "claims that nobody signed": (lambda token: flipped(token, 1), MaaCode.SIGNATURE),
    "another signature": (lambda token: flipped(token, 2), MaaCode.SIGNATURE),
    "no signature": (lambda token: f"{token.rpartition('.')[0]}.", MaaCode.SIGNATURE),
}


@pytest.mark.parametrize(("tamper", "code"), TOKENS.values(), ids=TOKENS)
def test_a_token_that_is_not_as_it_was_sent_is_rejected(tamper, code: MaaCode) -> None:
    made = instance()
    with pytest.raises(VerificationError) as error:
        verify_token(
            tamper(made.token(QUOTE, DATA, NONCE)), parse_keys(made.certs()), question(), NOW
        )
    assert code_of(error) == code


@pytest.mark.parametrize("payload", [b"[]", b'{"iss": 1, "iss": 1}', b'{"x": NaN}', b"\xff"])
def test_signed_claims_that_are_no_object_of_json_are_rejected(payload: bytes) -> None:
    made = instance()
    header = {"jku": f"{URL}/certs", "kid": KEYS[0].kid}
    token = jwt.PyJWS().encode(payload, KEYS[0].key, algorithm="RS256", headers=header)
    with pytest.raises(VerificationError) as error:
        verify_token(token, parse_keys(made.certs()), question(), NOW)
    assert code_of(error) == MaaCode.CLAIMS_FORMAT


def numbers(key: SigningKey) -> dict:
    public = key.key.public_key().public_numbers()
    return {
        "n": encode(public.n.to_bytes(public.n.bit_length() + 7 >> 3, "big")),
        "e": encode(public.e.to_bytes(3, "big")),
    }


def described(**changes: object) -> list:
    """The key that signs as the instance lists it, changed."""
    jwk = KEYS[0].jwk() | numbers(KEYS[0]) | {"use": "sig", "alg": "RS256"} | changes
    return [{name: value for name, value in jwk.items() if value is not DROPPED}]


def certificate(**options) -> list[str]:
    return signing_key(URL, NOW, **options).jwk()["x5c"]


EXPIRED = signing_key(URL, NOW, start=-2 * HOURS, end=-HOURS)
FUTURE = signing_key(URL, NOW, start=HOURS, end=2 * HOURS)
SHORT = signing_key(URL, NOW, bits=1024)
ELLIPTIC = encode(
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)

VERSION_6 = base64.b64encode(
    base64.b64decode(KEYS[0].jwk()["x5c"][0]).replace(
        bytes.fromhex("a003020102"), bytes.fromhex("a003020105"), 1
    )
).decode()


@pytest.mark.parametrize(
    "changes",
    [{}, {"x5c": DROPPED}, {"n": DROPPED, "e": DROPPED}, {"use": DROPPED, "alg": DROPPED}],
    ids=["all", "numbers alone", "the certificate alone", "neither use nor algorithm"],
)
def test_a_key_may_be_stated_by_its_numbers_or_by_its_certificate(changes: dict) -> None:
    keys = parse_keys(json.dumps({"keys": described(**changes)}).encode())
    assert keys.find(KEYS[0].kid, NOW) == KEYS[0].key.public_key()


KEY_FAULTS = {
    "another key type": ({"kty": "EC"}, MaaCode.KEY),
    "no key type": ({"kty": DROPPED}, MaaCode.KEY),
    "a key to encrypt with": ({"use": "enc"}, MaaCode.KEY),
    "a key of another algorithm": ({"alg": "RS512"}, MaaCode.KEY),
    "a key that is not stated": ({"x5c": DROPPED, "n": DROPPED, "e": DROPPED}, MaaCode.KEY),
    "half a key": ({"n": DROPPED}, MaaCode.KEY),
    "a modulus that is not base64": ({"n": "***"}, MaaCode.KEY),
    "an even exponent": ({"e": "AA", "x5c": DROPPED}, MaaCode.KEY),
    "a short key": (SHORT.jwk() | numbers(SHORT), MaaCode.KEY),
    "another key's certificate": ({"x5c": KEYS[1].jwk()["x5c"]}, MaaCode.KEY_CERTIFICATE),
    "no certificate in the list": ({"x5c": []}, MaaCode.KEY_CERTIFICATE),
    "a certificate that is not base64": ({"x5c": ["***"]}, MaaCode.KEY_CERTIFICATE),
    "a certificate that cannot be read": ({"x5c": ["AAAA"]}, MaaCode.KEY_CERTIFICATE),
    "a bare key for a certificate": ({"x5c": [ELLIPTIC]}, MaaCode.KEY_CERTIFICATE),
    "a certificate of version 6": ({"x5c": [VERSION_6]}, MaaCode.KEY_CERTIFICATE),
    "an expired certificate": (
        EXPIRED.jwk() | numbers(EXPIRED),
        MaaCode.KEY_CERTIFICATE_VALIDITY,
    ),
    "a certificate of the future": (
        FUTURE.jwk() | numbers(FUTURE),
        MaaCode.KEY_CERTIFICATE_VALIDITY,
    ),
}


@pytest.mark.parametrize(("changes", "code"), KEY_FAULTS.values(), ids=KEY_FAULTS)
def test_a_key_that_does_not_fit_is_rejected(changes: dict, code: MaaCode) -> None:
    listed = described(**changes | {"kid": "k"})
    keys = parse_keys(json.dumps({"keys": listed}).encode())
    with pytest.raises(VerificationError) as error:
        keys.find("k", NOW)
    assert code_of(error) == code


KEY_SETS = {
    "no JSON": b"<html>",
    "no object": b"[]",
    "no list": b'{"keys": {}}',
    "a key that is text": b'{"keys": ["k"]}',
    "a key without an id": b'{"keys": [{"kty": "RSA"}]}',
    "two keys of one id": b'{"keys": [{"kid": "k"}, {"kid": "k"}]}',
    "too many keys": json.dumps({"keys": [{"kid": str(n)} for n in range(257)]}).encode(),
    "too long": b" " * (KEYS_LIMIT + 1),
}


@pytest.mark.parametrize("data", KEY_SETS.values(), ids=KEY_SETS)
def test_what_is_no_key_set_is_rejected(data: bytes) -> None:
    with pytest.raises(VerificationError) as error:
        parse_keys(data)
    assert code_of(error) == MaaCode.KEYS_FORMAT


def test_a_key_that_nobody_asks_for_does_no_harm() -> None:
    made = instance()
    listed = [{"kid": "odd", "kty": "EC", "crv": "P-999"}, *json.loads(made.certs())["keys"]]
    keys = parse_keys(json.dumps({"keys": listed}).encode())
    assert verify_token(made.token(QUOTE, DATA, NONCE), keys, question(), NOW)


def test_a_clock_that_is_a_little_ahead_of_ours_is_no_reason_to_refuse() -> None:
    assert judge(instance(), now=NOW - CLOCK_DIFFERENCE)
    with pytest.raises(VerificationError) as error:
        judge(instance(), now=NOW - CLOCK_DIFFERENCE - timedelta(seconds=1))
    assert code_of(error) == MaaCode.NOT_YET_VALID


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=20), values),
    max_leaves=12,
)


@unhurried
@given(st.sampled_from([QUOTE, TD_QUOTE]), st.integers(0, 40), JSON)
def test_from_any_signed_claims_only_our_own_errors_escape(
    quote: bytes, number: int, value: object
) -> None:
    """An instance may be told by its policy to issue anything."""
    made = instance()
    claims = jwt.decode(made.token(quote, DATA, NONCE), options={"verify_signature": False})
    claims[sorted(claims)[number % len(claims)]] = value
    header = {"jku": f"{URL}/certs", "kid": KEYS[0].kid}
    payload = json.dumps(claims).encode()
    token = jwt.PyJWS().encode(payload, KEYS[0].key, algorithm="RS256", headers=header)
    try:
        verify_token(token, parse_keys(made.certs()), question(quote), NOW)
    except VerificationError as error:
        assert error.exit_code == 2


@unhurried
@given(st.sampled_from(["kty", "use", "alg", "x5c", "n", "e"]), JSON)
def test_from_any_description_of_a_key_only_our_own_errors_escape(
    member: str, value: object
) -> None:
    listed = json.dumps({"keys": described(**{member: value})})
    with contextlib.suppress(VerificationError):
        parse_keys(listed.encode()).find(KEYS[0].kid, NOW)


def test_every_code_but_the_services_own_refusal_was_seen_here() -> None:
    tables = (CLAIMS, TD_CLAIMS, HEADERS, TOKENS, KEY_FAULTS)
    seen = {code for table in tables for _, code in table.values()} | {MaaCode.KEYS_FORMAT}
    assert set(MaaCode) - seen == {MaaCode.REFUSED}


def test_the_page_explains_every_code_and_no_other() -> None:
    rows = re.findall(r"^\| `(MAA_[A-Z_]+)` \| (\d) \|", PAGE.read_text(), re.MULTILINE)
    assert rows == [(code.value, str(code.step)) for code in MaaCode]
