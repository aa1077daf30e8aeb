"""`sealserve gramine lint`: what it prints, its exit codes, and that our own templates pass."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sealserve.cli import main

GOLDEN = Path(__file__).parents[2] / "golden" / "gramine"
WARNED = (
    'libos.entrypoint = "/server"\nloader.argv = ["server"]\nsgx.remote_attestation = "dcap"\n'
    'sgx.enclave_size = "4G"\nsgx.max_threads = 64\n'
)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["gramine", "lint", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_finding_is_printed_with_its_line_what_follows_and_the_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "server.manifest"
    path.write_text(f"{WARNED}sgx.debug = true\n")
    assert run(path) == 1
    printed = capsys.readouterr().out
    assert f"{path}:6: error: sgx.debug is on [gramine.debug-enclave]\n  so: the host" in printed
    assert "  hint: sgx.debug = false" in printed
    assert run(path, "--json") == 1
    facts = json.loads(capsys.readouterr().out)
    assert (facts["gramine"], facts["errors"]) == ("1.9", 1)
    (error,) = (each for each in facts["findings"] if each["severity"] == "error")
    assert (error["line"], error["code"]) == (6, "gramine.debug-enclave")


def test_warnings_are_errors_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "server.manifest"
    path.write_text(WARNED)
    assert run(path) == 0
    assert run(path, "--strict") == 1


def test_keys_are_those_of_the_version_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "server.manifest"
    path.write_text(f'{WARNED}sgx.ra_client_spid = ""\n')
    assert run(path) == 1
    assert run(path, "--gramine", "1.8") == 0


@pytest.mark.parametrize("data", [b"\xff\xfe", b"loader.preload = file:x"], ids=["bytes", "words"])
def test_what_is_no_manifest_is_an_error(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "server.manifest"
    path.write_bytes(data)
    assert run(path) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_what_we_render_has_no_errors_and_no_warnings(name: str) -> None:
    (template,) = (GOLDEN / name).glob("*.manifest.template")
    version = re.search(r"1\.\d", name)
    assert version is not None
    assert run(template, "--gramine", version[0], "--strict") == 0
