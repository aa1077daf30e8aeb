"""The manifest for a test under gramine-direct: marked, listed, and refused by all that judges."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from made_sigstruct import made_sigstruct
from sealserve.cli import main
from sealserve.deploy.description.model import GRAMINE_VERSIONS, Description
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.gramine.lint import lint_manifest
from sealserve.deploy.gramine.render import render
from sealserve.deploy.gramine.schema import parse_version
from sealserve.deploy.gramine.testing import (
    KEY_FILE,
    TESTING_KEY,
    overrides,
    render_for_testing,
)
from sealserve.deploy.weakness import Severity
from sealserve.serving import settings
from sealserve.serving.flags import parse_flags

KINDS = ["sealserve", "tensorflow-serving"]


def described(kind: str, version: str = "1.9", key: str = "digits") -> Description:
    found = check_description(describe(Answers(kind=kind, gramine=version, key=key))).description
    assert found is not None
    return found


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("version", GRAMINE_VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_linter_finds_every_override_as_an_error_on_its_line(kind: str, version: str) -> None:
    description = described(kind, version, key="a.key")
    rendered = render_for_testing(description)
    text = rendered.files[rendered.manifest].decode()
    lines = text.splitlines()
    found = [
        (each.code, lines[(each.line or 1) - 1])
        for each in lint_manifest(text, parse_version(version))
        if each.severity is Severity.ERROR
    ]
    listed = overrides(description)
    assert sorted(code for code, _ in found) == sorted(each.code for each in listed)
    assert all(
        any(code == each.code and each.value in line for code, line in found) for each in listed
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_template_says_first_what_it_is_and_what_is_weakened(kind: str) -> None:
    description = described(kind)
    rendered = render_for_testing(description)
    assert rendered.manifest not in render(description).files
    assert "dangerously-for-testing" in rendered.manifest
    comment, _, _ = rendered.files[rendered.manifest].decode().partition("\n\n")
    assert comment.startswith("# DANGEROUS")
    for each in overrides(description):
        assert f"{each.value}: {each.reason}" in comment


def test_nothing_else_differs_from_the_manifest_that_is_meant() -> None:
    description = described("tensorflow-serving")
    sound, testing = render(description), render_for_testing(description)
    left = sound.files[sound.manifest].decode().splitlines()
    right = testing.files[testing.manifest].decode().splitlines()
    assert [line.split(" =")[0] for line in left if line not in right] == [
        "loader.env.LD_PRELOAD",
        "loader.env.SECRET_PROVISION_CONSTRUCTOR",
        "loader.env.SECRET_PROVISION_SET_KEY",
        "loader.env.SECRET_PROVISION_SERVERS",
        "loader.env.SECRET_PROVISION_CA_CHAIN_PATH",
        "sgx.debug",
        "sgx.remote_attestation",
    ]
    added = [line for line in right if line not in left and not line.startswith("#")]
    assert len(added) == len(overrides(description))


def test_our_server_accepts_the_arguments_and_says_itself_that_they_are_dangerous() -> None:
    rendered = render_for_testing(described("sealserve"))
    text = rendered.files[rendered.manifest].decode()
    _, _, after = text.partition('  "serve",\n')
    arguments, _, _ = after.partition("]")
    flags, _ = parse_flags([line.strip(' ",') for line in arguments.strip().splitlines()])
    settings.check(flags)
    assert not flags.attest
    assert flags.dangerously_use_key_file == KEY_FILE


def test_the_command_writes_it_under_its_own_name_with_a_key_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description, out = tmp_path / "d.toml", tmp_path / "out"
    description.write_text(describe(Answers(kind="sealserve")))
    assert run("gramine", "render", description, "--out", out) == 0
    capsys.readouterr()
    arguments = ("gramine", "render", description, "--out", out, "--dangerously-for-testing")
    assert run(*arguments, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [each["key"] for each in facts["overrides"]][:2] == [
        "sgx.debug",
        "sgx.remote_attestation",
    ]
    key = out / KEY_FILE
    assert (key.read_bytes(), stat.S_IMODE(key.stat().st_mode)) == (TESTING_KEY, 0o600)
    assert {path.name for path in out.glob("*.template")} == {
        "sealserve.manifest.template",
        "sealserve.dangerously-for-testing.manifest.template",
    }
    assert run("gramine", "lint", out / facts["files"][0].rpartition("/")[2]) == 1


def test_signed_by_mistake_it_is_of_a_debug_enclave_which_no_policy_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {each.key: each.value for each in overrides(described("sealserve"))}["sgx.debug"] == (
        "true"
    )
    sig, policy = tmp_path / "a.sig", tmp_path / "policy.toml"
    sig.write_bytes(made_sigstruct(bytes(32), debug=True))
    policy.write_text('version = 2\ntrust_root = "intel"\n')
    into = ("--into", policy, "--identity", "server", "--create")
    assert run("gramine", "measure", sig, *into) == 1
    assert "debug enclave" in capsys.readouterr().err
