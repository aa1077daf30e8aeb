"""`sealserve keyservice` as a process: ready line, signals, logs, exit codes."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealserve.attester.secrets import fetch_secret
from sealserve.cli import main
from sealserve.errors import DeniedError
from sealserve.keyservice.audit import check_chain

COMMAND = [sys.executable, "-m", "sealserve", "keyservice"]
OTHER = "mr_enclave = ['" + "00" * 32 + "']"


@dataclass
class Process:
    """A running key service and what it has said."""

    popen: subprocess.Popen
    port: int
    log: list[str]
    changed: threading.Condition

    def wait_for(self, text: str) -> str:
        """The first log line that holds `text`, once it is there."""
        with self.changed:
            found = self.changed.wait_for(lambda: [row for row in self.log if text in row], 30)
        assert found, f"no {text!r} in {self.log}"
        return found[0]

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)


@contextlib.contextmanager
def start(site) -> Iterator[Process]:
    popen = subprocess.Popen(
        [*COMMAND, "run", "--config", str(site.config)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process = Process(popen, 0, [], threading.Condition())

    def collect() -> None:
        for row in popen.stderr:
            with process.changed:
                process.log.append(row)
                process.changed.notify_all()

    reader = threading.Thread(target=collect)
    reader.start()
    try:
        ready = popen.stdout.readline()
        assert ready.startswith("sealserve keyservice: ready on 127.0.0.1:"), process.log
        process.port = int(ready.rpartition(":")[2])
        yield process
    finally:
        popen.kill()
        popen.wait()
        reader.join()
        popen.stdout.close()
        popen.stderr.close()


def fetch(site, process):
    return fetch_secret(
        f"localhost:{process.port}", ca_file=site.ca_file, identity=site.identity(), timeout=30
    )


def run(site, *arguments):
    return subprocess.run(
        [*COMMAND, *arguments, "--config", str(site.config)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_it_serves_says_so_and_leaves_on_sigterm(site):
    with start(site) as process:
        assert fetch(site, process) == site.secret
        decision = process.wait_for("event=decision")
        assert process.stop() == 0
    log = "".join(process.log)
    assert "outcome=released" in decision
    assert "SIMULATED" in decision
    assert check_chain(site.audit).head.digest in decision
    assert site.secret.hex() not in log
    assert repr(site.secret)[2:-1] not in log


def test_no_crash_writes_the_secrets_to_a_disk(site):
    with start(site) as process:
        limits = Path(f"/proc/{process.popen.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)


def test_sighup_brings_a_new_policy_into_force_and_leaves_the_old_for_a_broken_one(site):
    with start(site) as process:
        (site.folder / "policy.toml").write_text("version = 2\nnonsense = true")
        process.popen.send_signal(signal.SIGHUP)
        assert "nonsense" in process.wait_for("event=reload_failed")
        assert fetch(site, process) == site.secret
        site.write_policy(OTHER)
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("event=reloaded")
        with pytest.raises(DeniedError):
            fetch(site, process)
        assert process.stop() == 0


def test_it_goes_on_with_the_log_of_one_that_was_killed(site):
    for _ in range(2):
        with start(site) as process:
            fetch(site, process)
            process.popen.kill()
    assert check_chain(site.audit).head.number == 2


def test_a_second_service_on_the_same_audit_log_is_refused(site):
    with start(site):
        second = run(site, "run")
    assert second.returncode == 1
    assert "alone" in second.stderr


def test_check_says_what_would_be_in_force(site):
    site.write_policy(OTHER, exception="dangerously_allow_debug = true")
    result = run(site, "check", "--json")
    facts = json.loads(result.stdout)
    assert result.returncode == 0
    assert facts["trust_root"] == "SIMULATED"
    assert facts["secrets"] == ["digits"]
    assert facts["rules"] == ["digits server -> digits (raw)"]
    assert facts["exceptions"] == ["for a test, until 3000-01-01T00:00:00+00:00"]
    assert facts["debug_allowed_by"] == ["for a test"]
    assert facts["audit_records"] == 0
    assert not site.audit.exists()
    assert site.secret.hex() not in result.stdout


def test_check_reads_for_people_too(site):
    result = run(site, "check")
    assert result.returncode == 0
    assert "digits server" in result.stdout
    assert "SIMULATED" in result.stderr


def open_secret(site):
    (site.folder / "digits.key").chmod(0o644)


def open_tls_key(site):
    (site.folder / "server.key").chmod(0o640)


def policy_for_intel(site):
    site.write_policy(trust_root="intel")


def config_for_intel(site):
    text = site.config.read_text().replace('trust_root = "lab/root_ca.pem"', "")
    site.config.write_text(text)


def ungranted_secret(site):
    text = (site.folder / "policy.toml").read_text()
    (site.folder / "policy.toml").write_text(text.replace('"digits"', '"letters"'))


def foreign_tls_key(site):
    (site.folder / "server.key").write_bytes((site.folder / "lab/world/pck_key.pem").read_bytes())


def no_certificate(site):
    (site.folder / "server.pem").write_text("nothing")


def no_root(site):
    (site.folder / "lab/root_ca.pem").write_bytes((site.folder / "server.pem").read_bytes())


def no_collateral(site):
    (site.folder / "lab/collateral/pck.crl").unlink()


def broken_policy(site):
    (site.folder / "policy.toml").write_text("version = 2\n[[rules]]\nname = 'x'")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        pytest.param(open_secret, "chmod 600", id="a secret that others may read"),
        pytest.param(open_tls_key, "chmod 600", id="a TLS key that others may read"),
        pytest.param(policy_for_intel, "trust root", id="a policy for Intel's root in the lab"),
        pytest.param(config_for_intel, "trust root", id="a lab policy under Intel's root"),
        pytest.param(ungranted_secret, "letters", id="a grant of what is not there"),
        pytest.param(foreign_tls_key, "does not belong", id="another's TLS key"),
        pytest.param(no_certificate, "no PEM certificate", id="no TLS certificate"),
        pytest.param(no_root, "trust root", id="no trust root"),
        pytest.param(no_collateral, "pck.crl", id="a folder without its collateral"),
        pytest.param(broken_policy, "policy is not valid", id="a broken policy"),
    ],
)
def test_an_unsound_configuration_is_refused(site, spoil, complaint, capsys):
    """By `check`, in this process, for speed; `run` loads by the same function."""
    spoil(site)
    with pytest.raises(SystemExit) as caught:
        main(["keyservice", "check", "--config", str(site.config)])
    printed = capsys.readouterr()
    assert caught.value.code == 1
    assert complaint in printed.err
    assert printed.out == ""


def test_an_unsound_configuration_does_not_start(site):
    open_secret(site)
    result = run(site, "run")
    assert result.returncode == 1
    assert "chmod 600" in result.stderr
    assert result.stdout == ""
    assert not site.audit.exists()


def test_an_altered_audit_log_does_not_start_and_is_an_integrity_error(site):
    with start(site) as process:
        fetch(site, process)
        process.stop()
    site.audit.write_bytes(site.audit.read_bytes().replace(b"released", b"rejected") * 2)
    for command in ("run", "check"):
        result = run(site, command)
        assert result.returncode == 5
        assert "not as it was written" in result.stderr
