"""`sealserve lab` as a person runs it: real processes, from init to a verified quote."""

import hashlib
import json
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sealserve.cli import main
from sealserve.cli.lab import lab
from sealserve.evidence.quote import parse_quote
from sealserve.files import write_file
from sealserve.lab.folder import LabFolder
from sealserve.lab.world import World
from sealserve.verifier import verify

SEALSERVE = (sys.executable, "-m", "sealserve")
WAIT_SECONDS = 60.0


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SEALSERVE, *words], capture_output=True, text=True, timeout=WAIT_SECONDS, **options
    )


def start(*words: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SEALSERVE, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@contextmanager
def running_qe(folder: Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    """`sealserve lab qe`, from when it listens to the end of the block."""
    with start("lab", "qe", str(folder), **options) as process:
        try:
            assert process.stderr is not None
            assert "SIMULATED quoting enclave listens at" in process.stderr.readline()
            yield process
        finally:
            process.terminate()


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} runs on"
        time.sleep(0.02)


def start_tiny(folder: LabFolder, tiny: Path) -> tuple[subprocess.Popen[str], int]:
    """The front process of a tiny enclave, and the enclave's process id."""
    front = start("lab", "enclave", str(folder.path), "--code", str(tiny), "--", "tiny")
    assert front.stderr is not None
    words = front.stderr.readline().split()
    assert words[:2] == ["SIMULATED", "enclave"]
    return front, int(words[2])


@pytest.mark.long
def test_an_enclave_with_a_quoting_enclave_of_its_own_leaves_the_world_as_it_is(
    lab_folder: LabFolder, tiny: Path, tmp_path: Path
) -> None:
    before = sorted(lab_folder.path.rglob("*"))
    words = ("lab", "enclave", str(lab_folder.path), "--code", str(tiny))
    fronts = [
        start(*words, "--qe", str(tmp_path / name), "--", "tiny") for name in ("one", "another")
    ]
    for front in fronts:  # one world quotes for both, each by itself
        assert front.stderr is not None
        assert front.stderr.readline().startswith("SIMULATED enclave")
        front.send_signal(signal.SIGTERM)
        front.communicate(timeout=WAIT_SECONDS)
    assert sorted(lab_folder.path.rglob("*")) == before
    assert not (tmp_path / "one" / "qe.sock").exists()


@pytest.mark.long
def test_from_init_to_a_verified_quote_of_what_measure_said(tmp_path: Path) -> None:
    made = json.loads(run("lab", "init", "lab", "--json", cwd=tmp_path, check=True).stdout)
    assert made["simulated"] is True
    command = ("lab", "selfquote", "--evidence_source", "lab:lab/qe.sock")
    words = ("lab", "measure", "lab", "--manifest", "manifest.json", "--", *command)
    measured = run(*words, cwd=tmp_path, check=True)
    facts = dict(line.split() for line in measured.stdout.splitlines())
    with running_qe(Path("lab"), cwd=tmp_path):
        refused = run(*command, cwd=tmp_path)
        quoted = run("lab", "enclave", "lab", "--", *command, cwd=tmp_path)
    assert quoted.returncode == 0, quoted.stderr
    assert refused.returncode == 4
    assert "lab.not-an-enclave" in refused.stderr
    assert "SIMULATED" in quoted.stderr
    world = World.load(tmp_path / "lab")
    claims = verify(
        bytes.fromhex(quoted.stdout),
        world.collateral(),
        trust_root=(tmp_path / made["trust_root"]).read_bytes(),
        now=datetime.now(UTC),
    )
    assert claims.standing.tcb_status == "UpToDate"
    assert (
        claims.target.mr_enclave
        == hashlib.sha256((tmp_path / "manifest.json").read_bytes()).digest()
    )
    assert facts == {  # the guide's four lines
        "mr_enclave:": claims.target.mr_enclave.hex(),
        "mr_signer:": claims.target.mr_signer.hex(),
        "isv_prod_id:": "0",
        "isv_svn:": "0",
    }
    assert made["mr_signer"] == claims.target.mr_signer.hex()
    assert "SIMULATED" in measured.stderr


def test_the_front_ends_with_the_enclaves_exit_code(service: LabFolder, tiny: Path) -> None:
    front, _ = start_tiny(service, tiny)
    front.communicate("exit 9\n", timeout=WAIT_SECONDS)
    assert front.returncode == 9
    front, enclave = start_tiny(service, tiny)
    front.terminate()
    # With its input open, whose end would be the enclave's, too.
    assert front.wait(WAIT_SECONDS) == 128 + signal.SIGTERM
    front.communicate()
    wait_until_gone(enclave)


def test_a_killed_front_takes_its_enclave_along(service: LabFolder, tiny: Path) -> None:
    front, enclave = start_tiny(service, tiny)
    front.kill()
    front.communicate(timeout=WAIT_SECONDS)
    wait_until_gone(enclave)


def test_a_killed_quoting_enclave_leaves_no_enclave_behind(
    lab_folder: LabFolder, tiny: Path
) -> None:
    with running_qe(lab_folder.path) as qe:
        front, enclave = start_tiny(lab_folder, tiny)
        qe.kill()
        _, explanation = front.communicate(timeout=WAIT_SECONDS)
    assert front.returncode == 3
    assert "went away" in explanation
    wait_until_gone(enclave)


def test_a_quoting_enclave_short_of_descriptors_goes_on_when_there_are_some_again(
    lab_folder: LabFolder,
) -> None:
    with running_qe(lab_folder.path) as process, socket.socket(socket.AF_UNIX) as caller:
        used = 1 + max(int(path.name) for path in Path(f"/proc/{process.pid}/fd").iterdir())
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
        caller.settimeout(WAIT_SECONDS)
        caller.connect(str(lab_folder.socket))
        caller.sendall(b"SSQ1" + bytes(64))
        time.sleep(0.5)  # it cannot take this connection now
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        answer = b"".join(iter(lambda: caller.recv(100), b""))
    assert answer.endswith(b"lab.not-an-enclave")


def test_an_enclave_without_its_quoting_enclave_is_explained(
    lab_folder: LabFolder, tiny: Path
) -> None:
    failed = run("lab", "enclave", str(lab_folder.path), "--code", str(tiny), "--", "tiny")
    assert failed.returncode == 3
    assert "sealserve lab qe" in failed.stderr


def test_a_quote_that_says_what_one_likes_still_says_simulated(
    lab_folder: LabFolder, tmp_path: Path
) -> None:
    out = tmp_path / "enclave.quote"
    identity = ("--mr-enclave", "e5" * 32, "--mr-signer", "51" * 32, "--isv-svn", "2", "--debug")
    words = (*identity, "--report-data", "c0ffee", "--out", str(out))
    printed = CliRunner().invoke(lab, ["quote", str(lab_folder.path), *words])
    assert printed.exit_code == 0
    assert "SIMULATED" in printed.stderr
    body = parse_quote(out.read_bytes()).body
    assert (body.mr_enclave, body.mr_signer) == (b"\xe5" * 32, b"\x51" * 32)
    assert (body.isv_svn, body.debug) == (2, True)
    assert body.report_data == bytes.fromhex("c0ffee").ljust(64, b"\0")


@pytest.mark.parametrize("version", [4, 5])
def test_a_quote_of_a_trust_domain_that_says_what_one_likes(
    lab_folder: LabFolder, tmp_path: Path, version: int
) -> None:
    out = tmp_path / "td.quote"
    words = ["--mr-td", "d0" * 48, "--rtmr", "00" * 48, "--rtmr", "11" * 48, "--debug"]
    words += ["--quote-version", str(version), "--report-data", "c0ffee", "--out", str(out)]
    printed = CliRunner().invoke(lab, ["quote", str(lab_folder.path), *words])
    assert printed.exit_code == 0
    assert "SIMULATED" in printed.stderr
    quote = parse_quote(out.read_bytes())
    assert quote.version == version
    assert quote.body.mr_td == b"\xd0" * 48
    assert quote.body.rtmrs == (bytes(48), b"\x11" * 48, bytes(48), bytes(48))
    assert (quote.body.debug, quote.body.mr_service_td is None) == (True, version == 4)


def test_an_enclave_is_quoted_in_later_versions_too(lab_folder: LabFolder, tmp_path: Path) -> None:
    out = tmp_path / "enclave.quote"
    words = ["--mr-enclave", "e5" * 32, "--quote-version", "5", "--out", str(out)]
    assert CliRunner().invoke(lab, ["quote", str(lab_folder.path), *words]).exit_code == 0
    assert parse_quote(out.read_bytes()).version == 5


def test_vectors_are_written_and_checked_and_a_changed_one_is_told(tmp_path: Path) -> None:
    out = tmp_path / "vectors"
    words = ["vectors", "--out", str(out), "--form", "tdx-v5-td15ex", "--json"]
    written = CliRunner().invoke(lab, words)
    facts = json.loads(written.stdout)
    assert facts["simulated"] is True
    assert (
        facts["vectors"] == facts["accept"] + facts["reject"] == len(list(out.glob("*/quote.bin")))
    )
    checked = CliRunner().invoke(lab, ["check-vectors", str(out), "--json"])
    assert checked.exit_code == 0
    agreed = {"vectors": facts["vectors"], "agree": facts["vectors"], "differ": []}
    assert json.loads(checked.stdout) == agreed
    changed = out / "tdx-v5-td15ex-genuine" / "quote.bin"
    changed.write_bytes(changed.read_bytes()[:-1])
    told = CliRunner().invoke(lab, ["check-vectors", str(out), "--json"])
    assert told.exit_code == 2
    assert json.loads(told.stdout)["differ"] == ["tdx-v5-td15ex-genuine"]
    explained = CliRunner().invoke(lab, ["check-vectors", str(out)])
    assert "QUOTE_FORMAT" in explained.stderr


def test_faults_are_made_by_name(
    tmp_path: Path, signing_key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_the_shared_key(file: Path) -> None:  # making one takes seconds
        write_file(file, signing_key)

    monkeypatch.setattr("sealserve.cli.lab.create_signing_key", take_the_shared_key)
    words = ["init", str(tmp_path / "lab"), "--with", "revoked-pck", "--with", "debug", "--json"]
    made = CliRunner().invoke(lab, words)
    assert json.loads(made.stdout)["faults"] == ["revoked-pck", "debug"]


WRONG = {
    "short-measurement": ["quote", "{lab}", "--mr-enclave", "e5", "--out", "x"],
    "no-hex": ["quote", "{lab}", "--mr-enclave", "x" * 64, "--out", "x"],
    "long-report-data": [
        *("quote", "{lab}", "--mr-enclave", "e5" * 32),
        *("--report-data", "00" * 65, "--out", "x"),
    ],
    "nothing-to-quote": ["quote", "{lab}", "--out", "x"],
    "two-to-quote": [
        *("quote", "{lab}", "--mr-enclave", "e5" * 32),
        *("--mr-td", "d0" * 48, "--out", "x"),
    ],
    "short-td": ["quote", "{lab}", "--mr-td", "d0" * 32, "--out", "x"],
    "td-with-signer": ["quote", "{lab}", "--mr-td", "d0" * 48, "--isv-svn", "1", "--out", "x"],
    "td-in-version-3": [
        *("quote", "{lab}", "--mr-td", "d0" * 48),
        *("--quote-version", "3", "--out", "x"),
    ],
    "five-rtmrs": [
        *("quote", "{lab}", "--mr-td", "d0" * 48),
        *(5 * ["--rtmr", "00" * 48]),
        *("--out", "x"),
    ],
    "enclave-with-rtmr": [
        *("quote", "{lab}", "--mr-enclave", "e5" * 32),
        *("--rtmr", "00" * 48, "--out", "x"),
    ],
    "vectors-over-something": ["vectors", "--out", "{lab}"],
    "vectors-of-no-form": ["vectors", "--out", "{lab}/v", "--form", "sgx-v9"],
    "no-vectors": ["check-vectors", "{lab}"],
    "no-world": ["quote", "/nonexistent", "--mr-enclave", "e5" * 32, "--out", "x"],
    "listen-nowhere": ["pccs", "{lab}", "--listen", "8081"],
    "init-twice": ["init", "{lab}"],
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_ends_with_exit_code_1_and_a_hint_to_a_person(
    service: LabFolder, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lab", *(word.format(lab=service.path) for word in WRONG[case])])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("name", lab.commands)
def test_every_command_has_an_example_and_says_simulated(name: str) -> None:
    command = lab.commands[name]
    text = command.get_help(click.Context(command, info_name=name))
    assert f"sealserve lab {name}" in text or name == "selfquote"
    assert "Example:" in text
    assert "SIMULATED" in text or name == "selfquote"
