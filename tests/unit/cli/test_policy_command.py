"""`sealserve policy`: what each command prints and writes, and its exit codes."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sealserve.cli import main
from sealserve.lab.faults import NO_FAULTS, Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import World
from sealserve.verifier import load_trust_root

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SIGSTRUCT = Path(__file__).parents[2] / "data" / "gramine" / "sigstruct" / "sample.sig"
KNOWN, OTHER = b"\x01" * 32, b"\x02" * 32
ENCLAVE = EnclaveIdentity(mr_enclave=KNOWN, mr_signer=b"\x03" * 32)
REASON = "the firmware update of our fleet is due in March"


def policy_text(*, mr_enclave: bytes = KNOWN, root: str = "intel", more: str = "") -> str:
    return (
        f'# ours\nversion = 2\ntrust_root = "{root}"\n\n'
        f'[[identities]]\nname = "server"\nmr_enclave = ["{mr_enclave.hex()}"]\n\n'
        f'[[rules]]\nname = "digits"\nidentities = ["server"]\nsecret = "digits"\n{more}'
    )


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(policy_text(mr_enclave=bytes.fromhex("9f3c1a7be04d2568" * 2 + "0a1b" * 8)))
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["policy", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def told(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Any:
    """The one JSON object that a command prints."""
    assert run(*arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


# check


def test_a_sound_policy_passes(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", policy) == 0
    assert capsys.readouterr().out == (
        f"{policy} is valid (rules 1, identities 1, exceptions 0): errors 0, warnings 0\n"
    )
    facts = told(capsys, "check", policy)
    assert facts == {"valid": True, "errors": 0, "warnings": 0, "findings": []}


def test_a_finding_is_printed_with_file_line_and_what_to_do(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text(policy.read_text() + 'secretz = "x"\n')
    assert run("check", policy) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{policy}:13: error: unknown key rules[0].secretz")
    assert printed[1].startswith("  hint: ")
    assert printed[-1] == f"{policy} is not valid: errors 1, warnings 0"


def test_warnings_are_errors_where_that_is_asked_for(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text("version = 2\n")
    assert run("check", policy) == 0
    assert run("check", policy, "--strict") == 1
    capsys.readouterr()
    facts = told(capsys, "check", policy, "--strict", code=1)
    assert (facts["valid"], facts["warnings"], facts["findings"][0]["line"]) == (True, 1, 1)


def test_a_policy_is_checked_at_the_time_that_is_named(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exception = (
        f'\n[[exceptions]]\nname = "fleet"\nreason = "{REASON}"\nexpires = 2027-03-31\n'
        'advisory_ids = ["INTEL-SA-00615"]\n'
    )
    policy.write_text(policy.read_text() + exception)
    assert run("check", policy, "--at", "2026-12-01T00:00:00Z") == 0
    capsys.readouterr()
    facts = told(capsys, "check", policy, "--at", "2027-04-01T00:00:00Z", code=1)
    assert [each["code"] for each in facts["findings"]] == ["policy.expired"]


@pytest.mark.parametrize("data", [b"\xff", b"x" * (5 << 20)], ids=["not UTF-8", "too large"])
def test_what_is_no_text_of_a_policy_is_an_error(policy: Path, data: bytes) -> None:
    policy.write_bytes(data)
    assert run("check", policy) == 1


# diff


def test_differences_are_printed_one_a_line(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new.toml"
    new.write_text(policy.read_text().replace("# ours", "") + 'asked_for = ["a.example"]\n')
    assert run("diff", policy, new) == 0
    assert capsys.readouterr().out.splitlines() == [
        "narrower  rule 'digits': asked_for: was any, is a.example",
        "wider 0, narrower 1, other 0",
    ]
    facts = told(capsys, "diff", new, policy)
    assert (facts["same"], facts["wider"], facts["narrower"]) == (False, 1, 0)


def test_a_policy_is_the_same_as_itself(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diff", policy, policy) == 0
    assert capsys.readouterr().out == "the policies mean the same\n"
    assert told(capsys, "diff", policy, policy)["differences"] == []


# explain


def evidence(folder: Path, faults: Faults = NO_FAULTS) -> list[str]:
    """The options for a quote of the lab in `folder`; two policies that name its root are there."""
    world = World.create(now=NOW, faults=faults)
    (folder / "root.pem").write_bytes(world.root_ca_pem)
    (folder / "quote.bin").write_bytes(world.quote(ENCLAVE.report(bytes(64))))
    (folder / "collateral").mkdir()
    for name, data in world.collateral().to_files().items():
        (folder / "collateral" / name).write_bytes(data)
    root = load_trust_root(world.root_ca_pem).sha256.hex()
    (folder / "lab.toml").write_text(policy_text(root=root))
    (folder / "other.toml").write_text(policy_text(mr_enclave=OTHER, root=root))
    return [
        *("--quote", str(folder / "quote.bin"), "--collateral", str(folder / "collateral")),
        *("--trust-root", str(folder / "root.pem"), "--at", NOW.isoformat()),
    ]


def test_a_quote_that_is_allowed_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = evidence(tmp_path)
    assert run("explain", tmp_path / "lab.toml", *options) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("allowed: the secret 'digits'\nSIMULATED")
    assert "granted by rule 'digits', for the identity 'server':" in printed
    assert "FAIL" not in printed
    facts = told(capsys, "explain", tmp_path / "lab.toml", *options)
    assert (facts["verdict"], facts["secret"], facts["rule"]) == ("accept", "digits", "digits")


def test_a_denial_says_what_was_found_expected_and_what_would_fix_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = evidence(tmp_path)
    assert run("explain", tmp_path / "other.toml", *options) == 4
    printed = capsys.readouterr().out
    assert "nearest is rule 'digits', for the identity 'server':" in printed
    assert f"found:    {KNOWN.hex()}" in printed
    assert f"expected: {OTHER.hex()}" in printed
    facts = told(capsys, "explain", tmp_path / "other.toml", *options, code=4)
    (failed,) = [each for each in facts["conditions"] if not each["held"]]
    assert (failed["field"], failed["found"], failed["expected"]) == (
        "mr_enclave",
        KNOWN.hex(),
        OTHER.hex(),
    )
    assert "mr_enclave of identity 'server'" in failed["fix"]
    assert facts["rules"] == [
        {"rule": "digits", "identity": "server", "failed": ["policy.measurement"]}
    ]


def test_an_exception_that_was_needed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = evidence(tmp_path, Faults.OUTDATED_TCB)
    policy = tmp_path / "lab.toml"
    facts = told(capsys, "explain", policy, *options, code=4)
    assert facts["code"] == "policy.tcb-status"
    advisories = [each["found"] for each in facts["conditions"] if "advisories" in each["code"]]
    found = json.dumps([each for each in advisories if each != "none"])
    exception = (
        f'[[exceptions]]\nname = "fleet"\nreason = "{REASON}"\nexpires = 2027-03-31\n'
        f'tcb_statuses = ["OutOfDate"]\nadvisory_ids = {found}\n'
    )
    policy.write_text(policy.read_text() + exception)
    facts = told(capsys, "explain", policy, *options)
    assert facts["exceptions"] == ["fleet"]
    run("explain", policy, *options)
    assert "(by exception 'fleet')" in capsys.readouterr().out


def test_evidence_that_does_not_verify_is_rejected_before_any_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = evidence(tmp_path)
    data = bytearray((tmp_path / "quote.bin").read_bytes())
    data[112] ^= 1  # in MRENCLAVE
    (tmp_path / "quote.bin").write_bytes(data)
    assert run("explain", tmp_path / "lab.toml", *options) == 2
    assert capsys.readouterr().out.startswith("rejected [")
    facts = told(capsys, "explain", tmp_path / "lab.toml", *options, code=2)
    assert facts["verdict"] == "reject"


def test_collateral_that_is_not_there_ends_in_three(tmp_path: Path) -> None:
    options = evidence(tmp_path)
    shutil.rmtree(tmp_path / "collateral")
    assert run("explain", tmp_path / "lab.toml", *options) == 3


def claims(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `quote verify --json` says of the lab's quote."""
    _, quote, *others = evidence(folder)
    with pytest.raises(SystemExit):
        main(["quote", "verify", quote, *others, "--json"])
    return json.loads(capsys.readouterr().out)


def test_claims_that_were_recorded_are_explained_as_of_their_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = claims(tmp_path, capsys)
    path = tmp_path / "claims.json"
    for document in (printed, printed["claims"]):
        path.write_text(json.dumps(document))
        assert told(capsys, "explain", tmp_path / "lab.toml", "--claims", path)["secret"]
    later = ("--at", (NOW + timedelta(days=400)).isoformat())
    facts = told(capsys, "explain", tmp_path / "lab.toml", "--claims", path, *later, code=4)
    assert facts["code"] == "policy.collateral-age"


def test_a_record_is_explained_for_the_names_that_were_asked_for_with_it(
    tmp_path: Path, audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(audit.read_text().splitlines()[1])
    path, by = tmp_path / "record.json", tmp_path / "many.toml"
    by.write_text(
        (tmp_path / "lab.toml").read_text().replace('secret = "digits"', 'secrets = ["a-*"]')
    )
    for asked, code, named in (
        (None, 4, ()),
        ("a-1", 0, ()),
        ("b-1", 4, ()),
        ("b-1", 0, ("--secret", "a-1")),
        ("a-1", 4, ("--secret", "b-1")),
    ):
        path.write_text(json.dumps(record | {"asked_secret": asked}))
        facts = told(capsys, "explain", by, "--claims", path, *named, code=code)
        assert facts["secret"] == ("a-1" if code == 0 else None)
        assert facts["code"] == ("policy.allowed" if code == 0 else "policy.secret")
    path.write_text(json.dumps(record | {"asked_secret": ["a-1"]}))
    assert run("explain", by, "--claims", path) == 2


@pytest.mark.parametrize(
    ("text", "code"),
    [("{", 1), ("[]", 2), ('{"claims": null}', 2), ('{"tee": "SGX"}', 2), ("[" * 9999, 1)],
)
def test_claims_that_are_none_are_refused(policy: Path, text: str, code: int) -> None:
    path = policy.with_name("claims.json")
    path.write_text(text)
    assert run("explain", policy, "--claims", path) == code


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--quote", "q"],
        ["--quote", "q", "--claims", "c", "--collateral", "d"],
        ["--claims", "c", "--collateral", "d"],
        ["--claims", "c", "--trust-root", "r"],
    ],
    ids=" ".join,
)
def test_a_quote_and_claims_are_not_confused(policy: Path, options: list[str]) -> None:
    assert run("explain", policy, *options) == 1


# replay


@pytest.fixture
def audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """An exported log: the lab's enclave got its secret, was denied, and was rejected once."""
    recorded = claims(tmp_path, capsys)["claims"]
    path = tmp_path / "audit.jsonl"
    decision = {"kind": "decision", "time": NOW.isoformat(), "asked_for": None, "secret": None}
    records = [{"kind": "policy"}]
    for outcome, code, stated in (
        ("released", "policy.allowed", recorded),
        ("denied", "policy.measurement", recorded),
        ("rejected", "quote.signature", None),
    ):
        secret = "digits" if outcome == "released" else None
        records.append(
            decision | {"outcome": outcome, "code": code, "claims": stated, "secret": secret}
        )
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return path


def test_a_replay_counts_every_decision_and_shows_those_that_change(
    tmp_path: Path, audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = told(capsys, "replay", tmp_path / "lab.toml", "--audit", audit)
    assert {name: facts[name] for name in facts if name != "changed"} == {
        "decisions": 3,
        "same": 1,
        "now_allowed": 1,
        "now_denied": 0,
        "other_secret": 0,
        "not_decidable": 1,
        "other_records": 1,
        "unlisted": 0,
    }
    (changed,) = facts["changed"]
    assert (changed["index"], changed["after"]) == (2, "policy.allowed")


def test_a_replay_says_who_would_be_shut_out_and_why(
    tmp_path: Path, audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("replay", tmp_path / "other.toml", "--audit", audit) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("3 decisions on record\n")
    assert f"record 1, {NOW.isoformat()}: now denied" in printed
    assert "was released [policy.allowed], is [policy.measurement] by rule 'digits'" in printed
    assert "mr_enclave FAILS" in printed


NO_RECORDS = {
    "no JSON": b"denied",
    "a line that was cut": b'{"kind": "decision", "outcome"',
    "a list": b"[1]",
    "deep": b"[" * 60_000,
    "a number of many digits": b"1" * 60_000,
    "no UTF-8": b'{"kind": "\xff"}',
    "an empty line": b"\n{}",
    "a long line": b'{"kind": "' + b"x" * (64 << 10) + b'"}',
}


@pytest.mark.parametrize("line", NO_RECORDS.values(), ids=NO_RECORDS)
def test_a_line_that_is_no_record_ends_in_five(
    tmp_path: Path, audit: Path, capsys: pytest.CaptureFixture[str], line: bytes
) -> None:
    audit.write_bytes(audit.read_bytes() + line)
    assert run("replay", tmp_path / "lab.toml", "--audit", audit) == 5
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "line 5 is no record" in printed.err


def test_a_log_without_records_has_no_decisions(
    tmp_path: Path, audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit.write_bytes(b"")
    facts = told(capsys, "replay", tmp_path / "lab.toml", "--audit", audit)
    assert (facts["decisions"], facts["other_records"]) == (0, 0)


@pytest.mark.parametrize(("at", "code"), [("recorded", 0), (NOW.isoformat(), 0), ("then", 1)])
def test_the_time_of_a_replay_is_recorded_or_a_time(
    tmp_path: Path, audit: Path, at: str, code: int
) -> None:
    assert run("replay", tmp_path / "lab.toml", "--audit", audit, "--at", at) == code


def test_a_log_that_is_not_there_is_an_error(policy: Path, tmp_path: Path) -> None:
    assert run("replay", policy, "--audit", tmp_path / "none") == 1


# import

RA_CONFIG = """{
    "verify_mr_enclave" : "on",
    "verify_mr_signer" : "on",
    "verify_isv_prod_id" : "on",
    "verify_isv_svn" : "on",
    "mrs": [
        {
            "mr_enclave" : "39b02dbf3cd6d6c68eb227a5da019c3721162085116a614ab4be0d1f81199d8f",
            "mr_signer" : "ae483edd52e38b2ef67f3962b75ad47f987db8d3a42d0cd1ca7b6ee4c7035a6e",
            "isv_prod_id" : "0",
            "isv_svn" : "0"
        }
    ]
}
"""


@pytest.fixture
def ra_config(tmp_path: Path) -> Path:
    path = tmp_path / "ra_config.json"
    path.write_text(RA_CONFIG)
    return path


def test_the_guides_own_file_becomes_a_policy_that_a_check_lets_pass(
    ra_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "imported.toml"
    assert run("import", ra_config, "--secret", "wrap-key", "--out", out) == 0
    assert "written, enclaves 1" in capsys.readouterr().out
    assert run("check", out) == 0
    assert out.stat().st_mode & 0o777 == 0o644


def test_a_file_with_faults_is_not_imported(
    ra_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ra_config.write_text(RA_CONFIG.replace('"verify_isv_svn" : "on"', '"verify_isv_svn" : true'))
    out = tmp_path / "imported.toml"
    assert run("import", ra_config, "--secret", "wrap-key", "--out", out) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{ra_config}:5: error: verify_isv_svn is true")
    assert not out.exists()
    facts = told(capsys, "import", ra_config, "--secret", "wrap-key", "--out", out, code=1)
    assert (facts["written"], facts["errors"]) == (None, 1)


def test_a_policy_that_exists_is_never_replaced(ra_config: Path, policy: Path) -> None:
    before = policy.read_bytes()
    assert run("import", ra_config, "--secret", "wrap-key", "--out", policy) == 1
    assert policy.read_bytes() == before


def test_insecure_switches_of_the_start_script_need_an_answer(
    ra_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, out = tmp_path / "start.sh", tmp_path / "imported.toml"
    script.write_text("#!/bin/sh\nexport RA_TLS_ALLOW_OUTDATED_TCB_INSECURE=1\n")
    command = ["import", ra_config, "--secret", "key", "--out", out, "--start-script", script]
    assert run(*command) == 1
    assert "start.sh:2: error: allow_outdated_tcb_insecure is on" in capsys.readouterr().out
    assert run(*command, "--exception-reason", REASON) == 1
    end = (datetime.now(UTC) + timedelta(days=60)).date().isoformat()
    answer = ["--exception-reason", REASON, "--exception-expires", end]
    assert run(*command, *answer, "--exception-advisory", "INTEL-SA-00615") == 0
    capsys.readouterr()
    facts = told(capsys, "check", out)
    assert facts["errors"] == 0


# add-measurement


def test_a_measurement_is_added_and_nothing_else_changes(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.chmod(0o640)
    before = policy.read_text().splitlines()
    assert run("add-measurement", policy, SIGSTRUCT, "--identity", "server") == 0
    stated = json.loads(SIGSTRUCT.with_name("sample.view.json").read_text())
    added = stated["mr_enclave"]
    assert f"{added} is now in 'server'" in capsys.readouterr().out
    after = policy.read_text().splitlines()
    assert [line for line in after if added not in line] == [
        line for line in before if "mr_enclave" not in line
    ]
    assert policy.stat().st_mode & 0o777 == 0o640
    facts = told(capsys, "add-measurement", policy, SIGSTRUCT, "--identity", "server")
    assert facts["changed"] is False


def test_a_new_identity_is_made_where_that_is_asked_for(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("add-measurement", policy, SIGSTRUCT, "--identity", "ours") == 1
    assert "--create" in capsys.readouterr().err
    options = ("--identity", "ours", "--by-signer", "--create")
    assert run("add-measurement", policy, SIGSTRUCT, *options) == 0
    assert "sample.sig, signed 2" in policy.read_text()
    assert run("check", policy) == 0  # with a warning: no rule names it yet


def test_a_link_stays_a_link(policy: Path) -> None:
    link = policy.with_name("link.toml")
    link.symlink_to(policy)
    assert run("add-measurement", link, SIGSTRUCT, "--identity", "server") == 0
    assert link.is_symlink()
    assert "sample" not in policy.read_text()  # a list on one line has no room for a remark
    assert policy.read_text().count('", "') == 1


def flipped(data: bytes, offset: int, bit: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ bit]) + data[offset + 1 :]


@pytest.mark.parametrize(
    "change",
    [lambda data: flipped(data, 960, 1), lambda data: data[:-1], lambda data: data * 9],
    ids=["another measurement", "too short", "too long"],
)
def test_a_sigstruct_that_does_not_verify_is_rejected(policy: Path, change: Any) -> None:
    path, before = policy.with_name("bad.sig"), policy.read_bytes()
    path.write_bytes(change(SIGSTRUCT.read_bytes()))
    assert run("add-measurement", policy, path, "--identity", "server") == 2
    assert policy.read_bytes() == before


def debug_sigstruct() -> bytes:
    """The sample with its debug attribute set, signed by a key of our own."""
    key = rsa.generate_private_key(public_exponent=3, key_size=3072)
    modulus = key.public_key().public_numbers().n
    data = bytearray(SIGSTRUCT.read_bytes())
    data[928] |= 0x02
    data[128:512] = modulus.to_bytes(384, "little")
    raw = key.sign(bytes(data[:128] + data[900:1028]), padding.PKCS1v15(), hashes.SHA256())
    signature = int.from_bytes(raw, "big")
    q1, rest = divmod(signature**2, modulus)
    data[516:900] = signature.to_bytes(384, "little")
    data[1040:1424] = q1.to_bytes(384, "little")
    data[1424:1808] = (rest * signature // modulus).to_bytes(384, "little")
    return bytes(data)


def test_a_sigstruct_of_a_debug_enclave_is_refused(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, before = policy.with_name("debug.sig"), policy.read_bytes()
    path.write_bytes(debug_sigstruct())
    assert run("add-measurement", policy, path, "--identity", "server") == 1
    assert "debug enclave" in capsys.readouterr().err
    assert policy.read_bytes() == before
