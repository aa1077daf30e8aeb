"""The evidence's steps on hardware that is right, and on hardware that is wrong in one way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sealserve.appraisal import parse_policy
from sealserve.endorsements.collateral import Tee
from sealserve.errors import UsageError
from sealserve.lab.faults import Faults
from sealserve.selftest.evidence import evidence_tasks
from sealserve.selftest.facts import platform_facts
from sealserve.selftest.platform import Site
from sealserve.selftest.policy import policy_text
from sealserve.selftest.report import Outcome, Step
from sealserve.selftest.running import run_tasks
from sealserve.verifier.target import target_of
from world_hardware import ENCLAVE, Hardware


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
