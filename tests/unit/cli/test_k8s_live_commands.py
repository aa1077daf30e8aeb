"""Commands on a running service: how the way to its cluster is found, and what is said without."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealserve.cli import main
from sealserve.deploy.description.writing import Answers, describe
from sealserve.ports import free_port

Run = Callable[..., tuple[int, str]]
CONFIGURATION = 1
NETWORK = 3
ASKING = {
    "apply": ("apply", "--without-prediction"),
    "logs": ("logs",),
    "delete": ("delete", "--yes"),
    "scale": ("scale", "2"),
    "upgrade": ("upgrade", "--without-prediction"),
}


@pytest.fixture
def description(tmp_path: Path) -> Path:
    path = tmp_path / "sealserve.toml"
    path.write_text(describe(Answers()))
    return path


def kubeconfig(folder: Path, **cluster: Any) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "far", "cluster": cluster}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "mine", "context": {"cluster": "far", "user": "me"}}],
        "current-context": "mine",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str | Path) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["k8s", *map(str, words)])
        return int(ended.value.code or 0), capsys.readouterr().err

    return command


@pytest.mark.parametrize("command", ASKING)
def test_an_api_server_that_is_not_reached_is_named_by_its_context(
    command: str, run: Run, description: Path, tmp_path: Path
) -> None:
    config = kubeconfig(tmp_path, server=f"https://127.0.0.1:{free_port()}")
    what, *options = ASKING[command]
    code, said = run(what, description, f"--kubeconfig={config}", *options)
    assert code == NETWORK
    assert "the API server of mine gives no answer" in said and "[kubernetes-silent]" in said


@pytest.mark.parametrize(
    "content", [None, "", "[]", "7", "{broken", '{"contexts": []}', '{"contexts": 7}']
)
def test_a_kubeconfig_that_leads_nowhere_is_said_to(
    content: str | None, run: Run, description: Path, tmp_path: Path
) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    code, output = run("logs", description, f"--kubeconfig={path}")
    assert code == CONFIGURATION
    assert "no cluster is to be had" in output and "--kubeconfig FILE" in output


def test_a_context_that_is_not_there_is_named(run: Run, description: Path, tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, server="https://127.0.0.1:1")
    code, said = run("logs", description, f"--kubeconfig={config}", "--context=other")
    assert code == CONFIGURATION and "other" in said


def test_an_api_server_that_is_not_to_be_verified_is_not_asked(
    run: Run, description: Path, tmp_path: Path
) -> None:
    unverified = {"insecure-skip-tls-verify": True}
    config = kubeconfig(tmp_path, server="https://127.0.0.1:1", **unverified)
    code, said = run("logs", description, f"--kubeconfig={config}")
    assert code == CONFIGURATION and "certificate-authority" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--ca FILE; or --without-prediction"),
        (("--cert", "{file}"), "--ca FILE"),
        (("--ca", "{file}", "--without-prediction"), "--without-prediction"),
        (("--without-prediction", "--target", "host:1"), "--ca FILE"),
        (("--for", "moon"), "moon"),
    ],
)
def test_options_that_contradict_one_another_are_refused_before_anything_is_asked(
    options: tuple[str, ...], said: str, run: Run, description: Path, tmp_path: Path
) -> None:
    config = kubeconfig(tmp_path, server="https://127.0.0.1:1")
    words = [each.format(file=description) for each in options]
    code, output = run("apply", description, f"--kubeconfig={config}", *words)
    assert code in (CONFIGURATION, 2)
    assert said in output


HEX = "ab" * 32


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--ca FILE; or --without-prediction"),
        (("--measurement", HEX[:-1]), "expected 64 hexadecimal digits"),
        (("--measurement", HEX, "--sigstruct", "x.sig"), "--measurement and --sigstruct"),
        (("--sigstruct", "{file}"), "SIGSTRUCT"),
        (("--admin-ca", "{file}"), "go with --admin-server"),
        (("--admin-server", "https://h:1", "--admin-ca", "{file}"), "--admin-server needs"),
        (("--back", "--back-to", "7d"), "--back and --back-to"),
    ],
)
def test_an_upgrade_that_contradicts_itself_is_refused_before_anything_is_asked(
    options: tuple[str, ...], said: str, run: Run, description: Path, tmp_path: Path
) -> None:
    config = kubeconfig(tmp_path, server="https://127.0.0.1:1")
    words = [each.format(file=description) for each in options]
    words += ["--without-prediction"] if options else []
    code, output = run("upgrade", description, f"--kubeconfig={config}", *words)
    assert code in (CONFIGURATION, 2)
    assert said in output


@pytest.mark.parametrize("command", [*ASKING, "status", "diagnose"])
def test_every_command_on_a_lab_s_service_says_simulated(
    command: str, run: Run, description: Path, tmp_path: Path
) -> None:
    config = kubeconfig(tmp_path, server=f"https://127.0.0.1:{free_port()}")
    what, *options = ASKING.get(command, (command,))
    _, said = run(what, description, "--for=lab", f"--kubeconfig={config}", *options)
    assert said.startswith("SIMULATED")
