"""`sealserve model`: what its commands write and print."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from sealserve.cli import main
from sealserve.models.digits import digits_model
from sealserve.models.synth import weight_bytes


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["model", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_digits_writes_the_model_and_the_arrays_that_predict_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    code = run("digits", "--out", "m", "--held-out", "x.npy", "--labels", "y.npy", "--json")

    assert code == 0
    assert json.loads(capsys.readouterr().out) == {
        "files": ["m/1/saved_model.pb", "x.npy", "y.npy"]
    }
    assert np.load("x.npy").shape == (300, 8, 8, 1)
    assert np.load("y.npy").shape == (300,)


def test_digits_refuses_to_overwrite_an_array_before_it_writes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.npy").touch()

    assert run("digits", "--out", "m", "--held-out", "x.npy") == 1
    assert "x.npy exists" in capsys.readouterr().err
    assert not Path("m").exists()


def test_convert_makes_what_inspect_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = tmp_path / "graph.pb"
    graph.write_bytes(digits_model().meta_graphs[0].graph_def.SerializeToString())
    base = tmp_path / "base"

    names = ("--inputs", "input", "--outputs", "predict,logits")
    assert run("convert", "--input", str(graph), *names, "--out", str(base), "--version", "3") == 0
    assert capsys.readouterr().out.strip() == str(base / "3" / "saved_model.pb")

    assert run("inspect", str(base), "--json") == 0
    (version,) = json.loads(capsys.readouterr().out)["versions"]
    signature = version["graphs"][0]["signatures"]["serving_default"]
    assert signature["outputs"]["logits"] == {
        "tensor": "logits:0",
        "dtype": "DT_FLOAT",
        "shape": [-1, 10],
    }

    assert run("inspect", str(base)) == 0
    table = capsys.readouterr().out
    assert "DT_FLOAT [n,8,8,1], input:0" in table
    assert "none: the graph is frozen" in table
    assert version["files"][0]["sha256"] in table


def test_convert_refuses_an_existing_version_before_it_reads_the_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1").mkdir()
    names = ("--inputs", "input", "--outputs", "predict")

    assert run("convert", "--input", str(tmp_path / "no.pb"), *names, "--out", str(tmp_path)) == 1
    assert "is not overwritten" in capsys.readouterr().err


def test_inspect_says_that_a_model_is_sealed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"GRAFS_PF" + bytes(4088))

    assert run("inspect", str(tmp_path)) == 0
    assert "sealed (Gramine protected file)" in capsys.readouterr().out


def test_inspect_shows_the_names_of_a_hostile_model_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = digits_model()
    model.meta_graphs[0].graph_def.node[0].op = "\x1b]0;title\x07[bold]Odd"
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())

    assert run("inspect", str(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "?]0;title?[bold]Odd 1" in shown
    assert "\x1b" not in shown


def test_fetch_checks_the_digest_and_tells_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.pb").write_bytes(b"model")
    digest = hashlib.sha256(b"model").hexdigest()
    url, out = f"file:{tmp_path}/a.pb", tmp_path / "b.pb"

    assert run("fetch", url, "--sha256", "0" * 64, "--out", str(out)) == 5
    assert f"has SHA-256 {digest}; expected 000" in capsys.readouterr().err
    assert not out.exists()

    assert run("fetch", url, "--sha256", digest, "--out", str(out), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == {
        "path": str(out), "size": 5, "sha256": digest, "resumed_at": 0, "url": url
    }  # fmt: skip


def test_synth_says_that_it_is_for_benchmarks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1").mkdir()  # so that nothing large is written

    assert run("synth", "resnet50-v15", "--out", str(tmp_path)) == 1
    assert "random weights (seed 0): for benchmarks" in capsys.readouterr().err


def test_synth_announces_the_size_that_its_progress_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("synth", "--help") == 0
    assert f"{weight_bytes() >> 20} MiB" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["digits", "fetch", "convert", "synth", "inspect"])
def test_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert f"Example:\n    sealserve model {command}" in capsys.readouterr().out
