"""The evidence's steps on hardware that is right, and on hardware that is wrong in one way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sealserve.appraisal import parse_policy
from sealserve.attester.ratls import make_certificate
from sealserve.demo.processes import Service
from sealserve.endorsements.collateral import Tee
from sealserve.errors import SourceError, UsageError
from sealserve.lab.faults import NO_FAULTS, Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World
from sealserve.selftest.evidence import evidence_tasks
from sealserve.selftest.facts import platform_facts
from sealserve.selftest.platform import Site
from sealserve.selftest.policy import policy_text
from sealserve.selftest.report import Outcome, Step
from sealserve.selftest.running import run_tasks
from sealserve.verifier.claims import Target
from sealserve.verifier.target import target_of

ENCLAVE = EnclaveIdentity(mr_enclave=b"\x01" * 32, mr_signer=b"\x02" * 32, isv_svn=3)
GUEST = TrustDomainIdentity(b"\x04" * 48, (b"\x05" * 48, b"\x06" * 48, b"\x07" * 48, bytes(48)))


@dataclass
class Hardware:
    """A platform of the lab's world in this process, and how it misbehaves."""

    folder: Path
    tee: Tee = "SGX"
    faults: Faults = NO_FAULTS
    debug: bool = False
    predicted: bytes | None = None
    answers: bool = True
    stolen: bool = False
    unpredicted: bool = False
    title: str = "the world"
    simulated: bool = True
    source: str = "lab:nowhere"
    ready_seconds: float = 1.0
    collateral_ca: Path | None = None
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.world = World.create(now=datetime.now(UTC), faults=self.faults)
        for name, data in self.world.collateral(self.tee).to_files().items():
            (self.folder / name).write_bytes(data)

    @property
    def collateral(self) -> str:
        return str(self.folder)

    def trust_root(self) -> bytes:
        return self.world.root_ca_pem

    def find(self, site: Site) -> str:
        if not self.answers:
            raise SourceError("there is none", hint="buy one")
        return "a world"

    def quote(self, report_data: bytes) -> bytes:
        if self.tee == "SGX":
            return self.world.quote(replace(ENCLAVE, debug=self.debug).report(report_data))
        return self.world.td_quote(replace(GUEST, debug=self.debug).report(report_data))

    def run(self, words: Sequence[str], line: str) -> str:
        challenge = bytes(64) if self.stolen else bytes.fromhex(line)
        facts = {
            "quote": self.quote(challenge).hex(),
            "certificate": make_certificate(self).certificate_der.hex(),
        }
        return f"the loader says something\n{json.dumps(facts)}\n"

    def predict(self, words: Sequence[str]) -> Target | None:
        if self.unpredicted:
            return None
        if self.tee == "TDX":
            return target_of(GUEST.report(bytes(64)))
        measured = self.predicted or ENCLAVE.mr_enclave
        return target_of(replace(ENCLAVE, mr_enclave=measured).report(bytes(64)))

    def start(self, name: str, words: Sequence[str]) -> Service:
        raise AssertionError("the first six steps start nothing")

    def close(self) -> None:
        """Nothing runs."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "collateral").mkdir()
    return tmp_path / "collateral"


def tried(hardware: Hardware) -> tuple[dict[str, Step], dict[str, Any]]:
    found, tasks = evidence_tasks(hardware, Site(hardware.folder, hardware.folder))
    steps = run_tasks(tasks, lambda _step: None)
    return {step.name: step for step in steps}, platform_facts(found)


@pytest.mark.parametrize("tee", ["SGX", "TDX"])
def test_all_passes_on_hardware_that_is_right(tee: Tee, folder: Path) -> None:
    steps, facts = tried(Hardware(folder, tee))
    assert {name: step.outcome for name, step in steps.items() if step.why} == {}
    assert tee in steps["quote"].found
    assert "a root of the lab's own, TCB UpToDate" in steps["verification"].found
    assert (facts["tcb_status"], facts["fmspc"]) == ("UpToDate", "53494d000000")
    assert facts["sgx_type"] == "scalable with integrity"


def test_a_report_tells_no_machine_from_another(folder: Path) -> None:
    hardware = Hardware(folder)
    steps, facts = tried(hardware)
    claims = json.dumps([facts, [step.found for step in steps.values()]])
    extensions = hardware.world.authorities.platform_id.hex()
    assert extensions not in claims
    assert not {"ppid", "platform_instance_id", "quote", "certificate"} & set(facts)


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no hardware": ({"answers": False}, "source", "there is none"),
    "a quote over other bytes": ({"stolen": True}, "quote", "other bytes"),
    "a tampered quote": ({"faults": Faults.TAMPERED_QUOTE}, "verification", "QUOTE_SIGNATURE"),
    "a revoked platform": ({"faults": Faults.REVOKED_PCK}, "verification", "revoked"),
    "another measurement": ({"predicted": b"\x09" * 32}, "measurement", "predicted was 0909"),
    "a debug enclave": ({"debug": True}, "policy", "debug"),
    "a debug guest": ({"tee": "TDX", "debug": True}, "policy", "debug"),
}


@pytest.mark.parametrize(("how", "step", "says"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_fails_the_step_that_it_is_about(
    how: dict[str, Any], step: str, says: str, folder: Path
) -> None:
    steps, _ = tried(Hardware(folder, **how))
    failed = [name for name, each in steps.items() if each.outcome is Outcome.FAILED]
    assert step in failed
    assert set(failed) <= {step, "measurement"}  # debug is part of what was predicted
    assert says in steps[step].why


def test_an_outdated_platform_passes_by_an_exception_that_is_told(folder: Path) -> None:
    steps, facts = tried(Hardware(folder, faults=Faults.OUTDATED_TCB))
    assert steps["policy"].outcome is Outcome.PASSED
    assert "by an exception for this platform's TCB" in steps["policy"].found
    assert facts["tcb_status"] == "OutOfDate"


def test_where_nothing_predicts_a_measurement_the_step_does_not_apply(folder: Path) -> None:
    steps, _ = tried(Hardware(folder, "TDX", unpredicted=True))
    assert steps["measurement"].outcome is Outcome.NOT_RUN
    assert not steps["measurement"].applies
    assert steps["policy"].outcome is Outcome.PASSED


def test_a_policy_mixes_no_roots_and_names_nothing_under_debug(folder: Path) -> None:
    hardware = Hardware(folder)
    found, tasks = evidence_tasks(hardware, Site(folder, folder))
    run_tasks(tasks, lambda _step: None)
    claims = found.verified
    assert parse_policy(policy_text(claims.target, claims, simulated=True)).trust_root is not None
    with pytest.raises(UsageError):
        policy_text(claims.target, claims, simulated=False)
    with pytest.raises(UsageError):
        debug = target_of(replace(ENCLAVE, debug=True).report(bytes(64)))
        policy_text(debug, claims, simulated=True)
