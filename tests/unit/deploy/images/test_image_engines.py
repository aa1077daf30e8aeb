"""How engines are called, and what their failures become, with programs that stand in for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealserve.deploy.images.engine import NAMES, Engine, find_engine
from sealserve.errors import NetworkError, UsageError

TELLS = '#!/bin/sh\necho "$0" "$@" >> "$(dirname "$0")/told"\n'
FAILS = TELLS + 'echo "one line"\necho "Error: no such thing" >&2\nexit 125\n'


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(script)
    path.chmod(0o755)
    return path


def told(folder: Path) -> str:
    return (folder / "told").read_text()


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    for name in NAMES:
        program(tmp_path, name, TELLS)
    return tmp_path


def test_the_first_that_is_installed_is_taken_unless_one_is_named(on_path: Path) -> None:
    assert find_engine().name == "podman"
    assert find_engine("docker") == Engine("docker", on_path / "docker")


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("podman", "--timestamp 7 --layers"),
        ("buildah", "--timestamp 7 --layers"),
        ("docker", "--build-arg SOURCE_DATE_EPOCH=7"),
    ],
)
def test_a_build_has_fixed_times_and_the_options_that_were_given(
    on_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, times: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    find_engine(name).build(on_path, "image:1", ["--network=host"], on_path / "log")
    expected = (
        f"build --file {on_path}/Containerfile --tag image:1 {times} --network=host {on_path}"
    )
    assert expected in told(on_path)


def test_a_failed_build_is_told_with_the_last_lines_of_its_log(on_path: Path) -> None:
    engine = Engine("podman", program(on_path, "podman", FAILS))
    with pytest.raises(NetworkError, match="podman did not build image:1") as error:
        engine.build(on_path, "image:1", [], on_path / "log")
    assert "Error: no such thing" in error.value.message
    assert error.value.code == "image.build"
    assert "--build-option" in str(error.value.hint)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("podman", "save --format docker-archive --output {target} image:1"),
        ("docker", "save --output {target} image:1"),
        ("buildah", "push --quiet image:1 docker-archive:{target}:image:1"),
    ],
)
def test_every_engine_hands_out_an_archive(on_path: Path, name: str, command: str) -> None:
    find_engine(name).save("image:1", on_path / "out.tar")
    assert command.format(target=on_path / "out.tar") in told(on_path)


def test_an_image_that_is_not_there_is_told_in_the_engine_s_words(on_path: Path) -> None:
    engine = Engine("podman", program(on_path, "podman", FAILS))
    with pytest.raises(UsageError, match="podman has no image image:1: Error: no such thing"):
        engine.save("image:1", on_path / "out.tar")
