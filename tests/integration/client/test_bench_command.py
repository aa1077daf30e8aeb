"""`sealserve bench` as a user runs it: on a server that answers as told, and on the real one."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from sealserve.cli import main
from served_site import Site

NAME = "models.example.com"
BRIEF = ("--warm-up", "0")

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `sealserve bench` in this process; returns code, out, err and found (with --as-json)."""

    def run(*words: str) -> SimpleNamespace:
        with pytest.raises(SystemExit) as ended:
            main(["bench", *words])
        captured = capsys.readouterr()
        found = json.loads(captured.out) if "--as-json" in words else None
        return SimpleNamespace(
            code=ended.value.code, out=captured.out, err=captured.err, found=found
        )

    return run


@pytest.fixture
def target(start_replica: Any, client_files: dict[str, Path]) -> list[str]:
    """The words that name a replica and an input."""
    return [*towards(start_replica().address, client_files), "--model", "double"]


def towards(address: str, files: dict[str, Path]) -> list[str]:
    return [
        *("--target", address, "--server-name", NAME, "--ca", str(files["ca"])),
        *("--cert", str(files["certificate"]), "--key", str(files["private_key"])),
        *("--random", "1,4,4,1", *BRIEF),
    ]


def of_the_site(site: Site, *, rest: bool = False) -> list[str]:
    tls = site.folder / "tls"
    return [
        *("--target", site.rest if rest else site.grpc, "--ca", f"{tls}/ca_cert.pem"),
        *("--cert", f"{tls}/client/cert.pem", "--key", f"{tls}/client/key.pem"),
        *("--model", "digits", *BRIEF, "--as-json"),
    ]


def test_a_run_says_what_was_measured_and_how(run: Run, target: list[str]) -> None:
    done = run(*target, "--concurrency", "2", "--requests", "20")
    assert done.code == 0
    for words in (
        "loop              closed",
        "load              2 clients",
        "tls               mutual",
        "protocol          grpc",
        "request bytes",
        "20 in",
        "answers per second",
        "latency p99.9",
        "errors              none",
    ):
        assert words in done.out


def test_a_run_as_json_is_one_object(run: Run, target: list[str]) -> None:
    words = ["--rate", "100", "--duration", "0.5", "--arrivals", "poisson", "--as-json"]
    found = run(*target, *words).found
    measured = found["measured"]
    assert (measured["loop"], measured["arrivals"]) == ("open", "poisson")
    assert measured["load"] == "100 requests per second"
    assert found["answered"] == found["requests"] > 0
    assert found["errors"] == {}
    assert sum(row["answered"] for row in found["course"]) == found["answered"]
    times = [found["latency_seconds"][name] for name in ("p50", "p90", "p99", "p99.9", "max")]
    assert times == sorted(times)
    assert found["sent_late_seconds"]["max"] >= 0


def test_a_ramp_is_a_table_of_steps(run: Run, target: list[str]) -> None:
    done = run(*target, "--ramp", "20:60:3", "--duration", "1.2")
    assert done.code == 0
    loads = [line.split()[0] for line in done.out.split("answers/s")[1].splitlines()[1:]]
    assert loads == ["20", "40", "60"]
    grown = run(*target, "--ramp-concurrency", "1:3:3", "--duration", "0.6", "--as-json").found
    assert [step["load"] for step in grown["steps"]] == [1, 2, 3]


def test_errors_are_told_by_code_and_by_the_exit_code(
    run: Run, start_replica: Any, client_files: dict[str, Path]
) -> None:
    replica = start_replica()
    replica.fails_from = 1 + 5 + 2
    words = [*towards(replica.address, client_files), "--model", "double", "--concurrency", "1"]
    done = run(*words, "--requests", "6")
    assert done.code == 3
    assert "4 serving.internal" in done.out


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        pytest.param(["max=60s", "errors=0%"], 0, id="kept"),
        pytest.param(["max=60s", "p50=0.001us"], 4, id="one of two exceeded"),
    ],
)
def test_a_limit_that_is_exceeded_is_an_exit_code(
    limits: list[str], code: int, run: Run, target: list[str]
) -> None:
    words = [word for limit in limits for word in ("--fail-above", limit)]
    done = run(*target, "--requests", "20", *words)
    assert done.code == code
    assert ("EXCEEDED" in done.out) is (code == 4)


def test_the_course_and_the_pictures_are_files(run: Run, target: list[str], tmp_path: Path) -> None:
    files = {kind: tmp_path / f"load.{kind}" for kind in ("csv", "svg", "png")}
    words = ["--csv", str(files["csv"]), "--plot", str(files["svg"]), "--plot", str(files["png"])]
    assert run(*target, "--duration", "0.4", *words).code == 0
    rows = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert len(rows) >= 4
    assert sum(int(row["answered"]) for row in rows) > 0
    assert ElementTree.parse(files["svg"]).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    with Image.open(files["png"]) as image:
        assert image.format == "PNG"
        assert image.getpixel((0, 0)) == (255, 255, 255)


def test_several_processes_run_from_the_command_line(target: list[str]) -> None:
    words = ["--requests", "40", "--processes", "2", "--as-json"]
    done = subprocess.run(
        [sys.executable, "-m", "sealserve", "bench", *target, *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert (found["answered"], found["measured"]["processes"]) == (40, 2)


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        pytest.param(["--rate", "1", "--concurrency", "1"], 1, "is the load", id="two loads"),
        pytest.param(["--requests", "1", "--duration", "1"], 1, "not both", id="two ends"),
        pytest.param(["--ramp", "1:2"], 1, "FROM:TO:STEPS", id="no ramp"),
        pytest.param(["--ramp", "1:2:1000"], 1, "1000 steps", id="too many steps"),
        pytest.param(["--ramp", "-1:nan:3"], 1, "a load of", id="a ramp of nonsense"),
        pytest.param(["--ramp", "1:2:2", "--requests", "9"], 1, "no steps", id="a counted ramp"),
        pytest.param(["--fail-above", "p99"], 1, "is no limit", id="no limit"),
        pytest.param(["--csv", "absent/load.csv"], 1, "no folder", id="no place for the course"),
        pytest.param(["--plot", "load.pdf"], 1, ".svg or .png", id="no picture"),
        pytest.param(["--processes", "9"], 1, "share", id="more processes than clients"),
        pytest.param(["--target", "127.0.0.1:1"], 3, "nothing listens", id="down"),
        pytest.param(["--server-name", "other.example.com"], 3, "name-mismatch", id="another name"),
        pytest.param(["--model", "fails-NOT_FOUND"], 3, "NOT_FOUND", id="unknown model"),
        pytest.param(
            ["--target", "127.0.0.1:1", "--protocol", "rest"], 3, "refused", id="REST down"
        ),
        pytest.param(["--protocol", "rest"], 3, "before the measurement", id="no REST there"),
        pytest.param(
            ["--protocol", "v2-rest", "--signature", "x"], 1, "no signatures", id="v2 signature"
        ),
    ],
)
def test_each_family_of_failure_has_its_exit_code_and_says_why(
    changed: list[str], code: int, said: str, run: Run, target: list[str]
) -> None:
    done = run(*target, *changed)
    assert (done.code, said in done.err) == (code, True), done.err


@pytest.mark.parametrize("protocol", ["grpc", "rest", "v2-grpc", "v2-rest"])
def test_the_real_server_is_measured_over_every_protocol(
    protocol: str, run: Run, site: Site
) -> None:
    words = of_the_site(site, rest=protocol.endswith("rest"))
    done = run(*words, "--protocol", protocol, "--random", "1,8,8,1", "--requests", "40")
    assert done.code == 0, done.out
    assert (done.found["answered"], done.found["errors"]) == (40, {})


def test_inputs_are_those_of_predict(run: Run, site: Site, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8, 1), np.float32))
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    (tmp_path / "x.json").write_text(json.dumps({"instances": np.zeros((1, 8, 8, 1)).tolist()}))
    for rest, given in (
        (False, ("--npy", "x.npy")),
        (False, ("--image", "x.png")),
        (False, ("--json", "x.json")),
        (True, ("--npy", "x.npy")),
        (True, ("--json", "x.json")),
    ):
        protocol = ("--protocol", "rest") if rest else ()
        words = [*of_the_site(site, rest=rest), *protocol, given[0], str(tmp_path / given[1])]
        done = run(*words, "--requests", "8")
        assert (done.code, done.found["answered"]) == (0, 8), given
    image = ["--protocol", "rest", "--image", str(tmp_path / "x.png")]
    refused = run(*of_the_site(site, rest=True), *image)
    assert "asked for over gRPC" in refused.found["error"]["message"]


def test_an_overloaded_server_is_measured_to_the_end(run: Run, site: Site) -> None:
    words = ["--random", "64,8,8,1", "--rate", "20000", "--duration", "0.5"]
    done = run(*of_the_site(site), *words, "--max-in-flight", "64")
    found = done.found
    assert done.code == 3
    assert found["requests"] + found["unsent"] == 10_000
    assert found["unsent"] > 0
    assert found["answered"] > 0


def test_the_real_server_is_measured_in_an_open_loop_over_rest(run: Run, site: Site) -> None:
    words = ["--protocol", "rest", "--random", "1,8,8,1", "--rate", "40", "--duration", "0.5"]
    done = run(*of_the_site(site, rest=True), *words, "--connections", "4", "--processes", "2")
    assert done.found["answered"] + done.found["unsent"] == 20
    assert done.found["errors"] == {}
