"""A recording of real pods is held to the simulation of as many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sealserve.cli import main
from sealserve.errors import ConfigError
from sealserve.lab.simulation.recording import compare, parse_recording

ALONE = {"scheduled": 0, "started": 1, "key_asked": 5.0, "key_released": 5.2, "ready": 8}


def pod(number: int, *, late: float) -> dict[str, Any]:
    times = {"scheduled": 0, "started": 1, "key_asked": 5.0 + late, "key_released": 5.3 + late}
    return {"pod": f"server-{number}", **times, "ready": 11}


def recording(**changes: Any) -> dict[str, Any]:
    """Three pods on two cores: what one alone computes takes them half as long again."""
    made = {"node_cpus": 2.0, "alone": ALONE, "pods": [pod(each, late=2.0) for each in range(3)]}
    return {**made, **changes}


def parsed(document: dict[str, Any]) -> Any:
    return parse_recording(json.dumps(document).encode())


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lab", "simulate", *words])
    assert ended.value.code == 0


def test_pods_that_share_cores_are_simulated_from_one_that_was_alone() -> None:
    found = compare(parsed(recording()))
    assert found.told_by == "a pod alone"
    assert found.measured_seconds == 11
    # 1 s to start, 4 s of one core for each of three on two, the key, then the probe's turn.
    assert found.simulated_seconds == pytest.approx(11)
    assert found.ratio == pytest.approx(1)
    stages = {stage.name: stage for stage in found.stages}
    assert stages["until key asked"].simulated == pytest.approx(6)
    assert stages["until key asked"].measured == pytest.approx(6)
    assert stages["key"].simulated == pytest.approx(0.2, abs=0.05)


def test_one_pod_alone_is_simulated_as_it_was() -> None:
    found = compare(parsed(recording(pods=[ALONE | {"listening": 5.9}])))
    stages = {stage.name: stage for stage in found.stages}
    for name in ("until started", "until key asked", "key"):
        assert stages[name].simulated == pytest.approx(stages[name].measured)


def test_without_a_pod_alone_the_shortest_of_each_stage_is_taken_and_it_is_said() -> None:
    assert compare(parsed(recording(alone=None))).told_by == "the shortest of each stage"


def test_whole_seconds_of_kubernetes_may_be_out_of_order_by_one() -> None:
    found = compare(parsed(recording(pods=[ALONE | {"key_asked": 5.9, "key_released": 5.0}])))
    assert found.pods == 1


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (recording(pods=[]), "pods"),
        (recording(node_cpus=0), "node_cpus"),
        (recording(nods=1), "nods"),
        (recording(pods=[ALONE | {"ready": 3}]), "order"),
        (recording(pods=[ALONE | {"ready": float("inf")}]), "ready"),
        (recording(pods=[ALONE | {"ready": "8"}]), "ready"),
        (recording(pods=[{"ready": 8}]), "started"),
        (recording(alone=ALONE | {"scheduled": -1}), "scheduled"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_recording_that_is_none_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parsed(document)


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"\xff", b"null"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_recording(data)


def test_the_command_prints_the_ratio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recording.json"
    path.write_text(json.dumps(recording()))
    run("--recording", str(path), "--json")
    said = json.loads(capsys.readouterr().out)
    assert said["simulated"] is True and said["ratio"] == pytest.approx(1)
    run("--recording", str(path))
    assert "measured over SIMULATED" in capsys.readouterr().out
