"""What the verifier says of evidence that holds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealserve.evidence.quote import parse_quote, serialize_quote
from sealserve.lab.faults import NO_FAULTS, Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.statements import raw_signature
from sealserve.lab.world import World
from sealserve.verifier import (
    INTEL_SGX_ROOT_CA,
    INTEL_SGX_ROOT_CA_SHA256,
    Claims,
    Platform,
    TcbStatus,
    load_trust_root,
    platform_of,
    verify,
    verify_collateral,
    verify_quote,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENCLAVE = EnclaveIdentity(mr_enclave=b"\x01" * 32, mr_signer=b"\x02" * 32, isv_prod_id=3, isv_svn=4)
REPORT_DATA = bytes(range(64))
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(now=NOW)


def claims_of(world: World, enclave: EnclaveIdentity = ENCLAVE) -> Claims:
    quote = world.quote(enclave.report(REPORT_DATA))
    return verify(quote, world.collateral(), trust_root=world.root_ca_pem, now=NOW)


def test_the_claims_are_the_enclaves_the_platforms_and_the_roots(world: World) -> None:
    claims = claims_of(world)
    assert (claims.target.tee, claims.standing.quote_version) == ("SGX", 3)
    assert (claims.target.mr_enclave, claims.target.mr_signer) == (b"\x01" * 32, b"\x02" * 32)
    assert (claims.target.isv_prod_id, claims.target.isv_svn, claims.target.debug) == (3, 4, False)
    assert claims.report_data == REPORT_DATA
    assert claims.standing.tcb_status is TcbStatus.UP_TO_DATE
    assert claims.standing.advisory_ids == ()
    assert claims.standing.tcb_evaluation_data_number == 17
    assert claims.verified_at == NOW
    assert claims.standing.fmspc.hex() == "53494d000000"
    root = x509.load_pem_x509_certificate(world.root_ca_pem).public_bytes(Encoding.DER)
    assert claims.standing.trust_root_sha256 == hashlib.sha256(root).digest()
    assert claims.simulated


def test_a_debug_enclave_is_verified_and_said_to_be_one(world: World) -> None:
    assert claims_of(world, replace(ENCLAVE, debug=True)).target.debug


def test_the_collaterals_dates_are_those_of_its_shortest_part(world: World) -> None:
    claims = claims_of(world)
    assert claims.standing.collateral_valid_from == NOW - timedelta(hours=1)
    assert claims.standing.collateral_valid_until == NOW - timedelta(hours=1) + timedelta(days=30)


def test_collateral_is_good_from_its_latest_to_its_earliest_date(world: World) -> None:
    later = NOW + timedelta(days=1)
    mixed = replace(world.collateral(), tcb_info=world.renew(now=later).collateral().tcb_info)
    verified = verify_collateral(mixed, world.root_ca_pem, later)
    assert verified.valid_from == later - timedelta(hours=1)
    assert verified.valid_until == NOW - timedelta(hours=1) + timedelta(days=30)


@pytest.mark.parametrize(
    ("faults", "status", "platform", "qe", "advisories"),
    [
        pytest.param(NO_FAULTS, "UpToDate", "UpToDate", "UpToDate", (), id="good"),
        pytest.param(
            Faults.SW_HARDENING_TCB,
            "SWHardeningNeeded",
            "SWHardeningNeeded",
            "UpToDate",
            ("INTEL-SA-00615",),
            id="hardening",
        ),
        pytest.param(
            Faults.OUTDATED_TCB,
            "OutOfDate",
            "OutOfDate",
            "UpToDate",
            ("INTEL-SA-00615", "INTEL-SA-00960"),
            id="outdated",
        ),
        pytest.param(
            Faults.OUTDATED_QE,
            "OutOfDate",
            "UpToDate",
            "OutOfDate",
            ("INTEL-SA-00615",),
            id="outdated-qe",
        ),
        pytest.param(
            Faults.OUTDATED_TCB | Faults.OUTDATED_QE,
            "OutOfDate",
            "OutOfDate",
            "OutOfDate",
            ("INTEL-SA-00615", "INTEL-SA-00960"),
            id="both-outdated",
        ),
    ],
)
def test_the_status_is_merged_and_every_contributing_level_keeps_its_advisories(
    faults: Faults, status: str, platform: str, qe: str, advisories: tuple[str, ...]
) -> None:
    claims = claims_of(World.create(now=NOW, faults=faults))
    assert claims.standing.tcb_status == status
    assert (claims.standing.platform_tcb_status, claims.standing.qe_tcb_status) == (platform, qe)
    assert claims.standing.advisory_ids == advisories


@pytest.mark.parametrize("version", [3, 4, 5])
def test_an_enclave_is_the_same_in_a_quote_of_any_version(world: World, version: int) -> None:
    quote = world.quote(ENCLAVE.report(REPORT_DATA), version)
    claims = verify(quote, world.collateral(), trust_root=world.root_ca_pem, now=NOW)
    assert claims.target == claims_of(world).target
    assert claims.standing == replace(claims_of(world).standing, quote_version=version)


def test_collateral_verified_once_gives_the_same_claims(world: World) -> None:
    verified = verify_collateral(world.collateral(), world.root_ca_pem, NOW)
    quote = world.quote(ENCLAVE.report(REPORT_DATA))
    apart = verify_quote(quote, verified, NOW)
    assert apart == verify(quote, world.collateral(), trust_root=world.root_ca_pem, now=NOW)


def test_the_platform_tells_which_collateral_a_quote_needs(world: World) -> None:
    quote = world.quote(ENCLAVE.report(REPORT_DATA))
    platform = platform_of(quote, world.root_ca_pem, NOW)
    assert platform == Platform("SGX", bytes.fromhex("53494d000000"), "platform")


@pytest.mark.parametrize("length", [0, 1, 32, 64, 1000])
def test_qe_authentication_data_may_have_any_length(world: World, length: int) -> None:
    quote = parse_quote(world.quote(ENCLAVE.report(REPORT_DATA)))
    auth_data = b"\xaa" * length
    bound = sha256(quote.attestation_key + auth_data).digest() + bytes(32)
    report = replace(quote.qe_report, report_data=bound)
    signature = raw_signature(world.authorities.pck.key, report.serialize())
    changed = replace(
        quote, qe_auth_data=auth_data, qe_report=report, qe_report_signature=signature
    )
    assert verify(
        serialize_quote(changed), world.collateral(), trust_root=world.root_ca_pem, now=NOW
    )


@pytest.mark.parametrize(
    "arrange",
    [
        pytest.param(lambda chain: chain + b"\0", id="nul-at-the-end"),
        pytest.param(lambda chain: chain.replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(
            lambda chain: b"".join(
                block + b"-----END CERTIFICATE-----\n"
                for block in reversed(chain.split(b"-----END CERTIFICATE-----\n")[:-1])
            ),
            id="root-first",
        ),
    ],
)
def test_the_chain_may_be_written_in_other_ways(world: World, arrange: object) -> None:
    quote = parse_quote(world.quote(ENCLAVE.report(REPORT_DATA)))
    changed = replace(quote, certification_data=arrange(quote.certification_data))
    assert verify(
        serialize_quote(changed), world.collateral(), trust_root=world.root_ca_pem, now=NOW
    )


def test_bytes_after_the_quote_mean_nothing(world: World) -> None:
    quote = world.quote(ENCLAVE.report(REPORT_DATA))
    padded = verify(quote + bytes(100), world.collateral(), trust_root=world.root_ca_pem, now=NOW)
    assert padded.target == claims_of(world).target


def test_dates_are_good_at_both_ends(world: World) -> None:
    quote = world.quote(ENCLAVE.report(REPORT_DATA))
    standing = claims_of(world).standing
    first, last = standing.collateral_valid_from, standing.collateral_valid_until
    for now in (first, last):
        assert verify(quote, world.collateral(), trust_root=world.root_ca_pem, now=now)


def test_claims_are_plain_json(world: World) -> None:
    claims = claims_of(world)
    shown = json.loads(json.dumps(claims.as_dict()))
    named = {field.name for half in (claims.target, claims.standing) for field in fields(half)}
    assert set(shown) == named | {"verifier", "tee", "debug", "verified_at"}
    assert shown["mr_enclave"] == "01" * 32
    assert shown["revocation_checked"] is True
    assert shown["tcb_status"] == "UpToDate"
    assert shown["verified_at"] == "2026-06-01T12:00:00+00:00"


def test_intels_root_is_known_by_its_fingerprint() -> None:
    root = load_trust_root(INTEL_SGX_ROOT_CA)
    assert root.sha256 == INTEL_SGX_ROOT_CA_SHA256
    assert not root.simulated


def test_a_root_may_be_pem_or_der(world: World) -> None:
    der = x509.load_pem_x509_certificate(world.root_ca_pem).public_bytes(Encoding.DER)
    assert load_trust_root(der) == load_trust_root(world.root_ca_pem)
