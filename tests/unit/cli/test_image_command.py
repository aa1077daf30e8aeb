"""`sealserve image`: what it writes, what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from made_images import FILES, archive
from sealserve.cli import main

BASE = "debian@sha256:" + 64 * "0"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["image", *words])
    return int(ended.value.code or 0)


def test_render_writes_the_recipe_and_says_how_to_build_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "proxy"
    assert run("render", "proxy", "--recipe-only", "--base", BASE, "--out", str(out)) == 0
    told = capsys.readouterr()
    assert told.out == f"written  {out / 'Containerfile'}\n"
    assert f"podman build --tag sealserve-proxy:0.1.0 {out}" in told.err
    assert f'ARG BASE="{BASE}"' in (out / "Containerfile").read_text()


def test_render_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own").write_text("mine")
    assert run("render", "proxy", "--recipe-only", "--out", str(tmp_path)) == 1
    assert "is not empty" in capsys.readouterr().err


def test_the_system_is_that_of_the_description_s_cloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sealserve.toml"
    with pytest.raises(SystemExit):
        main(["deploy", "init", "--yes", "--cloud", "azure", "--out", str(file), "--json"])
    digest = json.loads(capsys.readouterr().out)["description_sha256"]
    words = ("render", "client", "--recipe-only", "--from", str(file), "--out")
    assert run(*words, str(tmp_path / "one"), "--json") == 0
    text = (tmp_path / "one" / "Containerfile").read_text()
    assert "Ubuntu 24.04 on Azure" in text
    assert f'io.sealserve.description="{digest}"' in text
    assert run(*words, str(tmp_path / "two"), "--on", "debian") == 0
    assert "Debian 12" in (tmp_path / "two" / "Containerfile").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("build",), "Missing argument 'ROLE...'"),
        (("build", "redis"), "'redis' is not one of 'keyservice'"),
        (("build", "proxy", "--with", "kaniko"), "'kaniko' is not one of 'podman'"),
        (("build", "proxy", "--arg", "BASE"), "expected NAME=VALUE"),
        (("build", "proxy", "--arg", "A=1", "--arg", "A=2"), "each name once"),
        (("render", "proxy", "--out", "x"), "BASE is not given"),
        (("render", "proxy", "--recipe-only", "--gramine", "--out", "x"), "nothing that runs in"),
        (("render", "proxy", "--base", "debian", "--out", "x"), "expected IMAGE@sha256:DIGEST"),
        (("render", "server", "--gramine", "--base", BASE, "--out", "x"), "made from a descripti"),
        (("render", "client", "--source", ".", "--base", BASE, "--out", "x"), "constraints.txt is"),
        (("show", "no-image.tar", "--with", "docker-that-is-not"), "is not one of"),
    ],
)
def test_wrong_words_have_one_clear_message(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 1
    told = capsys.readouterr()
    assert message in told.err
    assert not told.out


def test_show_tells_of_an_archive_and_writes_its_sbom_without_any_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    file = str(archive(tmp_path / "image.tar", FILES))
    sbom = tmp_path / "sbom.json"
    assert run("show", file, "--sbom", str(sbom)) == 0
    told = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines()[1:])
    assert told["user"] == "10001:10001"
    assert told["layers"] == "1"
    assert told["io.sealserve.role"] == "server"
    assert run("show", file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["packages"] == {
        "deb": 2,
        "oci": 1,
        "pypi": 2,
        "rpm": 1,
    }
    assert json.loads(sbom.read_text())["spdxVersion"] == "SPDX-2.3"
    assert run("show", file, "--sbom", str(sbom)) == 1
    assert "is not overwritten" in capsys.readouterr().err


def test_without_an_engine_the_one_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run("show", "server") == 1
    told = capsys.readouterr().err
    assert "none of podman, docker and buildah is installed" in told
    assert "apt-get install podman" in told
