"""`sealserve tls` and `sealserve predict` as a user runs them, over real TLS."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sealserve.cli import main

NAME = "models.example.com"
GUIDE = "{'outputs': {'predict': {'dtype': 'DT_FLOAT', 'tensorShape':"

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process; returns code, out and err."""

    def run(*words: str) -> SimpleNamespace:
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=captured.out, err=captured.err)

    return run


@pytest.fixture
def target(start_replica: Any, client_files: dict[str, Path]) -> list[str]:
    """The words of `sealserve predict` towards a replica, but for the input."""
    return [*_towards(start_replica().address, client_files), "--model", "double"]


def _towards(address: str, files: dict[str, Path]) -> list[str]:
    return [
        *("predict", "--target", address, "--server-name", NAME, "--ca", str(files["ca"])),
        *("--cert", str(files["certificate"]), "--key", str(files["private_key"])),
    ]


def test_the_answer_is_printed_in_the_form_of_the_guide(run: Run, target: list[str]) -> None:
    done = run(*target, "--random", "1,4,4,1")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(GUIDE)
    assert done.out.count("\n") == 1


@pytest.mark.parametrize("mode", ["oneway", "twoway"])
def test_the_folder_that_tls_makes_serves_and_is_called_as_the_guide_says(
    mode: str, run: Run, start_replica: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "ssl"
    client = ["client.example.com"] if mode == "twoway" else []
    assert run("tls", mode, NAME, *client, "--out", str(folder)).code == 0
    server = SimpleNamespace(
        certificate_pem=(folder / "server/cert.pem").read_bytes(),
        key_pem=(folder / "server/key.pem").read_bytes(),
    )
    if mode == "oneway":
        replica = start_replica(server, mutual=False)
        words = ["--ca", f"{folder}/server/cert.pem"]
    else:
        replica = start_replica(server, client_ca=(folder / "ca_cert.pem").read_bytes())
        words = ["--ca", f"{folder}/ca_cert.pem"]
        words += ["--cert", f"{folder}/client/cert.pem", "--key", f"{folder}/client/key.pem"]
    words += ["--target", replica.address, "--server-name", NAME, "--model", "double"]
    done = run("predict", *words, "--random", "1,4,4,1")
    assert (done.code, done.out[: len(GUIDE)]) == (0, GUIDE)


def test_tls_says_what_it_made_as_json(run: Run, tmp_path: Path) -> None:
    done = run("tls", "oneway", NAME, "--out", str(tmp_path / "ssl"), "--json")
    facts = json.loads(done.out)
    assert facts["folder"] == str(tmp_path / "ssl")
    assert all(Path(file).is_file() for file in facts["files"])


def test_tls_does_not_write_over_a_folder(run: Run, tmp_path: Path) -> None:
    words = ["tls", "oneway", NAME, "--out", str(tmp_path / "ssl")]
    assert run(*words).code == 0
    again = run(*words)
    assert again.code == 1
    assert "is not overwritten" in again.err


def test_an_array_file_is_sent_as_it_is(run: Run, target: list[str], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.float32([[1.5]]))
    done = run(*target, "--npy", str(tmp_path / "x.npy"), "--as-json")
    assert json.loads(done.out)["outputs"]["predict"]["floatVal"] == [3.0]


def test_an_image_takes_the_form_that_the_model_wants(
    run: Run, target: list[str], tmp_path: Path
) -> None:
    Image.new("RGB", (9, 9), "white").save(tmp_path / "white.png")
    done = run(*target, "--image", str(tmp_path / "white.png"), "--full-light", "1", "--as-json")
    found = json.loads(done.out)["outputs"]["predict"]
    assert [dim["size"] for dim in found["tensorShape"]["dim"]] == ["1", "4", "4", "1"]
    assert set(found["floatVal"]) == {2.0}


def test_a_rest_body_is_sent_from_a_file_and_from_standard_input(
    run: Run, target: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"instances": [[[[1]] * 4] * 4]})
    (tmp_path / "body.json").write_text(body)
    from_file = run(*target, "--json", str(tmp_path / "body.json"), "--as-json")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(body.encode())))
    from_stdin = run(*target, "--json", "-", "--as-json")
    assert from_file.code == from_stdin.code == 0
    assert from_file.out == from_stdin.out
    assert set(json.loads(from_file.out)["outputs"]["predict"]["floatVal"]) == {2.0}


def test_the_outputs_are_saved_as_arrays(run: Run, target: list[str], tmp_path: Path) -> None:
    done = run(*target, "--random", "1,4,4,1", "--save", str(tmp_path / "out.npz"))
    assert done.code == 0
    with np.load(tmp_path / "out.npz") as outputs:
        assert list(outputs) == ["predict"]
        assert outputs["predict"].shape == (1, 4, 4, 1)
    again = run(*target, "--random", "1", "--save", str(tmp_path / "absent" / "out.npz"))
    assert (again.code, "cannot write" in again.err) == (1, True)


def test_a_measurement_prints_percentiles_throughput_and_its_warm_up(
    run: Run, target: list[str]
) -> None:
    done = run(*target, "--random", "1,4,4,1", "--repeat", "12", "--concurrency", "2")
    assert done.code == 0
    assert done.out.startswith(GUIDE)
    for words in (
        "12 over 2 connections",
        "10 to warm up",
        "answers per second",
        "p50",
        "p90",
        "p99",
        "max",
        "none",
    ):
        assert words in done.out


def test_a_measurement_as_json_is_one_object(run: Run, target: list[str]) -> None:
    done = run(*target, "--random", "1,4,4,1", "--repeat", "12", "--as-json")
    load = json.loads(done.out)["load"]
    assert (load["requests"], load["warm_up_requests"], load["errors"]) == (12, 5, {})
    assert list(load["latency_seconds"]) == ["p50", "p90", "p99", "max"]
    assert list(load["latency_seconds"].values()) == sorted(load["latency_seconds"].values())


def test_a_measurement_with_errors_does_not_end_well(
    run: Run, start_replica: Any, client_files: dict[str, Path]
) -> None:
    replica = start_replica()
    replica.fails_from = 1 + 5 + 2
    words = [*_towards(replica.address, client_files), "--model", "double", "--random", "1"]
    done = run(*words, "--repeat", "6")
    assert done.code == 3
    assert "4 serving.internal" in done.out


def test_plaintext_is_named_dangerous(run: Run, start_replica: Any) -> None:
    words = ["--target", start_replica(None).address, "--model", "double", "--random", "1"]
    done = run("predict", *words, "--dangerously-plaintext")
    assert done.code == 0
    assert done.err.startswith("DANGEROUS")


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        pytest.param([], 1, "exactly one of", id="no input"),
        pytest.param(["--random", "1", "--npy", "x"], 1, "exactly one of", id="two inputs"),
        pytest.param(["--random", "1,-2"], 1, "expected sizes", id="no shape"),
        pytest.param(["--random", "1", "--size", "1,2,3"], 1, "height and width", id="no size"),
        pytest.param(["--random", "1", "--size", "8"], 1, "of an --image", id="size of no image"),
        pytest.param(["--random", "1", "--timeout", "0"], 1, "--timeout", id="no time"),
        pytest.param(["--random", "1", "--concurrency", "2"], 1, "--repeat", id="no repeat"),
        pytest.param(["--random", "1", "--ca", "absent.pem"], 1, "absent.pem", id="no CA file"),
        pytest.param(["--random", "1", "--target", "x"], 1, "is no address", id="no address"),
        pytest.param(["--json", "absent.json"], 1, "absent.json", id="no JSON file"),
        pytest.param(
            ["--image", "x.png", "--input-name", "y"], 1, "no input 'y'", id="unknown input"
        ),
        pytest.param(
            ["--image", "x.png", "--signature", "y"], 1, "no signature 'y'", id="unknown signature"
        ),
        pytest.param(
            ["--random", "1", "--model", "fails-NOT_FOUND"], 3, "NOT_FOUND", id="unknown model"
        ),
        pytest.param(
            ["--random", "1", "--server-name", "other.example.com"],
            3,
            "[network.tls.name-mismatch]",
            id="another name",
        ),
        pytest.param(["--random", "1", "--target", "127.0.0.1:1"], 3, "nothing listens", id="down"),
    ],
)
def test_each_family_of_failure_has_its_exit_code_and_says_why(
    changed: list[str], code: int, said: str, run: Run, target: list[str]
) -> None:
    done = run(*target, *changed)
    assert (done.code, said in done.err) == (code, True), done.err


def test_an_error_is_json_only_where_json_was_asked_for(run: Run, target: list[str]) -> None:
    text = run(*target, "--json", "absent.json")
    assert text.out == ""
    assert text.err.startswith("error: ")
    machine = run(*target, "--json", "absent.json", "--as-json")
    assert json.loads(machine.out)["error"]["code"] == "config"


def test_a_failure_prints_two_lines_and_nothing_of_grpcs_own(
    start_replica: Any, client_files: dict[str, Path]
) -> None:
    words = [*_towards(start_replica().address, client_files), "--model", "double", "--random", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "sealserve", *words, "--server-name", "other.example.com"],
        capture_output=True,
        text=True,
        timeout=60,
        env={name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"},
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 3
    assert [line.split(":")[0].strip() for line in lines] == ["error", "hint"]


def test_a_private_key_given_as_an_argument_is_refused_and_not_repeated(
    world: Any, run: Run, client_files: dict[str, Path]
) -> None:
    key = world.client.key_pem.decode()
    words = ["--target", "127.0.0.1:1", "--model", "m", "--random", "1"]
    done = run("predict", *words, "--cert", str(client_files["certificate"]), "--key", key)
    assert done.code == 1
    assert "PEM was given where a path is expected" in done.err
    assert not any(line in done.out + done.err for line in key.splitlines())
