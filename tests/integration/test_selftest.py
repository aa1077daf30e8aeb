"""`sealserve selftest` in the lab: all nine steps for real; and where there is no hardware."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sealserve.deploy.sgx.machine import Machine

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
