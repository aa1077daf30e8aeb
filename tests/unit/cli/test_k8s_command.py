"""`sealserve k8s`: what it writes, what it says, and that nothing is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealserve.cli import main
from sealserve.deploy.description.writing import Answers, describe


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sealserve.toml"
    path.write_text(describe(Answers(cloud="azure")))
    return path


def test_render_writes_what_it_says_and_nothing_over(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cluster"
    code, text, _ = run(capsys, "k8s", "render", str(file), "--out", str(out), "--json")
    assert code == 0
    found = json.loads(text)
    assert {str(path) for path in out.rglob("*") if path.is_file()} == set(found["files"])
    assert set(found["targets"]) == {"generic", "azure", "alibaba", "lab"}
    assert found["own_target"] == "azure"
    for each in found["targets"].values():
        assert found["description_sha256"] in Path(each["chart"], "Chart.yaml").read_text()
        assert Path(each["overlay"], "kustomization.yaml").is_file()
    code, _, err = run(capsys, "k8s", "render", str(file), "--out", str(out))
    assert (code, "not overwritten" in err) == (1, True)


def test_render_names_the_overlay_of_the_descriptions_cloud(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cluster"
    code, text, err = run(capsys, "k8s", "render", str(file), "--out", str(out))
    assert (code, err) == (0, "")
    assert f"kubectl apply -k {out}/kustomize/overlays/azure" in text
    assert "SIMULATED" in text


def test_render_says_what_must_be_sealed(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text() + "\n[kubernetes]\nrequests_in_flight = 8\n")
    out = tmp_path / "cluster"
    code, _, err = run(capsys, "k8s", "render", str(file), "--out", str(out))
    assert code == 0
    assert "seal it for config/monitoring.config" in err
    assert (out / "to-seal/config/monitoring.config").is_file()


def test_a_wrong_description_is_told_by_its_line(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text() + "\n[kubernetes]\ntag = 'latest'\n")
    out = tmp_path / "cluster"
    code, _, err = run(capsys, "k8s", "render", str(file), "--out", str(out))
    assert (code, out.exists()) == (1, False)
    assert "tag" in err
