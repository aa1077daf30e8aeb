"""`sealserve gramine measure`: the guide's four lines, from a SIGSTRUCT that verifies."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from made_images import FILES, archive
from sealserve.cli import main

SIGSTRUCT = Path(__file__).parents[2] / "data" / "gramine" / "sigstruct" / "sample.sig"
STATED = json.loads(SIGSTRUCT.with_name("sample.view.json").read_text())
POLICY = 'version = 2\ntrust_root = "intel"\n'


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["gramine", "measure", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


IN_ENCLAVE = "usr/lib/sealserve/enclave/sealserve.sig"


def test_an_image_is_measured_by_the_sigstruct_in_its_layers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = archive(tmp_path / "image.tar", FILES, {IN_ENCLAVE: SIGSTRUCT.read_bytes()})
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    assert run(image, "--into", policy, "--identity", "server", "--create", "--json") == 0
    assert json.loads(capsys.readouterr().out)["mr_enclave"] == STATED["mr_enclave"]
    (identity,) = tomllib.loads(policy.read_text())["identities"]
    assert identity["mr_enclave"] == [STATED["mr_enclave"]]


def test_an_image_without_an_enclave_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = {"usr/lib/sealserve/enclave/.wh.sealserve.sig": b""}
    image = archive(tmp_path / "image.tar", {IN_ENCLAVE: SIGSTRUCT.read_bytes()}, gone)
    assert run(image) == 1
    assert "holds 0 SIGSTRUCTs" in capsys.readouterr().err


def test_the_four_lines_are_those_of_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(SIGSTRUCT) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"mr_enclave:  {STATED['mr_enclave']}",
        f"mr_signer:   {STATED['mr_signer']}",
        f"isv_prod_id: {STATED['isv_prod_id']}",
        f"isv_svn:     {STATED['isv_svn']}",
    ]


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(SIGSTRUCT, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["mr_enclave"] == STATED["mr_enclave"]
    assert facts["debug"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", facts["date"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: data[:-1], "sigstruct.length"),
        (lambda data: b"\x7fELF" + data[4:], "sigstruct.header"),
        (lambda data: data[:960] + bytes(32) + data[992:], "sigstruct.signature"),
        (lambda data: data[:1040] + bytes(384) + data[1424:], "sigstruct.signature"),
    ],
    ids=["too short", "no SIGSTRUCT", "another measurement", "another q1"],
)
def test_what_is_no_sigstruct_or_was_changed_is_refused(
    change, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, policy = tmp_path / "bad.sig", tmp_path / "policy.toml"
    bad.write_bytes(change(SIGSTRUCT.read_bytes()))
    policy.write_text(POLICY)
    assert run(bad, "--into", policy, "--identity", "server", "--create") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"[{code}]" in printed.err
    assert policy.read_text() == POLICY


def test_the_enclave_goes_into_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    assert run(SIGSTRUCT, "--into", policy, "--identity", "server", "--create") == 0
    assert capsys.readouterr().out.count("\n") == 4
    identity = tomllib.loads(policy.read_text())["identities"][0]
    assert identity == {"name": "server", "mr_enclave": [STATED["mr_enclave"]]}
    assert run(SIGSTRUCT, "--into", policy, "--identity", "server", "--json") == 0
    assert json.loads(capsys.readouterr().out)["policy"]["changed"] is False


def test_a_policy_needs_an_identity_and_an_identity_a_policy(tmp_path: Path) -> None:
    assert run(SIGSTRUCT, "--into", tmp_path / "policy.toml") == 1
    assert run(SIGSTRUCT, "--identity", "server") == 1
