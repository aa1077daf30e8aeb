"""`sealserve policy add-measurement` with quotes: of the lab's hardware, and of real machines."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dcap_vectors import Vector, parameters, vectors
from sealserve.appraisal import parse_policy
from sealserve.cli import main
from sealserve.endorsements.collateral import Collateral, Tee
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World
from sealserve.verifier import INTEL_SGX_ROOT_CA, load_trust_root

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MR_TD = b"\xa1\xa2" * 24
RTMRS = (b"\xb0\x1b" * 24, b"\xb1\x1b" * 24, b"\xb2\x1b" * 24, bytes(48))
GUEST = TrustDomainIdentity(MR_TD, RTMRS)
ENCLAVE = EnclaveIdentity(mr_enclave=b"\x01\x02" * 16, mr_signer=b"\x03" * 32)


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(now=NOW)


@pytest.fixture
def policy(tmp_path: Path, world: World) -> Path:
    path = tmp_path / "policy.toml"
    root = load_trust_root(world.root_ca_pem).sha256.hex()
    path.write_text(f'# ours\nversion = 2\ntrust_root = "{root}"  # the lab\n')
    return path


class Lab:
    """The files beside a policy, and the command over them."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        (folder / "root.pem").write_bytes(world.root_ca_pem)

    def add(self, policy: Path, quote: bytes, *options: str, collateral: Any = None) -> int:
        evidence = self.folder / "some.quote"
        evidence.write_bytes(quote)
        tee: Tee = "SGX" if quote[4] == 0 else "TDX"
        folder = write(self.folder / tee, collateral or self.world.collateral(tee))
        root = ("--trust-root", str(self.folder / "root.pem"), "--at", NOW.isoformat())
        return run(policy, evidence, "--collateral", folder, *root, *options)


@pytest.fixture
def lab(tmp_path: Path, world: World) -> Lab:
    return Lab(tmp_path, world)


def write(folder: Path, collateral: Collateral) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in collateral.to_files().items():
        (folder / name).write_bytes(data)
    return folder


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["policy", "add-measurement", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def td_quote(world: World, version: int, identity: TrustDomainIdentity = GUEST) -> bytes:
    report = identity.report(bytes(64)) if version == 4 else identity.report_15(bytes(64))
    return world.td_quote(report, version)


@pytest.mark.parametrize("version", [4, 5])
def test_a_trust_domain_becomes_an_identity_and_the_rest_stays(
    version: int, policy: Path, lab: Lab, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = policy.read_text()
    quote = td_quote(world, version)
    assert lab.add(policy, quote, "--identity", "guest", "--create") == 0
    said = capsys.readouterr()
    assert "the identity 'guest' is new" in said.out
    assert "SIMULATED: the quote verifies; its platform's TCB: UpToDate" in said.err
    text = policy.read_text()
    assert text.startswith(before)
    assert "[[identities]]  # SIMULATED, some.quote, verified 2026-06-01" in text
    (made,) = parse_policy(text).identities
    assert made.tee == "TDX"
    assert (made.mr_td, made.rtmrs) == ((MR_TD,), tuple((value,) for value in RTMRS))


def test_another_kernel_is_one_value_more(policy: Path, lab: Lab, world: World) -> None:
    assert lab.add(policy, td_quote(world, 4), "--identity", "guest", "--create") == 0
    newer = replace(GUEST, rtmrs=(*RTMRS[:3], b"\xb3\x3b" * 24))
    assert lab.add(policy, td_quote(world, 4, newer), "--identity", "guest") == 0
    (made,) = parse_policy(policy.read_text()).identities
    assert made.tee == "TDX"
    assert made.rtmr3 == (bytes(48), b"\xb3\x3b" * 24)


def test_an_enclave_s_quote_is_added_as_its_sigstruct_would_be(
    policy: Path, lab: Lab, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    quote = world.quote(ENCLAVE.report(bytes(64)))
    assert lab.add(policy, quote, "--identity", "server", "--create", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["changed"], said["claims"]["simulated"]) == (True, True)
    (made,) = parse_policy(policy.read_text()).identities
    assert made.tee == "SGX"
    assert made.mr_enclave == (ENCLAVE.mr_enclave,)


@pytest.mark.parametrize("tee", ["SGX", "TDX"])
def test_what_is_under_debug_is_refused(
    tee: str, policy: Path, lab: Lab, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = policy.read_bytes()
    if tee == "SGX":
        quote = world.quote(replace(ENCLAVE, debug=True).report(bytes(64)))
    else:
        quote = td_quote(world, 4, replace(GUEST, debug=True))
    assert lab.add(policy, quote, "--identity", "x", "--create") == 1
    assert "debug" in capsys.readouterr().err
    assert policy.read_bytes() == before


def test_a_simulated_measurement_does_not_enter_a_policy_on_intel_s_root(
    policy: Path, lab: Lab, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text("version = 2\n")
    assert lab.add(policy, td_quote(world, 4), "--identity", "x", "--create") == 1
    assert "SIMULATED" in capsys.readouterr().err
    assert policy.read_text() == "version = 2\n"


def test_a_quote_without_collateral_proves_nothing(
    policy: Path, lab: Lab, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    quote = lab.folder / "td.quote"
    quote.write_bytes(td_quote(world, 4))
    assert run(policy, quote, "--identity", "x", "--create") == 1
    assert "give --collateral" in capsys.readouterr().err


def test_a_forged_quote_is_rejected(policy: Path, lab: Lab, world: World) -> None:
    before = policy.read_bytes()
    forged = bytearray(td_quote(world, 4))
    forged[48 + 136] ^= 1  # in MRTD
    assert lab.add(policy, bytes(forged), "--identity", "x", "--create") == 2
    assert policy.read_bytes() == before


def test_options_of_quotes_are_refused_for_a_sigstruct(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sig = Path(__file__).parents[2] / "data" / "gramine" / "sigstruct" / "sample.sig"
    assert run(policy, sig, "--identity", "x", "--create", "--collateral", "intel") == 1
    assert "are for quotes" in capsys.readouterr().err


def test_nobody_signs_a_trust_domain(
    policy: Path, lab: Lab, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab.add(policy, td_quote(world, 4), "--identity", "x", "--create", "--by-signer") == 1
    assert "--by-signer" in capsys.readouterr().err


REAL = [
    each
    for each in vectors()
    if each.kind == "quote"
    and each.manifest["quote"]["tee"] == "TDX"
    and each.expected["verdict"] == "accept"
    and each.trust_root == INTEL_SGX_ROOT_CA
]


@pytest.mark.parametrize("vector", parameters(REAL))
def test_a_real_guest_s_quote_becomes_an_identity_or_a_reason(
    vector: Vector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, evidence = tmp_path / "policy.toml", tmp_path / "td.quote"
    policy.write_text("version = 2\n")
    evidence.write_bytes(vector.quote)
    folder = write(tmp_path / "collateral", vector.collateral)
    at = vector.now.isoformat()
    words = ("--identity", "guest", "--create", "--collateral", folder, "--at", at)
    code = run(policy, evidence, *words)
    said = capsys.readouterr()
    if code == 0:
        assert parse_policy(policy.read_text()).identities[0].tee == "TDX"
        assert "SIMULATED" not in policy.read_text()
    else:
        assert (code, policy.read_text()) == (1, "version = 2\n")
        assert "would not take this trust domain" in said.err or "debug" in said.err
