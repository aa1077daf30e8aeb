"""`sealserve selftest` in the lab: all nine steps for real; and where there is no hardware."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sealserve.attester.ratls import make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.demo.processes import Service
from sealserve.deploy.sgx.machine import Machine
from sealserve.errors import DeniedError
from sealserve.ports import free_port
from sealserve.selftest import play
from sealserve.selftest.description import CA, describe_service
from sealserve.selftest.report import Outcome
from world_hardware import Hardware

SECONDS = 120
STEPS = [
    "source",
    "quote",
    "certificate",
    "verification",
    "measurement",
    "policy",
    "release",
    "serving",
    "prediction",
]


def selftest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sealserve", "selftest", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def outcomes(report: Any) -> dict[str, str]:
    return {step["name"]: step["outcome"] for step in report["steps"]}


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 10)
def test_every_step_passes_in_the_lab_and_says_that_it_is_simulated(tmp_path: Path) -> None:
    ended = selftest(tmp_path, "--tee", "tdx", "--out", "report.json", "--keep", "kept")
    report = json.loads((tmp_path / "report.json").read_text())
    assert outcomes(report) == dict.fromkeys(STEPS, "passed"), ended.stdout
    assert (ended.returncode, report["holds"], report["simulated"]) == (0, True, True)
    assert all(line.startswith("SIMULATED") for line in ended.stdout.splitlines())
    assert all(step["found"] and step["seconds"] >= 0 for step in report["steps"])
    kept = (tmp_path / "kept" / "owner" / "kek").read_bytes()
    assert kept.hex() not in json.dumps(report)


@pytest.mark.skipif("sgx" in Machine(Path("/")).flags, reason="this machine has SGX")
def test_without_hardware_the_first_step_fails_and_the_rest_is_not_run(tmp_path: Path) -> None:
    ended = selftest(tmp_path, "--hardware", "--tee", "sgx", "--json")
    report = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert not report["simulated"]
    assert outcomes(report) == {"source": "failed", **dict.fromkeys(STEPS[1:], "not run")}
    assert "doctor --sgx" in report["steps"][0]["why"]


def test_a_report_is_written_over_no_file(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("mine")
    ended = selftest(tmp_path, "--out", "report.json")
    assert (ended.returncode, (tmp_path / "report.json").read_text()) == (1, "mine")
    assert "not overwritten" in ended.stderr


class Refused(Hardware):
    """What runs on it asks for the key, and ends when that is refused."""

    def start(self, name: str, words: Sequence[str]) -> Service:
        flag = "--key_service="
        address = next(word.removeprefix(flag) for word in words if word.startswith(flag))
        platform = self.folder.parent / "platform"
        with pytest.raises(DeniedError):
            fetch_secret(address, ca_file=platform / CA, identity=make_certificate(self))
        ending = [sys.executable, "-c", "raise SystemExit(4)"]
        return Service(name, ending, folder=platform, log=platform / "server.log")


@pytest.mark.parametrize(
    ("predicted", "why"),
    [(b"\x09" * 32, "mr_enclave FAILS"), (None, "ended with exit code 4")],
    ids=["denied", "gone"],
)
def test_a_release_that_fails_says_whether_the_policy_was_the_reason(
    predicted: bytes | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "collateral").mkdir()
    hardware = Refused(tmp_path / "collateral", predicted=predicted)
    if predicted is None:
        monkeypatch.setattr(Refused, "start", gone)
    description = describe_service(port=free_port(), key_service_port=free_port())
    report = play(tmp_path, hardware, description, lambda _step: None)
    steps = {step.name: step for step in report.steps}
    assert steps["release"].outcome is Outcome.FAILED
    assert why in steps["release"].why
    assert steps["serving"].outcome is Outcome.NOT_RUN
    assert not report.holds


def gone(self: Refused, name: str, words: Sequence[str]) -> Service:
    """What runs on it ends before it asks."""
    platform = self.folder.parent / "platform"
    ending = [sys.executable, "-c", "raise SystemExit(4)"]
    return Service(name, ending, folder=platform, log=platform / "server.log")
