"""Whatever an outsider sends in place of endorsements or evidence, only errors of ours come out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.appraisal import parse_policy
from sealserve.endorsements.chain import parse_certificate, parse_chain
from sealserve.endorsements.collateral import FILE_NAMES, Collateral
from sealserve.endorsements.crl import parse_crl, to_der
from sealserve.endorsements.pck import build_pck_extension, parse_pck_extension
from sealserve.endorsements.qe_identity import parse_qe_identity
from sealserve.endorsements.signed_json import split
from sealserve.endorsements.tcb_info import parse_tcb_info
from sealserve.errors import ConfigError, FormatError, SealServeError, VerificationError
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World
from sealserve.verifier import Claims, load_trust_root, verify

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
WORLD = World.create(now=NOW)
COLLATERAL = WORLD.collateral()
ENCLAVE, DOMAIN = EnclaveIdentity(bytes(32), bytes(32)), TrustDomainIdentity(bytes(48))
QUOTES = {
    "sgx-v3": WORLD.quote(ENCLAVE.report(bytes(64))),
    "sgx-v5": WORLD.quote(ENCLAVE.report(bytes(64)), 5),
    "tdx-v4": WORLD.td_quote(DOMAIN.report(bytes(64)), 4),
    "tdx-v5": WORLD.td_quote(DOMAIN.report_15(bytes(64)), 5),
}
ROOT = load_trust_root(WORLD.root_ca_pem)
TCB_INFO = split(COLLATERAL.tcb_info, "tcbInfo").signed
TDX_TCB_INFO = split(WORLD.collateral("TDX").tcb_info, "tcbInfo").signed
QE_IDENTITY = split(COLLATERAL.qe_identity, "enclaveIdentity").signed
PCK = next(
    extension.value.public_bytes()
    for extension in WORLD.authorities.pck.certificate.extensions
    if extension.oid.dotted_string.startswith("1.2.840.113741")
)
POLICY = b"""
version = 2
trust_root = "intel"
[[identities]]
name = "i"
mr_enclave = ["%s"]
[[rules]]
name = "r"
identities = ["i"]
secret = "s"
[[exceptions]]
name = "e"
reason = "an outage is being repaired"
expires = 2030-01-31
tcb_statuses = ["OutOfDate"]
""" % (b"ab" * 32)


@st.composite
def damaged(draw: st.DrawFn, seed: bytes) -> bytes:
    """`seed` with a few bytes replaced, cut out or put in."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 8)))
        data[start:end] = draw(st.binary(max_size=8))
    return bytes(data)


def read_policy(data: bytes) -> None:
    parse_policy(data.decode("utf-8", "replace"))


PARSERS: dict[str, tuple[Callable[[bytes], object], bytes, type[SealServeError]]] = {
    "pck": (parse_pck_extension, PCK, FormatError),
    "tcb-info": (parse_tcb_info, TCB_INFO, FormatError),
    "tcb-info-tdx": (parse_tcb_info, TDX_TCB_INFO, FormatError),
    "qe-identity": (parse_qe_identity, QE_IDENTITY, FormatError),
    "signed-json": (lambda data: split(data, "tcbInfo"), COLLATERAL.tcb_info, FormatError),
    "crl": (lambda data: parse_crl(to_der(data)), COLLATERAL.pck_crl, FormatError),
    "chain": (parse_chain, COLLATERAL.pck_crl_issuer_chain, FormatError),
    "certificate": (parse_certificate, ROOT.certificate.der, FormatError),
    "trust-root": (load_trust_root, ROOT.certificate.der, VerificationError),
    "one-file": (
        Collateral.from_json,
        b'{"tcb_info": "{}", "tcb_info_signature": "00"}',
        SealServeError,
    ),
    "policy": (read_policy, POLICY, ConfigError),
}


@pytest.mark.parametrize(("parse", "seed", "error"), PARSERS.values(), ids=PARSERS.keys())
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_parser_raises_nothing_but_its_own_error(
    parse: Callable[[bytes], object],
    seed: bytes,
    error: type[SealServeError],
    data: st.DataObject,
) -> None:
    text = data.draw(st.binary(max_size=200) | damaged(seed))
    with suppress(error):
        parse(text)


@pytest.mark.parametrize("form", QUOTES)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_quote_is_rejected_unless_the_damage_is_outside_of_it(
    form: str, data: st.DataObject
) -> None:
    quote = data.draw(damaged(QUOTES[form]))
    try:
        found = verify(quote, collateral_of(form), trust_root=ROOT, now=NOW)
    except VerificationError:
        return
    assert found == claims(form)


@pytest.mark.parametrize("form", ["sgx-v3", "tdx-v5"])
@given(data=st.data(), part=st.sampled_from(sorted(FILE_NAMES)))
@settings(max_examples=150, deadline=None)
def test_damaged_collateral_is_rejected_unless_it_says_the_same(
    form: str, data: st.DataObject, part: str
) -> None:
    good = collateral_of(form)
    changed = replace(good, **{part: data.draw(damaged(getattr(good, part)))})
    try:
        found = verify(QUOTES[form], changed, trust_root=ROOT, now=NOW)
    except VerificationError:
        return
    assert found == claims(form)


def collateral_of(form: str) -> Collateral:
    return WORLD.collateral("TDX" if form.startswith("tdx") else "SGX")


@cache
def claims(form: str) -> Claims:
    return verify(QUOTES[form], collateral_of(form), trust_root=ROOT, now=NOW)


@given(st.binary(max_size=600))
def test_what_is_accepted_as_an_extension_is_built_to_the_same_bytes(data: bytes) -> None:
    try:
        parsed = parse_pck_extension(data)
    except FormatError:
        return
    assert parse_pck_extension(build_pck_extension(parsed)) == parsed
