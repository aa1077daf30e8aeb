"""`sealserve quote verify`: what it says of good and bad evidence, and its exit codes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sealserve.attester.ratls import make_certificate
from sealserve.cli import main
from sealserve.lab.faults import NO_FAULTS, Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import World
from sealserve.verifier import load_trust_root

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENCLAVE = EnclaveIdentity(mr_enclave=b"\x01" * 32, mr_signer=b"\x02" * 32)


@dataclass(frozen=True)
class WorldSource:
    """An evidence source of the lab, in this process."""

    world: World

    def quote(self, report_data: bytes) -> bytes:
        return self.world.quote(ENCLAVE.report(report_data))


class Stolen(WorldSource):
    """A source of genuine quotes that bind nothing."""

    def quote(self, report_data: bytes) -> bytes:
        return super().quote(bytes(64))


@dataclass(frozen=True)
class Case:
    """The files of one verification."""

    folder: Path
    world: World

    def write(self, name: str, data: bytes | str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    @property
    def arguments(self) -> list[str]:
        return [
            *("--collateral", str(self.folder / "collateral")),
            *("--trust-root", str(self.folder / "root.pem")),
            *("--at", NOW.isoformat()),
        ]


def case(folder: Path, faults: Faults = NO_FAULTS) -> Case:
    made = Case(folder, World.create(now=NOW, faults=faults))
    made.write("root.pem", made.world.root_ca_pem)
    made.write("quote.bin", made.world.quote(ENCLAVE.report(bytes(64))))
    for name, data in made.world.collateral().to_files().items():
        made.write(f"collateral/{name}", data)
    return made


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["quote", "verify", *map(str, arguments)])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def verified(
    capsys: pytest.CaptureFixture[str],
    made: Case,
    *arguments: str | Path,
    code: int,
    file: str = "",
) -> Any:
    assert run(made.folder / (file or "quote.bin"), *made.arguments, "--json", *arguments) == code
    return json.loads(capsys.readouterr().out)


def outcomes(shown: Any) -> dict[str, str]:
    return {row["check"]: row["outcome"] for row in shown["steps"]}


def test_a_good_quote_is_accepted_with_its_claims_and_every_check_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = verified(capsys, case(tmp_path), code=0)
    assert (shown["verdict"], shown["code"], shown["tee"]) == ("accept", "policy.allowed", "SGX")
    assert (shown["tcb_status"], shown["advisory_ids"]) == ("UpToDate", [])
    assert shown["claims"]["mr_enclave"] == "01" * 32
    assert shown["claims"]["simulated"] is True
    assert set(outcomes(shown).values()) == {"passed"}
    assert {row["step"] for row in shown["steps"]} == set(range(9))


def test_a_lesser_status_is_reported_and_not_judged_without_a_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = verified(capsys, case(tmp_path, Faults.OUTDATED_TCB), code=0)
    assert (shown["verdict"], shown["tcb_status"]) == ("accept", "OutOfDate")
    assert shown["advisory_ids"]


def test_a_rejection_names_the_check_and_claims_nothing_of_those_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = verified(capsys, case(tmp_path, Faults.TAMPERED_QUOTE), code=2)
    assert (shown["verdict"], shown["code"]) == ("reject", "QUOTE_SIGNATURE")
    assert (shown["claims"], shown["tcb_status"], shown["tee"]) == (None, None, "SGX")
    found = outcomes(shown)
    assert found["QE_REPORT_SIGNATURE"] == "passed"
    assert found["QUOTE_SIGNATURE"] == "failed"
    assert found["TCB_NOT_SUPPORTED"] == "not reached"


def test_a_debug_enclave_is_denied_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = verified(capsys, case(tmp_path, Faults.DEBUG), code=4)
    assert (shown["verdict"], shown["code"]) == ("deny", "policy.debug")
    assert shown["claims"]["debug"] is True
    assert outcomes(shown)["policy.debug"] == "failed"
    assert "debug" in shown["message"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(b"", "QUOTE_FORMAT", id="empty"),
        pytest.param(b"hello, world", "QUOTE_FORMAT", id="text"),
        pytest.param(b"\x30\x00" + bytes(1000), "ratls.certificate", id="looks-like-a-certificate"),
        pytest.param(b"\x09\x00" + bytes(1000), "QUOTE_FORMAT", id="version-9"),
    ],
)
def test_what_is_no_evidence_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: bytes, code: str
) -> None:
    made = case(tmp_path)
    made.write("bad.bin", change)
    shown = verified(capsys, made, code=2, file="bad.bin")
    assert (shown["verdict"], shown["code"], shown["tee"]) == ("reject", code, None)


def test_a_certificate_must_also_bind_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = case(tmp_path)
    made.write("own.der", make_certificate(WorldSource(made.world)).certificate_der)
    assert verified(capsys, made, code=0, file="own.der")["verdict"] == "accept"

    made.write("stolen.der", make_certificate(Stolen(made.world), style="legacy").certificate_der)
    shown = verified(capsys, made, code=2, file="stolen.der")
    assert (shown["verdict"], shown["code"]) == ("reject", "binding.report-data")
    assert shown["claims"] is None
    failed = [check for check, outcome in outcomes(shown).items() if outcome != "passed"]
    assert failed == ["binding.report-data"]


def test_crls_that_are_missing_are_a_rejection_unless_the_caller_skips_them_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = case(tmp_path)
    (tmp_path / "collateral" / "pck.crl").unlink()
    assert verified(capsys, made, code=2)["code"] == "CRL_MISSING"
    shown = verified(capsys, made, "--dangerously-skip-revocation", code=0)
    assert shown["claims"]["revocation_checked"] is False
    assert "CRL_MISSING" not in outcomes(shown)


def test_collateral_that_is_not_to_be_had_is_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = case(tmp_path)
    (tmp_path / "collateral" / "tcb_info.json").unlink()
    shown = verified(capsys, made, code=3)
    assert shown["error"]["code"] == "collateral"
    assert "tcb_info.json" in shown["error"]["message"]


def policy(made: Case, *lines: str) -> Path:
    root = load_trust_root(made.world.root_ca_pem).sha256.hex()
    return made.write(
        "policy.toml",
        "\n".join(
            (
                "version = 2",
                f'trust_root = "{root}"',
                '[[identities]]\nname = "server"',
                f'mr_enclave = ["{"01" * 32}"]',
                '[[rules]]\nname = "digits"\nidentities = ["server"]\nsecret = "digits"',
                *lines,
            )
        ),
    )


def test_a_policy_decides_by_its_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = case(tmp_path, Faults.OUTDATED_TCB)
    shown = verified(capsys, made, "--policy", policy(made), code=4)
    assert (shown["verdict"], shown["code"]) == ("deny", "policy.tcb-status")
    assert (shown["rule"], shown["tcb_status"]) == ("digits", "OutOfDate")
    assert shown["hint"]


def test_no_command_goes_on_with_a_genuine_quote_in_a_certificate_that_it_does_not_bind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = case(tmp_path)
    made.write("stolen.der", make_certificate(Stolen(made.world), style="legacy").certificate_der)
    file, stolen = policy(made), str(tmp_path / "stolen.der")
    main_key = str(tmp_path / "verifier.key")
    with pytest.raises(SystemExit):
        main(["result", "key", "--out", main_key])
    for words in (
        ["policy", "explain", str(file), "--quote", stolen],
        ["result", "issue", stolen, "--policy", str(file), "--key", main_key, "--out", "never"],
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([*words, *made.arguments, "--json"])
        assert caught.value.code == 2
        assert "binding.report-data" in capsys.readouterr().out


def test_the_name_that_was_asked_for_counts_where_the_policy_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = case(tmp_path)
    file = policy(made, 'asked_for = ["models.example.com"]')
    assert verified(capsys, made, "--policy", file, code=4)["code"] == "policy.asked-for"
    shown = verified(capsys, made, "--policy", file, "--asked-for", "models.example.com", code=0)
    assert (shown["verdict"], shown["rule"]) == ("accept", "digits")


def test_a_grace_that_the_policy_grants_is_used_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = case(tmp_path)
    late = (NOW + timedelta(days=30)).isoformat()
    assert verified(capsys, made, "--at", late, code=2)["code"] == "CRL_VALIDITY"
    file = policy(
        made,
        '[[exceptions]]\nname = "outage"\nreason = "the collateral service is being moved"',
        "expires = 2026-07-31\ncollateral_grace_hours = 24",
    )
    shown = verified(capsys, made, "--at", late, "--policy", file, code=0)
    assert shown["exceptions"] == ["outage"]
    assert shown["claims"]["collateral_valid_until"] < shown["claims"]["verified_at"]


def test_a_person_reads_the_verdict_the_cause_and_that_it_is_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = case(tmp_path, Faults.DEBUG)
    assert run(tmp_path / "quote.bin", *made.arguments) == 4
    printed = capsys.readouterr().out
    assert printed.startswith("deny [policy.debug]\n")
    assert "SIMULATED" in printed
    assert "(policy.debug)" in printed


def test_without_naming_the_labs_root_nothing_of_the_lab_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case(tmp_path)
    collateral = tmp_path / "collateral"
    code = run(
        tmp_path / "quote.bin", "--collateral", collateral, "--at", NOW.isoformat(), "--json"
    )
    assert code == 2
    assert json.loads(capsys.readouterr().out)["code"] == "PCK_CHAIN"


@pytest.mark.parametrize("moment", ["yesterday", "2026-06-01T12:00:00", "99999999999999"])
def test_a_time_is_understood_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    made = case(tmp_path)
    assert run(tmp_path / "quote.bin", *made.arguments, "--at", moment) == 1
    assert moment in capsys.readouterr().err


def test_a_time_may_be_seconds_since_1970(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = case(tmp_path)
    shown = verified(capsys, made, "--at", str(int(NOW.timestamp())), code=0)
    assert shown["claims"]["verified_at"] == NOW.isoformat()
