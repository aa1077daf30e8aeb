"""Attestation results: what is written is read back, and whatever is wrong with one is seen."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from made_claims import (
    NOW,
    any_claims,
    azure_standing,
    claims,
    dcap_standing,
    sgx_enclave,
    trust_domain,
)
from made_policies import TDX, policy
from sealserve.appraisal import appraise, appraise_by_default
from sealserve.appraisal.ear import DEFAULT_POLICY, LIFETIME, issue, jwk, thumbprint
from sealserve.appraisal.ear_model import EAR_PROFILE, OUR_CLAIM
from sealserve.appraisal.ear_reading import (
    CLOCK_DIFFERENCE,
    ResultCode,
    VerifiedResult,
    check_executables,
    verify_result,
)
from sealserve.appraisal.trustworthiness import Tier, status, vector_of
from sealserve.errors import (
    DeniedError,
    RejectedError,
    SealServeError,
    UsageError,
    VerificationError,
)
from sealserve.verifier.claims import Claims, DcapStanding, Standing

unhurried = settings(deadline=None)  # a loaded machine is no failure
PAGE = Path(__file__).parents[3] / "docs" / "results.md"
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key()
OTHER = ec.generate_private_key(ec.SECP256R1())
POLICY_SHA256 = hashlib.sha256(b"policy").hexdigest()
EVIDENCE_SHA256 = hashlib.sha256(b"quote").hexdigest()
NONCE = "bm9uY2Utbm9uY2U"
DAY = timedelta(days=1)
GOOD = claims(
    sgx_enclave(report_data=b"\x05" * 64),
    dcap_standing(collateral_valid_until=NOW + 30 * DAY, ppid=b"\x06" * 16),
)


def token(about: Claims = GOOD, **options) -> str:
    options = {
        "policy_sha256": POLICY_SHA256,
        "evidence_sha256": EVIDENCE_SHA256,
        "key": KEY,
        "now": NOW,
        **options,
    }
    return issue(appraise(about, policy(), asked_for=None, now=NOW), about, **options)


def read(text: str, **options) -> VerifiedResult:
    return verify_result(text, **{"public_key": PUBLIC, "now": NOW, **options})


def payload(text: str) -> dict:
    return jwt.decode(text, options={"verify_signature": False})


def signed(claimed: dict, *, key=KEY, algorithm="ES256", **header) -> str:
    header = {"typ": "eat+jwt", "kid": thumbprint(PUBLIC), **header}
    return jwt.encode(claimed, key, algorithm=algorithm, headers=header)


def test_a_result_says_what_was_appraised_and_how() -> None:
    text = token(nonce=NONCE)
    assert jwt.get_unverified_header(text) == {
        "alg": "ES256",
        "typ": "eat+jwt",
        "kid": thumbprint(PUBLIC),
    }
    found = payload(text)
    ours = found["submods"]["SGX"].pop(OUR_CLAIM)
    assert found == {
        "eat_profile": EAR_PROFILE,
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + LIFETIME).timestamp()),
        "ear_verifier_id": {"developer": "SealServe", "build": "sealserve 0.1.0"},
        "ear_status": "affirming",
        "eat_nonce": NONCE,
        "submods": {
            "SGX": {
                "eat_profile": OUR_CLAIM,
                "ear_status": "affirming",
                "ear_trustworthiness_vector": {
                    "configuration": 3,
                    "executables": 3,
                    "hardware": 2,
                    "runtime-opaque": 2,
                },
                "ear_appraisal_policy_ids": [f"sha256:{POLICY_SHA256}"],
            }
        },
    }
    stated = ours.pop("claims")
    assert ours == {
        "evidence_sha256": EVIDENCE_SHA256,
        "allowed": True,
        "code": "policy.allowed",
        "rule": "rule",
        "identity": "target",
        "exceptions": [],
    }
    plain = GOOD.as_dict()
    assert stated == {
        name: plain[name] for name in plain if "ppid" not in name and name != "platform_instance_id"
    }


def test_a_result_that_was_written_is_read() -> None:
    found = read(token(nonce=NONCE), nonce=NONCE, policy_sha256=POLICY_SHA256, max_age=DAY)
    assert (found.status, found.tee, found.nonce) == (Tier.AFFIRMING, "SGX", NONCE)
    assert found.policy == f"sha256:{POLICY_SHA256}"
    assert (found.issued_at, found.expires_at) == (NOW, NOW + LIFETIME)
    assert found.issuer == thumbprint(PUBLIC)
    assert found.ours.claims["report_data"] == "05" * 64
    assert found.ours.evidence_sha256 == EVIDENCE_SHA256
    assert not found.simulated


def test_what_tells_machines_apart_is_stated_only_when_that_is_asked_for() -> None:
    assert "06" * 16 not in json.dumps(payload(token()))
    found = read(token(with_platform_ids=True))
    assert found.ours.claims["ppid"] == "06" * 16
    assert found.ours.claims["platform_instance_id"] is not None


def sound(standing: Standing) -> Standing:
    """What has not ended yet, and holds no text that our verifiers refuse."""
    if isinstance(standing, DcapStanding):
        return replace(standing, collateral_valid_until=NOW + DAY)
    words = {"issuer": "https://a.attest.azure.net", "token_id": "id", "policy_hash": "hash"}
    return replace(standing, token_valid_until=NOW + DAY, **words)


@unhurried
@given(any_claims, st.booleans(), st.booleans())
def test_any_appraisal_that_is_issued_is_read_back(
    about: Claims, by_default: bool, with_platform_ids: bool
) -> None:
    result = (
        appraise_by_default(about)
        if by_default
        else appraise(about, policy(), asked_for=None, now=NOW)
    )
    about = replace(about, standing=sound(about.standing))
    text = issue(
        result,
        about,
        policy_sha256=None if by_default else POLICY_SHA256,
        evidence_sha256=EVIDENCE_SHA256,
        key=KEY,
        now=NOW,
        with_platform_ids=with_platform_ids,
    )
    found = read(text)
    assert found.vector == vector_of(result, about)
    assert found.status is status(result, found.vector)
    assert (found.ours.allowed, found.ours.code) == (result.allowed, result.code)
    assert found.simulated is about.simulated
    assert found.policy == (DEFAULT_POLICY if by_default else f"sha256:{POLICY_SHA256}")


def by_default() -> VerifiedResult:
    issued = {"evidence_sha256": EVIDENCE_SHA256, "key": KEY, "now": NOW}
    return read(issue(appraise_by_default(GOOD), GOOD, policy_sha256=None, **issued))


def by_a_policy_that_leaves_registers_open() -> VerifiedResult:
    found = claims(trust_domain(), GOOD.standing)
    result = appraise(found, policy(TDX), asked_for=None, now=NOW)
    issued = {"evidence_sha256": EVIDENCE_SHA256, "key": KEY, "now": NOW}
    return read(issue(result, found, policy_sha256=POLICY_SHA256, **issued))


@pytest.mark.parametrize(
    ("made", "by_name", "other", "code"),
    [
        (by_default, "allow_default_policy", "policy_is_known", ResultCode.DEFAULT_POLICY),
        (
            by_a_policy_that_leaves_registers_open,
            "policy_is_known",
            "allow_default_policy",
            ResultCode.EXECUTABLES,
        ),
    ],
)
def test_a_result_that_says_nothing_of_the_executable_is_relied_on_by_name_alone(
    made, by_name: str, other: str, code: ResultCode
) -> None:
    found = made()
    assert found.status is Tier.AFFIRMING
    for options in ({}, {other: True}):
        with pytest.raises(DeniedError) as caught:
            check_executables(found, **options)
        assert caught.value.code == code
    check_executables(found, **{by_name: True})


def test_a_result_about_an_executable_is_relied_on_as_it_is() -> None:
    check_executables(read(token()))


def test_a_denial_is_a_result_too() -> None:
    found = read(token(claims(sgx_enclave(mr_enclave=b"\x01" * 32), GOOD.standing)))
    assert found.status is Tier.CONTRAINDICATED
    assert (found.ours.allowed, found.ours.code) == (False, "policy.measurement")


SHORT = timedelta(minutes=5)


@pytest.mark.parametrize(
    "standing",
    [
        dcap_standing(collateral_valid_until=NOW + SHORT),
        azure_standing(token_valid_until=NOW + SHORT),
    ],
    ids=["collateral", "a token"],
)
def test_a_result_lives_no_longer_than_its_grounds(standing) -> None:
    assert read(token(claims(standing=standing))).expires_at == NOW + SHORT


def test_a_result_lives_as_long_as_its_issuer_says() -> None:
    assert read(token(lifetime=SHORT)).expires_at == NOW + SHORT


@pytest.mark.parametrize("end", [NOW - DAY, NOW, NOW + timedelta(microseconds=1)])
def test_nothing_is_issued_on_grounds_that_have_passed(end) -> None:
    with pytest.raises(RejectedError) as error:
        token(claims(standing=dcap_standing(collateral_valid_until=end)))
    assert error.value.code == "result.grounds"


@pytest.mark.parametrize("nonce", ["", "short", "a" * 89, "a b" * 9, "aaaaaaaaaaaa="])
def test_what_is_no_nonce_is_not_echoed(nonce: str) -> None:
    with pytest.raises(UsageError):
        token(nonce=nonce)


def test_a_key_is_named_by_its_thumbprint() -> None:
    stated = jwk(PUBLIC)
    assert jwt.PyJWK(stated).key == PUBLIC
    canonical = '{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.format(**stated)
    digest = hashlib.sha256(canonical.encode()).digest()
    assert thumbprint(PUBLIC) == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_dates_are_good_at_their_ends() -> None:
    text = token()
    assert read(text, now=NOW - CLOCK_DIFFERENCE)
    assert read(text, now=NOW + LIFETIME - timedelta(seconds=1))
    assert read(text, now=NOW + SHORT, max_age=SHORT)


EXPECTED = {
    "before its time": (
        {"now": NOW - CLOCK_DIFFERENCE - timedelta(seconds=1)},
        ResultCode.NOT_YET_VALID,
    ),
    "after its end": ({"now": NOW + LIFETIME}, ResultCode.EXPIRED),
    "too old": (
        {"now": NOW + SHORT + timedelta(seconds=1), "max_age": SHORT},
        ResultCode.TOO_OLD,
    ),
    "another nonce": ({"nonce": "YW5vdGhlcg-YW5vdGhlcg"}, ResultCode.NONCE),
    "another policy": ({"policy_sha256": EVIDENCE_SHA256}, ResultCode.POLICY),
    "another issuer": ({"public_key": OTHER.public_key()}, ResultCode.KEY),
    "a key of another curve": (
        {"public_key": ec.generate_private_key(ec.SECP384R1()).public_key()},
        ResultCode.KEY,
    ),
}


@pytest.mark.parametrize(("options", "code"), EXPECTED.values(), ids=EXPECTED)
def test_a_result_that_is_not_what_was_asked_for_is_rejected(
    options: dict, code: ResultCode
) -> None:
    with pytest.raises(VerificationError) as error:
        read(token(), **options)
    assert error.value.code == code


def changed(change) -> dict:
    claimed = payload(token())
    change(claimed, claimed["submods"]["SGX"], claimed["submods"]["SGX"][OUR_CLAIM])
    return claimed


def setting(where: int, name: str, value: object):
    return lambda *tables: tables[where].__setitem__(name, value)


def dropping(where: int, name: str):
    return lambda *tables: tables[where].pop(name)


CLAIMS = {
    "the profile of an older draft": (
        setting(0, "eat_profile", "tag:github.com,2023:veraison/ear"),
        ResultCode.PROFILE,
    ),
    "no profile": (dropping(0, "eat_profile"), ResultCode.PROFILE),
    "no time of issue": (dropping(0, "iat"), ResultCode.FORMAT),
    "no end": (dropping(0, "exp"), ResultCode.FORMAT),
    "an end with a fraction": (setting(0, "exp", 4e9 + 0.5), ResultCode.FORMAT),
    "an end that is text": (setting(0, "exp", "4000000000"), ResultCode.FORMAT),
    "an end that is true": (setting(0, "exp", True), ResultCode.FORMAT),
    "an end that is never": (setting(0, "exp", 10**30), ResultCode.FORMAT),
    "an end a year away": (setting(0, "exp", 1900000000), ResultCode.FORMAT),
    "an end before it begins": (setting(0, "exp", 1), ResultCode.FORMAT),
    "no verifier": (dropping(0, "ear_verifier_id"), ResultCode.FORMAT),
    "a verifier that is text": (setting(0, "ear_verifier_id", "SealServe"), ResultCode.FORMAT),
    "a nonce that is none": (setting(0, "eat_nonce", "?"), ResultCode.FORMAT),
    "no appraisals": (setting(0, "submods", {}), ResultCode.FORMAT),
    "an appraisal of something else": (
        lambda whole, *_: whole["submods"].update(SNP=whole["submods"].pop("SGX")),
        ResultCode.FORMAT,
    ),
    "two appraisals": (
        lambda whole, one, _: whole["submods"].update(TDX=one),
        ResultCode.FORMAT,
    ),
    "an unknown status": (setting(1, "ear_status", "fine"), ResultCode.FORMAT),
    "a status that is a number": (setting(0, "ear_status", 2), ResultCode.FORMAT),
    "no status": (dropping(1, "ear_status"), ResultCode.FORMAT),
    "no vector": (dropping(1, "ear_trustworthiness_vector"), ResultCode.FORMAT),
    "a vector out of range": (
        setting(1, "ear_trustworthiness_vector", {"hardware": 128}),
        ResultCode.FORMAT,
    ),
    "no policy": (setting(1, "ear_appraisal_policy_ids", []), ResultCode.FORMAT),
    "another profile of an appraisal": (setting(1, "eat_profile", "urn:x"), ResultCode.FORMAT),
    "nothing of ours": (dropping(1, OUR_CLAIM), ResultCode.FORMAT),
    "an unknown claim of ours": (setting(2, "more", 1), ResultCode.FORMAT),
    "no digest of the evidence": (dropping(2, "evidence_sha256"), ResultCode.FORMAT),
    "a digest that is none": (setting(2, "evidence_sha256", "00"), ResultCode.FORMAT),
    "an outcome that is a word": (setting(2, "allowed", "true"), ResultCode.FORMAT),
    "a rule with a line break": (setting(2, "rule", "a\nb"), ResultCode.FORMAT),
    "no claims": (setting(2, "claims", {}), ResultCode.FORMAT),
    "claims that nest": (setting(2, "claims", {"a": {"b": 1}}), ResultCode.FORMAT),
    "claims with a fraction": (setting(2, "claims", {"a": 0.5}), ResultCode.FORMAT),
    "a better status than its vector": (
        setting(1, "ear_trustworthiness_vector", {"hardware": 96}),
        ResultCode.STATUS,
    ),
    "a better status than its outcome": (setting(2, "allowed", False), ResultCode.STATUS),
    "a better status of the whole": (
        lambda whole, one, _: one.update(
            ear_status="warning", ear_trustworthiness_vector={"hardware": 32}
        ),
        ResultCode.STATUS,
    ),
}


@pytest.mark.parametrize(("change", "code"), CLAIMS.values(), ids=CLAIMS)
def test_a_signed_result_that_is_not_ours_is_rejected(change, code: ResultCode) -> None:
    with pytest.raises(VerificationError) as error:
        read(signed(changed(change)))
    assert error.value.code == code


def test_claims_that_others_add_to_the_profile_are_ignored() -> None:
    assert read(signed(changed(setting(0, "jti", "1"))))
    assert read(signed(changed(setting(1, "ear_veraison_policy_claims", {"a": 1}))))


PEM = PUBLIC.public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
TOKENS = {
    "nothing": (lambda: "", ResultCode.FORMAT),
    "too long": (lambda: token() + "A" * 65536, ResultCode.FORMAT),
    "a line break": (lambda: token() + "\n", ResultCode.FORMAT),
    "no signature": (lambda: token().rpartition(".")[0] + ".", ResultCode.SIGNATURE),
    "another's signature": (lambda: signed(payload(token()), key=OTHER), ResultCode.SIGNATURE),
    "claims that nobody signed": (
        lambda: ".".join([token().split(".")[0], "e30", token().split(".")[2]]),
        ResultCode.SIGNATURE,
    ),
    "another key's name": (
        lambda: signed(payload(token()), kid=thumbprint(OTHER.public_key())),
        ResultCode.KEY,
    ),
    "no key's name": (lambda: signed(payload(token()), kid=""), ResultCode.KEY),
    "another type": (lambda: signed(payload(token()), typ="JWT"), ResultCode.FORMAT),
    "a shared secret": (
        lambda: signed(payload(token()), key="k" * 32, algorithm="HS256"),
        ResultCode.ALGORITHM,
    ),
    "no algorithm": (
        lambda: signed(payload(token()), key=None, algorithm="none"),
        ResultCode.ALGORITHM,
    ),
}


@pytest.mark.parametrize(("make", "code"), TOKENS.values(), ids=TOKENS)
def test_a_token_that_is_no_result_is_rejected(make, code: ResultCode) -> None:
    with pytest.raises(VerificationError) as error:
        read(make())
    assert error.value.code == code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=20), values),
    max_leaves=12,
)


@unhurried
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: data.decode("latin-1")))
def test_from_any_text_only_our_own_errors_escape(text: str) -> None:
    with pytest.raises(SealServeError):
        read(text)


@unhurried
@given(st.integers(0, 2**32), st.integers(1, 255))
def test_one_byte_changed_anywhere_is_seen(place: int, difference: int) -> None:
    text = bytearray(TOKEN.encode())
    text[place % len(text)] ^= difference
    with pytest.raises(VerificationError):
        read(text.decode("latin-1"))


@unhurried
@given(
    st.sampled_from([(), ("submods",), ("submods", "SGX"), ("submods", "SGX", OUR_CLAIM)]),
    st.integers(0, 20),
    JSON,
)
def test_from_any_signed_claims_only_our_own_errors_escape(
    path: tuple[str, ...], number: int, value: object
) -> None:
    """Whoever holds the key may sign anything: that is no reason to fail in another way."""
    claimed = json.loads(json.dumps(CLAIMED))
    table = claimed
    for name in path:
        table = table[name]
    table[sorted(table)[number % len(table)]] = value
    payload = json.dumps(claimed).encode()
    header = {"typ": "eat+jwt", "kid": thumbprint(PUBLIC)}
    text = jwt.PyJWS().encode(payload, KEY, algorithm="ES256", headers=header)
    try:
        read(text)
    except SealServeError as error:
        assert error.exit_code == 2


TOKEN = token()
CLAIMED = payload(TOKEN)


def test_the_page_explains_every_code_and_no_other() -> None:
    rows = re.findall(r"^\| `(RESULT_[A-Z_]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert rows == [code.value for code in ResultCode]
