"""`sealserve secret`, `revocation`, `policy apply` and `audit`: on a database, and over the API."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import made_claims
from administered import EVIDENCE, POLICY, Site, new_store, record_decisions, serving
from sealserve.cli import main
from sealserve.errors import NetworkError
from sealserve.keyservice.administration.opening import initialise, open_administration
from sealserve.keyservice.administration.remote import RemoteAdministration
from sealserve.keyservice.administration.values import Role
from sealserve.keyservice.config import load_config
from sealserve.keyservice.store.log import Leaf
from sealserve.keyservice.store.store import Store
from sealserve.lab.world import World
from sealserve.verifier import load_trust_root

MEASUREMENT = "ab" * 32
CONFIG = """
listen = "127.0.0.1:0"
database = "keyservice.db"
state = "state"
[wrapping]
kind = "file"
key = "kek"
[tls]
certificate = "server.pem"
private_key = "server.key"
[attestation]
trust_root = "lab/root_ca.pem"
collateral_dir = "lab/collateral"
"""


@dataclass
class Commands:
    """Commands on one key service."""

    folder: Path
    where: list[str]
    policy: str
    capsys: pytest.CaptureFixture[str]
    said: str = ""

    def run(self, *words: object, code: int = 0, here: bool = True) -> str:
        """What a command prints; all that any printed is kept in `said`."""
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words), *(self.where if here else [])])
        captured = self.capsys.readouterr()
        self.said += captured.out + captured.err
        assert ended.value.code == code, captured.out + captured.err
        return captured.out + captured.err if code else captured.out

    def told(self, *words: object, code: int = 0, here: bool = True) -> Any:
        """The one JSON object that it prints."""
        return json.loads(self.run(*words, "--json", code=code, here=here))

    def file(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture(params=["--config", "--server"])
def commands(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Commands]:
    if request.param == "--config":
        world = World.create(now=datetime.now(UTC))
        world.save(tmp_path / "lab")
        config = tmp_path / "keyservice.toml"
        config.write_text(CONFIG)
        Site(tmp_path)
        assert initialise(load_config(config), log_name="keys.example.com/audit")
        root = load_trust_root(world.root_ca_pem).sha256.hex()
        policy = POLICY.replace("version = 2\n", f'version = 2\ntrust_root = "{root}"\n')
        yield Commands(tmp_path, ["--config", str(config)], policy, capsys)
        return
    store = new_store(tmp_path)
    with serving(Site(tmp_path), store) as served:
        yield Commands(tmp_path, served.options(), POLICY, capsys)
    store.close()


def test_the_life_of_a_secret(commands: Commands) -> None:
    first, second = commands.file("wrap.key"), commands.file("new.key")
    out = commands.run("secret", "add", "digits", "--generate", "--out", first)
    assert out == "added digits, version 1\n"
    assert (first.stat().st_mode & 0o777, len(first.read_bytes())) == (0o600, 16)
    commands.run("secret", "rotate", "digits", "--generate", "--out", second)
    listed = commands.told("secret", "list")["secrets"]
    assert [(each["version"], each["state"], each["size"]) for each in listed] == [
        (2, "current", 16),
        (1, "usable", 16),
    ]
    assert commands.run("secret", "retire", "digits", "--version", 1) == "retired 1 of digits\n"
    table = commands.run("secret", "show", "digits").splitlines()
    assert table[0].split()[:4] == ["NAME", "VERSION", "STATE", "BYTES"]
    assert table[2].split()[:4] == ["digits", "1", "retired", "16"]
    commands.run("secret", "revoke", "digits", "--version", 2, "--reason", "it leaked")
    assert commands.told("revocation", "list") == {
        "revocations": [{"kind": "secret", "value": "digits@2"}]
    }
    commands.run("revocation", "lift", "--secret", "digits@2", "--reason", "it had not")
    assert commands.run("revocation", "list") == "nothing is revoked\n"
    for path in (first, second):
        value = path.read_bytes()
        for spelling in (value.hex(), base64.b64encode(value).decode(), repr(value)):
            assert spelling not in commands.said


def test_a_value_that_the_service_did_not_take_is_not_lost(commands: Commands) -> None:
    kept = commands.file("wrap.key")
    commands.run("secret", "add", "digits", "--generate", "--out", kept)
    again = commands.file("again.key")
    said = commands.run("secret", "add", "digits", "--generate", "--out", again, code=1)
    assert "[secret-exists]" in said
    assert f"{again} holds the new value" in said
    assert f"sealserve secret add digits --from {again}" in said
    assert again.exists()
    said = commands.run("secret", "rotate", "digits", "--generate", "--out", kept, code=1)
    assert "exists and is not overwritten" in said
    assert len(commands.told("secret", "list")["secrets"]) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["secret", "add", "x"],
        ["secret", "add", "x", "--generate"],
        ["secret", "add", "x", "--generate", "--out", "a", "--from", "b"],
        ["secret", "show", "other"],
        ["secret", "retire", "other"],
        ["secret", "revoke", "other", "--reason", "why"],
        ["revocation", "add", "--reason", "why"],
        ["revocation", "add", "--signer", "ab" * 32, "--platform", "ab" * 16, "--reason", "why"],
        ["revocation", "add", "--measurement", "ab", "--reason", "why"],
        ["revocation", "add", "--measurement", MEASUREMENT, "--reason", " "],
        ["revocation", "lift", "--measurement", MEASUREMENT, "--reason", "why"],
        ["audit", "verify", "--file", "a"],
        ["audit", "search", "--limit", "0"],
    ],
    ids=" ".join,
)
def test_a_command_that_says_too_little_or_too_much_does_nothing(
    commands: Commands, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(commands.folder)
    commands.run(*words, code=1)
    assert commands.told("audit", "verify")["size"] == 0


def test_a_value_that_others_may_read_is_not_taken(commands: Commands) -> None:
    value = commands.file("value")
    value.write_bytes(b"x" * 16)
    value.chmod(0o644)
    assert "chmod 600" in commands.run("secret", "add", "x", "--from", value, code=1)


def test_a_measurement_is_revoked_once_and_lifted_once(commands: Commands) -> None:
    reason = ["--reason", "a bug in its parser"]
    for _ in range(2):  # twice is no error
        out = commands.run("revocation", "add", "--measurement", MEASUREMENT.upper(), *reason)
        assert MEASUREMENT in out
    assert commands.run("revocation", "list").split() == ["measurement", MEASUREMENT]
    commands.run("revocation", "lift", "--measurement", MEASUREMENT, *reason)
    said = commands.run("revocation", "lift", "--measurement", MEASUREMENT, *reason, code=1)
    assert "[not-revoked]" in said
    found = commands.told("audit", "search", "--kind", "change")["records"]
    assert [each["record"]["what"] for each in found] == [
        "revocation.lift",
        "revocation.add",
        "revocation.add",
    ]


# policy apply


def test_a_policy_is_tried_and_then_applied(commands: Commands) -> None:
    file = commands.file("policy.toml")
    file.write_text(commands.policy)
    out = commands.run("policy", "apply", file, "--dry-run")
    assert "there is no secret 'digits'" in out
    assert "nothing was changed" in out
    assert "revision 1" not in out
    said = commands.run("policy", "apply", file, code=1)  # nobody is at a terminal
    assert "--yes" in said
    facts = commands.told("policy", "apply", file, "--yes")
    digest = hashlib.sha256(commands.policy.encode()).hexdigest()
    assert (facts["applied"], facts["policy_sha256"], facts["revision"]) == (True, digest, 1)
    assert facts["differences"]
    again = commands.told("policy", "apply", file, "--yes")
    assert again["differences"] == []


def test_the_policy_in_force_is_shown_as_it_was_applied(commands: Commands) -> None:
    assert "no policy is in force" in commands.run("policy", "show", code=1)
    file = commands.file("policy.toml")
    text = "# mine, with an umlaut: ü\r\n" + commands.policy
    file.write_bytes(text.encode())
    facts = commands.told("policy", "apply", file, "--yes")
    shown = commands.told("policy", "show")
    assert (shown["policy"], shown["policy_sha256"]) == (text, facts["policy_sha256"])
    assert commands.run("policy", "show") == text


def test_a_policy_with_errors_is_not_sent(commands: Commands) -> None:
    file = commands.file("policy.toml")
    file.write_text(commands.policy + "secretz = 1\n")
    said = commands.run("policy", "apply", file, "--yes", code=1)
    assert "unknown key" in said
    assert commands.told("audit", "verify")["size"] == 0


def released(store: Store, measurement: str) -> None:
    """Put a release on record that the policy `POLICY` would have granted."""
    said = made_claims.claims(made_claims.sgx_enclave(mr_enclave=bytes.fromhex(measurement)))
    facts = {
        "evidence_sha256": EVIDENCE,
        "asked_for": None,
        "asked_secret": None,
        "claims": said.as_dict(),
        "outcome": "released",
        "code": "allowed",
        "secret": "digits",
    }
    with store.database.writing() as connection:
        store.log.append(
            connection, store.log.lock(connection), [Leaf.of("decision", made_claims.NOW, facts)]
        )


def at_a_terminal(words: list[str], answer: str) -> tuple[int, str]:
    """Exit code and output of a command whose standard input is a terminal, where one answers."""
    terminal, inside = pty.openpty()
    try:
        os.write(terminal, f"{answer}\n".encode())
        ended = subprocess.run(
            [sys.executable, "-m", "sealserve", *words],
            stdin=inside,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(inside)
    return ended.returncode, ended.stdout.decode()


def test_who_would_be_denied_is_said_loudly_before_anybody_says_yes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = "9f3c1a7be04d25681122334455667788990a0b0c0d0e0f101112131415161718"
    other = "5b11" * 16
    store = new_store(tmp_path)
    released(store, known)
    released(store, other)
    with serving(Site(tmp_path), store) as served:
        commands = Commands(tmp_path, served.options(), POLICY, capsys)
        file = commands.file("policy.toml")
        file.write_text(POLICY)
        facts = commands.told("policy", "apply", file, "--dry-run")
        assert (facts["counts"]["same"], facts["counts"]["now denied"]) == (1, 1)
        apply = ["policy", "apply", str(file), *served.options()]
        code, said = at_a_terminal(apply, "n")
        assert (code, "WARNING: 1 of these decisions would be DENIED" in said) == (1, True)
        assert "record 1: now denied" in said
        assert "nothing was applied" in said
        assert commands.told("audit", "verify")["revision"] == 0
        code, said = at_a_terminal(apply, "y")
        assert (code, "revision 1" in said) == (0, True)
    store.close()


# audit


@pytest.fixture
def logged(commands: Commands) -> Commands:
    """A service with seven records, and its key in a file."""
    for number in range(7):
        measurement = f"{number:02x}" * 32
        commands.run("revocation", "add", "--measurement", measurement, "--reason", "a test")
    facts = commands.told("audit", "checkpoint", "--out", commands.file("before"))
    commands.file("log.key").write_text(facts["log_key"] + "\n")
    return commands


def test_a_log_verifies_since_a_checkpoint_and_names_its_key(logged: Commands) -> None:
    said = logged.run("audit", "verify")
    assert said.startswith("OK: keys.example.com/audit has 7 records, root ")
    assert "was not pinned" in logged.said
    logged.run("revocation", "add", "--signer", "cd" * 32, "--reason", "one more")
    key = logged.file("log.key")
    facts = logged.told("audit", "verify", "--log-key", key, "--since", logged.file("before"))
    assert (facts["size"], facts["pinned"]) == (8, True)
    pinned = logged.told("audit", "verify", "--log-key", key.read_text().strip())
    assert pinned["root"] == facts["root"]


def test_another_logs_key_is_not_this_logs(logged: Commands, tmp_path: Path) -> None:
    from sealserve.transparency.checkpoint import LogKey

    other = logged.file("other.key")
    other.write_text(str(LogKey.generate("keys.example.com/audit").verifier))
    said = logged.run("audit", "verify", "--log-key", other, code=5)
    assert "[audit.checkpoint]" in said
    assert "[audit.key]" in logged.run("audit", "verify", "--log-key", "a+b+c", code=2)


def test_an_export_is_the_log_itself_and_verifies_where_no_service_is(logged: Commands) -> None:
    out, head = logged.file("audit.jsonl"), logged.file("head")
    logged.run("audit", "export", "--out", out, "--checkpoint", head)
    assert out.stat().st_mode & 0o777 == 0o600
    lines = out.read_bytes().splitlines()
    assert len(lines) == 7
    assert json.loads(lines[0])["what"] == "revocation.add"
    offline = ["audit", "verify", "--file", out, "--checkpoint", head, "--log-key"]
    key = logged.file("log.key")
    facts = logged.told(*offline, key, "--since", logged.file("before"), here=False)
    assert facts["size"] == 7
    logged.run("audit", "export", "--out", out, code=1)  # it is there
    out.write_bytes(b"\n".join([*lines[:3], lines[3].replace(b"test", b"jest"), *lines[4:], b""]))
    assert "[audit.record]" in logged.run(*offline, key, code=5, here=False)
    out.write_bytes(b"\n".join([*lines[:6], b""]))
    assert "from record 6 on" in logged.run(*offline, key, code=5, here=False)
    logged.run(*offline, key, code=1)  # and a service, too
    logged.run("audit", "verify", "--file", out, "--checkpoint", head, code=1, here=False)


def test_a_proof_of_one_record_checks_offline(logged: Commands) -> None:
    proof, key = logged.file("proof.json"), logged.file("log.key")
    logged.run("audit", "prove", 3, "--out", proof, "--log-key", key)
    facts = logged.told("audit", "check", proof, "--log-key", key, here=False)
    assert (facts["index"], facts["size"]) == (3, 7)
    assert json.loads(facts["record"])["target"] == "measurement:" + "03" * 32
    assert "[no-record]" in logged.run("audit", "prove", 7, "--out", logged.file("x"), code=1)
    bundle = json.loads(proof.read_text())
    for name, value in (("index", 4), ("data", "e30="), ("proof", [])):
        proof.write_text(json.dumps({**bundle, name: value}))
        logged.run("audit", "check", proof, "--log-key", key, code=5, here=False)
    proof.write_text("{}")
    logged.run("audit", "check", proof, "--log-key", key, code=5, here=False)


def test_search_finds_the_newest_first_or_in_order_by_pages(logged: Commands) -> None:
    def indexes(*words: object) -> list[int]:
        return [each["index"] for each in logged.told("audit", "search", *words)["records"]]

    assert indexes() == [6, 5, 4, 3, 2, 1, 0]
    assert indexes("--limit", 2) == [6, 5]
    assert indexes("--oldest-first", "--limit", 3) == [0, 1, 2]
    assert indexes("--kind", "decision") == []
    assert indexes("--until", "2020-01-01T00:00:00Z") == []
    assert indexes("--since", "2020-01-01T00:00:00Z", "--limit", 1) == [6]
    table = logged.run("audit", "search", "--limit", 1).splitlines()
    assert table[0].split() == ["INDEX", "TIME", "KIND", "OUTCOME", "SECRET", "EVIDENCE", "WHY"]
    assert "revocation.add by " in table[1]


def test_a_database_that_somebody_edited_is_found_and_the_record_named(logged: Commands) -> None:
    with sqlite3.connect(logged.file("keyservice.db")) as database:
        database.execute(
            "UPDATE records SET record = CAST(replace(CAST(record AS TEXT), 'test', 'jest')"
            ' AS BLOB) WHERE "index" = 4'
        )
    database.close()
    said = logged.run("audit", "verify", "--log-key", logged.file("log.key"), code=5)
    assert "record 4 is not the one" in said
    logged.run("audit", "prove", 4, "--out", logged.file("proof.json"), code=5)


# Ways in


def test_exactly_one_way_to_a_service_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(tmp_path, [], POLICY, capsys)
    for words in (
        [],
        ["--config", "a", "--server", "https://b"],
        ["--config", "a", "--key", "b"],
        ["--server", "https://b", "--ca", "c"],
        ["--server", "http://b", "--ca", "c", "--cert", "d", "--key", "e"],
    ):
        commands.run("secret", "list", *words, code=1)


def test_who_may_not_is_told_by_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = new_store(tmp_path)
    record_decisions(store, 1)
    with serving(Site(tmp_path), store) as served:
        auditor = Commands(tmp_path, served.options(Role.AUDITOR), POLICY, capsys)
        auditor.run("secret", "add", "x", "--generate", "--out", auditor.file("x"), code=4)
        file = auditor.file("policy.toml")
        file.write_text(POLICY)
        auditor.run("policy", "apply", file, "--dry-run")
        auditor.run("policy", "apply", file, "--yes", code=4)
        auditor.run("audit", "verify")
        operator = Commands(tmp_path, served.options(Role.OPERATOR), POLICY, capsys)
        found = operator.told("audit", "search", "--evidence", EVIDENCE)["records"]
        assert [each["record"]["code"] for each in found] == ["policy.no-rule"]
        operator.run("audit", "search", code=4)
    store.close()
    said = operator.run("secret", "list", code=3)
    assert "[network]" in said


def test_a_lost_answer_says_that_the_service_may_have_the_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path)
    with serving(Site(tmp_path), store) as served:

        def lose(*_arguments: object) -> None:
            raise NetworkError("the answer was lost")

        monkeypatch.setattr(RemoteAdministration, "add_secret", lose)
        commands = Commands(tmp_path, served.options(), POLICY, capsys)
        out = commands.file("wrap.key")
        said = commands.run("secret", "add", "digits", "--generate", "--out", out, code=3)
        assert "first look whether it has it" in said
    store.close()


def test_a_change_made_here_is_made_in_the_name_of_this_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    World.create(now=datetime.now(UTC)).save(tmp_path / "lab")
    config = tmp_path / "keyservice.toml"
    config.write_text(CONFIG)
    Site(tmp_path)
    initialise(load_config(config), log_name=None)
    with open_administration(config) as admin:
        assert admin.add_secret("digits", b"x").created_by.startswith("local:")
