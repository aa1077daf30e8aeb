"""The simulated platform: certificates by Intel's profile, statements, quotes, its folder."""

import hashlib
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from sealserve.endorsements.collateral import Collateral
from sealserve.errors import ConfigError, UsageError
from sealserve.evidence.quote import parse_quote, serialize_quote
from sealserve.lab.faults import FAULTS_BY_NAME, Faults, parse_faults
from sealserve.lab.identity import EnclaveIdentity, create_signing_key, read_mr_signer
from sealserve.lab.world import Authorities, World

NOW = datetime(2026, 5, 4, 12, 30, 15, 999_999, tzinfo=UTC)
ENCLAVE = EnclaveIdentity(b"e" * 32, b"s" * 32, isv_prod_id=2, isv_svn=3)


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(now=NOW)


def test_only_common_names_are_intels_and_everything_else_says_simulated(world: World) -> None:
    authorities = world.authorities
    holders = (authorities.root_ca, authorities.platform_ca, authorities.tcb_signer)
    for holder in (*holders, authorities.pck):
        subject = holder.certificate.subject
        (common_name,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert str(common_name.value).startswith("Intel SGX ")
        rest = [str(name.value) for name in subject if name.oid != NameOID.COMMON_NAME]
        assert rest == ["SealServe Lab (SIMULATED)", "SIMULATED", "SIMULATED", "ZZ"]


def test_the_chain_is_leaf_platform_ca_root_and_each_verifies(world: World) -> None:
    chain = x509.load_pem_x509_certificates(world.authorities.pck_chain)
    assert len(chain) == 3
    for certificate, issuer in zip(chain, [*chain[1:], chain[-1]], strict=True):
        certificate.verify_directly_issued_by(issuer)


def test_cas_sign_certificates_and_leaves_sign_data(world: World) -> None:
    authorities = world.authorities
    for holder, is_ca in (
        (authorities.root_ca, True),
        (authorities.platform_ca, True),
        (authorities.tcb_signer, False),
        (authorities.pck, False),
    ):
        extensions = holder.certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert constraints.critical
        assert usage.critical
        assert constraints.value.ca is is_ca
        assert usage.value.key_cert_sign is usage.value.crl_sign is is_ca
        assert usage.value.digital_signature is not is_ca
        extensions.get_extension_for_class(x509.CRLDistributionPoints)


def test_a_quote_says_what_the_report_says_and_the_platforms_cpusvn(world: World) -> None:
    data = world.quote(ENCLAVE.report(b"r" * 64))
    quote = parse_quote(data)
    assert serialize_quote(quote) == data
    assert (quote.body.mr_enclave, quote.body.mr_signer) == (b"e" * 32, b"s" * 32)
    assert (quote.body.isv_prod_id, quote.body.isv_svn) == (2, 3)
    assert quote.body.report_data == b"r" * 64
    assert not quote.body.debug
    assert quote.body.cpu_svn == quote.qe_report.cpu_svn != bytes(16)


def test_collateral_is_good_for_thirty_days_and_can_be_renewed(world: World) -> None:
    def next_update(of: World) -> datetime:
        text = json.loads(of.collateral().tcb_info)["tcbInfo"]["nextUpdate"]
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

    assert NOW + timedelta(days=29) < next_update(world) < NOW + timedelta(days=30)
    renewed = world.renew(now=NOW + timedelta(days=100))
    assert next_update(renewed) > NOW + timedelta(days=129)
    assert renewed.authorities == world.authorities


def test_dates_are_utc_whatever_the_zone_of_now() -> None:
    zone = datetime(2026, 5, 4, 12, 0, tzinfo=UTC).astimezone().tzinfo
    elsewhere = World.create(now=NOW.astimezone(zone))
    assert b'"issueDate":"2026-05-04T11:30:15Z"' in elsewhere.collateral().tcb_info


def test_a_saved_world_is_the_same_when_loaded(tmp_path: Path) -> None:
    faults = Faults.REVOKED_PCK | Faults.OUTDATED_TCB
    world = World.create(now=NOW, faults=faults)
    world.save(tmp_path / "lab")
    loaded = World.load(tmp_path / "lab")
    assert loaded.faults == faults
    assert loaded.issued == world.issued
    assert loaded.root_ca_pem == world.root_ca_pem == (tmp_path / "lab/root_ca.pem").read_bytes()
    report = ENCLAVE.report(bytes(64))
    signed = [parse_quote(of.quote(report)).signed_bytes for of in (world, loaded)]
    assert signed[0] == signed[1]


def test_the_folder_has_collateral_of_both_tees_now_and_early(tmp_path: Path) -> None:
    world = World.create(now=NOW)
    world.save(tmp_path)
    for name, tee, update in (
        ("collateral", "SGX", "standard"),
        ("tdx-collateral", "TDX", "standard"),
        ("early-collateral", "SGX", "early"),
        ("early-tdx-collateral", "TDX", "early"),
    ):
        files = {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
        assert Collateral.from_files(files) == world.collateral(tee, update)


def test_what_names_a_world_follows_from_its_keys(tmp_path: Path) -> None:
    world, other = World.create(now=NOW), World.create(now=NOW)
    world.save(tmp_path)
    ours, theirs = world.authorities, other.authorities
    loaded = World.load(tmp_path).authorities
    assert loaded.platform_id == ours.platform_id != theirs.platform_id
    assert loaded.qe_mr_signer == ours.qe_mr_signer != theirs.qe_mr_signer
    serials = {
        getattr(authorities, name).certificate.serial_number
        for authorities in (ours, theirs)
        for name in Authorities.__slots__
    }
    assert len(serials) == 8


def test_private_parts_are_the_owners_alone(tmp_path: Path) -> None:
    World.create(now=NOW).save(tmp_path)
    private = tmp_path / "world"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in private.iterdir()} == {0o600}
    keys = [
        file for file in tmp_path.rglob("*") if file.is_file() and b"PRIVATE" in file.read_bytes()
    ]
    assert {file.parent for file in keys} == {private}


def test_a_world_does_not_overwrite_another(tmp_path: Path) -> None:
    World.create(now=NOW).save(tmp_path)
    root = (tmp_path / "root_ca.pem").read_bytes()
    with pytest.raises(UsageError, match="not overwritten"):
        World.create(now=NOW).save(tmp_path)
    assert (tmp_path / "root_ca.pem").read_bytes() == root


def _no_world(folder: Path) -> None:
    (folder / "world" / "world.json").unlink()


def _open_world(folder: Path) -> None:
    (folder / "world" / "pck_key.pem").chmod(0o644)


DAMAGE = {
    "no-world": _no_world,
    "key-for-all-to-read": _open_world,
    "facts-not-json": lambda folder: (folder / "world/world.json").write_text("{"),
    "facts-without-faults": lambda folder: (folder / "world/world.json").write_text("{}"),
    "no-key": lambda folder: (folder / "world/pck_key.pem").write_text("nothing"),
    "no-certificate": lambda folder: (folder / "world/pck.pem").write_text("nothing"),
    "no-collateral": lambda folder: (folder / "collateral/pck.crl").unlink(),
    "no-tdx-collateral": lambda folder: (folder / "tdx-collateral/tcb_info.json").unlink(),
    "no-second-tcb-info": lambda folder: (folder / "early-collateral/tcb_info_v2.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_world_is_not_loaded(tmp_path: Path, damage: str) -> None:
    World.create(now=NOW).save(tmp_path)
    DAMAGE[damage](tmp_path)
    with pytest.raises(ConfigError):
        World.load(tmp_path)


def test_mr_signer_is_the_digest_of_the_little_endian_modulus(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    create_signing_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(key, RSAPrivateKey)
    numbers = key.public_key().public_numbers()
    assert numbers.e == 3
    assert read_mr_signer(file) == hashlib.sha256(numbers.n.to_bytes(384, "little")).digest()


def test_a_key_of_another_kind_signs_no_enclave(tmp_path: Path) -> None:
    World.create(now=NOW).save(tmp_path)
    with pytest.raises(ConfigError, match="RSA-3072"):
        read_mr_signer(tmp_path / "world" / "pck_key.pem")


def test_faults_have_names_and_combine() -> None:
    faults = parse_faults(["expired-collateral", "debug"])
    assert faults.names == ["expired-tcb-info", "expired-qe-identity", "expired-crls", "debug"]
    assert parse_faults(faults.names) == faults
    assert parse_faults([]) == Faults(0)
    assert "revoked-pck" in FAULTS_BY_NAME
    with pytest.raises(UsageError, match="no fault"):
        parse_faults(["revoked"])


def test_of_several_tcb_faults_the_worst_wins() -> None:
    world = World.create(now=NOW, faults=Faults.SW_HARDENING_TCB | Faults.REVOKED_TCB)
    worst = World.create(now=NOW, faults=Faults.REVOKED_TCB)
    report = ENCLAVE.report(bytes(64))
    assert (
        parse_quote(world.quote(report)).body.cpu_svn
        == parse_quote(worst.quote(report)).body.cpu_svn
    )
