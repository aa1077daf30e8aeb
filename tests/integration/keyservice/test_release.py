"""Which enclave gets the secret over real RA-TLS, which does not, and what is on record of it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from key_site import PATIENT
from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.errors import DeniedError, NetworkError
from sealserve.evidence.ratls import (
    DICE_OID,
    MALFORMED_LEGACY_OID,
    PROPER_LEGACY_OID,
    dice_claims,
    dice_extension,
    extract_evidence,
    legacy_report_data,
    spki_der,
)
from sealserve.keyservice import service
from sealserve.lab.faults import Faults
from sealserve.lab.world import World


def fetch(running, identity, **options):
    options = {"ca_file": running.site.ca_file, "timeout": 30, **options}
    return fetch_secret(running.servers, identity=identity, **options)


def refused(running, identity):
    """The record of a request that got no secret."""
    with pytest.raises(DeniedError, match="without a secret"):
        fetch(running, identity)
    (record,) = running.site.records()
    assert record["outcome"] != "released"
    return record


def certificate_with(key, *extensions):
    """A self-signed certificate of `key` with these (OID, value)."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "RATLS")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 12, 31, tzinfo=UTC))
    )
    for oid, value in extensions:
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    signed = builder.sign(key, hashes.SHA256())
    return RatlsIdentity(key, signed.public_bytes(serialization.Encoding.DER), "forged")


@pytest.mark.parametrize("server_key", ["p256", "rsa3072"])
@pytest.mark.parametrize(
    "identity",
    [
        pytest.param({"key_type": "p384", "style": "both"}, id="as Gramine 1.8 and later"),
        pytest.param({"key_type": "p384", "style": "legacy"}, id="as Gramine 1.4 to 1.7"),
        pytest.param({"key_type": "rsa3072", "style": "legacy"}, id="as Gramine to 1.3"),
    ],
)
def test_the_named_enclave_gets_the_secret(make_site, start, server_key, identity):
    site = make_site(server_key=server_key)
    with start(site) as running:
        assert fetch(running, site.identity(**identity)) == site.secret


def test_the_properly_encoded_legacy_oid_is_accepted(running, enclave):
    key = ec.generate_private_key(ec.SECP256R1())
    quote = enclave(running.site.world).quote(legacy_report_data(spki_der(key.public_key())))
    identity = certificate_with(key, (PROPER_LEGACY_OID, quote))
    assert fetch(running, identity) == running.site.secret


def test_a_release_is_on_record_when_the_secret_arrives(running):
    identity = running.site.identity()
    fetch(running, identity)
    (record,) = running.site.records()
    quote = extract_evidence(identity.certificate_der).quote
    assert record["outcome"] == "released"
    assert record["code"] == "policy.allowed"
    assert record["evidence_sha256"] == hashlib.sha256(quote).hexdigest()
    assert record["evidence_sha256"] == identity.evidence_digest
    assert record["claims"]["mr_enclave"] == running.site.report.mr_enclave.hex()
    assert (
        record["policy_sha256"]
        == hashlib.sha256((running.site.folder / "policy.toml").read_bytes()).hexdigest()
    )
    assert record["rule"] == "digits server"
    assert record["secret"] == "digits"
    assert record["asked_for"] == "localhost"
    assert record["peer"].startswith("127.0.0.1:")
    assert record["simulated"] is True
    assert record["explanation"]
    assert running.site.check_log() == 3  # the secret, the policy, the release


def test_the_name_that_was_asked_under_decides_too(site, start):
    site.write_policy(rule='asked_for = ["digits.keys.example"]')
    with start(site) as running:
        record = refused(running, site.identity())
    assert record["code"] == "policy.asked-for"
    assert record["asked_for"] == "localhost"


def test_a_rule_for_old_clients_sends_hex_and_a_nul(site, start):
    site.write_policy(rule='encoding = "hex"')
    with start(site) as running:
        assert fetch(running, site.identity()) == site.secret.hex().encode() + b"\0"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        pytest.param(
            {"mr_enclave": bytes(32)}, "policy.measurement", "mr_enclave FAILS", id="other code"
        ),
        pytest.param(
            {"attributes": bytes.fromhex("0700000000000000e700000000000000")},
            "policy.debug",
            "debug",
            id="debug enclave",
        ),
    ],
)
def test_another_enclave_is_denied_and_the_record_says_why(running, enclave, changes, code, words):
    other = enclave(running.site.world, replace(running.site.report, **changes))
    record = refused(running, make_certificate(other))
    assert (record["outcome"], record["code"]) == ("denied", code)
    assert words in record["explanation"][0]
    assert record["secret"] is None


@pytest.mark.parametrize(
    ("fault", "outcome", "code"),
    [
        pytest.param(Faults.OUTDATED_TCB, "denied", "policy.tcb-status", id="outdated platform"),
        pytest.param(Faults.SW_HARDENING_TCB, "denied", "policy.tcb-status", id="hardening"),
        pytest.param(Faults.REVOKED_PCK, "rejected", None, id="revoked platform"),
        pytest.param(Faults.EXPIRED_CRLS, "rejected", None, id="stale CRLs"),
        pytest.param(Faults.TAMPERED_QUOTE, "rejected", None, id="altered quote"),
    ],
)
def test_a_platform_in_bad_standing_gets_nothing(make_site, start, enclave, fault, outcome, code):
    world = World.create(now=datetime.now(UTC), faults=fault)
    site = make_site(world=world)
    with start(site) as running:
        record = refused(running, make_certificate(enclave(world)))
    assert record["outcome"] == outcome
    assert record["code"] == (code or record["code"])


def test_a_release_by_an_exception_is_on_record_with_its_name(make_site, start, enclave):
    world = World.create(now=datetime.now(UTC), faults=Faults.SW_HARDENING_TCB)
    site = make_site(world=world)
    site.write_policy(
        exception='tcb_statuses = ["SWHardeningNeeded"]\nadvisory_ids = ["INTEL-SA-00615"]\n'
        "dangerously_allow_debug = true"
    )
    with start(site) as running:
        assert fetch(running, make_certificate(enclave(world))) == site.secret
    (record,) = site.records()
    assert record["exceptions"] == ["for a test"]
    assert record["collateral_overdue_seconds"] == 0
    by_exception = [line for line in record["explanation"] if "by exception 'for a test'" in line]
    assert [line.split()[0] for line in by_exception] == ["tcb_status", "advisory_ids"]


def test_a_release_without_an_exception_names_none(running):
    fetch(running, running.site.identity())
    (record,) = running.site.records()
    assert (record["exceptions"], record["collateral_overdue_seconds"]) == ([], 0)


def test_hardware_that_the_trust_root_does_not_vouch_for_is_rejected(running, enclave):
    stranger = World.create(now=datetime.now(UTC))
    record = refused(running, make_certificate(enclave(stranger)))
    assert record["outcome"] == "rejected"
    assert "trust root" in record["explanation"][0]
    assert record["claims"] is None


class TestPoisonTea:
    """A genuine quote, of the very enclave that the policy names, in another key's certificate."""

    def test_in_the_legacy_extension(self, running, enclave):
        victim, thief = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
        quote = enclave(running.site.world).quote(legacy_report_data(spki_der(victim.public_key())))
        record = refused(running, certificate_with(thief, (MALFORMED_LEGACY_OID, quote)))
        assert (record["outcome"], record["code"]) == ("rejected", "binding.report-data")
        assert record["claims"]["mr_enclave"] == running.site.report.mr_enclave.hex()

    def test_and_takes_nothing_from_what_the_build_that_it_names_may_ask(
        self, make_site, start, enclave
    ):
        """Anybody may copy a quote: TLS 1.2 sends certificates in the open."""
        once = "releases_per_second_per_identity = 0.001\nreleases_burst_per_identity = 1"
        with start(make_site(limits=f"{PATIENT}\n{once}")) as running:
            victim, thief = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
            spki = spki_der(victim.public_key())
            quote = enclave(running.site.world).quote(legacy_report_data(spki))
            for _ in range(2):
                with pytest.raises(DeniedError):
                    fetch(running, certificate_with(thief, (MALFORMED_LEGACY_OID, quote)))
            assert fetch(running, running.site.identity()) == running.site.secret
            with pytest.raises(NetworkError):
                fetch(running, running.site.identity())

    def test_and_is_on_record_no_faster_than_strangers_together_may_be(
        self, make_site, start, enclave
    ):
        once = "rejections_per_second = 0.001\nrejections_burst = 1"
        with start(make_site(limits=f"{PATIENT}\n{once}")) as running:
            victim, thief = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
            spki = spki_der(victim.public_key())
            quote = enclave(running.site.world).quote(legacy_report_data(spki))
            stolen = certificate_with(thief, (MALFORMED_LEGACY_OID, quote))
            with pytest.raises(DeniedError):
                fetch(running, stolen)
            with pytest.raises(NetworkError):
                fetch(running, stolen)
            assert fetch(running, running.site.identity()) == running.site.secret
            outcomes = [record["outcome"] for record in running.site.records()]
            assert outcomes == ["rejected", "released"]

    def test_in_the_standard_extension_with_its_own_claims(self, running):
        victim = extract_evidence(running.site.identity().certificate_der)
        thief = ec.generate_private_key(ec.SECP384R1())
        stolen = dice_extension(victim.quote, victim.claims)
        record = refused(running, certificate_with(thief, (DICE_OID, stolen)))
        assert (record["outcome"], record["code"]) == ("rejected", "binding.public-key")

    def test_in_the_standard_extension_with_claims_of_the_thief(self, running):
        victim = extract_evidence(running.site.identity().certificate_der)
        thief = ec.generate_private_key(ec.SECP384R1())
        claims = dice_claims(spki_der(thief.public_key()))
        forged = certificate_with(thief, (DICE_OID, dice_extension(victim.quote, claims)))
        record = refused(running, forged)
        assert (record["outcome"], record["code"]) == ("rejected", "binding.report-data")

    def test_the_legacy_extension_does_not_excuse_a_wrong_standard_one(self, running, enclave):
        victim = extract_evidence(running.site.identity().certificate_der)
        key = ec.generate_private_key(ec.SECP384R1())
        spki = spki_der(key.public_key())
        good = enclave(running.site.world).quote(legacy_report_data(spki))
        forged = certificate_with(
            key,
            (MALFORMED_LEGACY_OID, good),
            (DICE_OID, dice_extension(victim.quote, dice_claims(spki))),
        )
        assert refused(running, forged)["code"] == "binding.report-data"


def test_a_self_signed_certificate_without_evidence_is_rejected(running):
    record = refused(running, certificate_with(ec.generate_private_key(ec.SECP384R1())))
    assert (record["outcome"], record["code"]) == ("rejected", "ratls.no-evidence")
    assert record["evidence_sha256"] is None


def test_without_a_record_there_is_no_secret(running, caplog):
    """A trigger takes the place of a disk that fails: the database refuses the record itself."""
    with contextlib.closing(sqlite3.connect(running.site.folder / "keyservice.db")) as database:
        database.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON records"
            " BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
        for _ in range(2):
            with pytest.raises(NetworkError) as caught:  # and no DeniedError: it may try again
                fetch(running, running.site.identity())
            assert caught.value.code == "tls"
        assert "event=records_refused" in caplog.text
        assert running.site.records() == []
        database.execute("DROP TRIGGER broken")
    assert fetch(running, running.site.identity()) == running.site.secret
    assert running.site.check_log() == 3


def test_a_fault_of_the_service_itself_is_a_decision_on_record_and_releases_nothing(
    running, monkeypatch, caplog
):
    def fault(certificate):
        raise KeyError("what a peer wrote\nevent=decision outcome=released")

    with monkeypatch.context() as broken:
        broken.setattr(service, "evidence_of_peer", fault)
        with pytest.raises(NetworkError):  # and no DeniedError: nothing was decided
            fetch(running, running.site.identity())
    (record,) = running.site.records()
    assert (record["outcome"], record["code"]) == ("failed", "fault")
    assert record["explanation"] == ["a fault of the key service: KeyError"]
    assert "event=decision_fault" in caplog.text
    assert fetch(running, running.site.identity()) == running.site.secret


def test_without_collateral_there_is_no_secret_until_it_is_back(running):
    file = running.site.folder / "lab" / "collateral" / "pck.crl"
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(NetworkError) as caught:  # and no DeniedError: it may try again
        fetch(running, running.site.identity())
    assert caught.value.code == "tls"
    (record,) = running.site.records()
    assert (record["outcome"], record["code"]) == ("failed", "collateral")
    file.write_bytes(content)
    assert fetch(running, running.site.identity()) == running.site.secret


def test_many_enclaves_at_once_are_all_served(running):
    identity = running.site.identity()
    with ThreadPoolExecutor(16) as pool:
        secrets = list(pool.map(lambda _: fetch(running, identity), range(48)))
    assert secrets == [running.site.secret] * 48
    assert len(running.site.records()) == 48
    assert running.site.check_log() == 50


def test_the_secret_shows_nowhere_but_at_the_client(running, caplog, capfd):
    """Nor in the database, sealed as it is there, or in anything beside it."""
    caplog.set_level("DEBUG")
    fetch(running, running.site.identity())
    secret = running.site.secret
    written = caplog.text + "".join(capfd.readouterr())
    kept = {path: path.read_bytes() for path in running.site.folder.rglob("*") if path.is_file()}
    assert {"keyservice.db", "keyservice.db-wal", "checkpoint"} <= {path.name for path in kept}
    assert "event=decision outcome=released" in written
    for form in (secret.hex(), repr(secret)[2:-1]):
        assert form not in written
    for form in (secret, secret.hex().encode(), base64.b64encode(secret)):
        assert not [path for path, content in kept.items() if form in content]
