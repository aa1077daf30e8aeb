"""Grafana's own schema of dashboards, as its Foundation SDK has it, on the dashboards that we ship.

The SDK reads strictly: a field that is unknown, missing or of another type is an error. It comes
from the Go module proxy, at the version in `grafana_schema/go.mod`, by `go run`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from operating import BOARD
from sealserve.deploy.serving import DASHBOARD, watching_files

SERVING_BOARD = json.loads(watching_files()[DASHBOARD])
CHECKER = Path(__file__).parent / "grafana_schema"
BUILD_SECONDS = 400
CHECK_SECONDS = 30

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(BUILD_SECONDS + CHECK_SECONDS),
    pytest.mark.skipif(shutil.which("go") is None, reason="go is missing"),
]


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("grafana") / "check"
    built = subprocess.run(
        ["go", "build", "-o", program, "."],
        cwd=CHECKER,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if built.returncode and "proxy" in built.stderr:
        pytest.skip("the module of Grafana's schema cannot be had")
    assert built.returncode == 0, built.stderr
    return program


def faults(checker: Path, folder: Path, board: object) -> str:
    path = folder / "dashboard.json"
    path.write_text(json.dumps(board))
    ended = subprocess.run(
        [checker, path], capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
    )
    return ended.stderr


@pytest.mark.parametrize("board", [BOARD, SERVING_BOARD], ids=["keyservice", "serving"])
def test_the_dashboards_follow_grafanas_schema(
    checker: Path, tmp_path: Path, board: object
) -> None:
    assert faults(checker, tmp_path, board) == ""


def test_what_does_not_is_noticed(checker: Path, tmp_path: Path) -> None:
    (first, *others) = BOARD["panels"]
    assert "schemaVersion" in faults(checker, tmp_path, BOARD | {"schemaVersion": "new"})
    odd = BOARD | {"panels": [first | {"titel": "Now"}, *others]}
    assert "titel" in faults(checker, tmp_path, odd)
    assert BOARD["schemaVersion"] == 42  # of Grafana 12, as of the SDK
