"""`sealserve keyservice` as a process: what it makes, its signals, logs and exit codes."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from key_site import LOG_NAME
from sealserve.attester.secrets import fetch_secret
from sealserve.cli import main
from sealserve.errors import DeniedError, IntegrityError, NetworkError
from sealserve.keyservice.administration.values import Target

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
        [*COMMAND, "run", "--config", str(site.config), "--log-format", "text"],
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
        [*COMMAND, *map(str, arguments), "--config", str(site.config)],
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
    (record,) = site.records()
    assert f"request_id={record['request_id']}" in decision
    assert "record=2 leaf_hash=" in decision
    assert site.secret.hex() not in log
    assert repr(site.secret)[2:-1] not in log


def test_no_crash_writes_the_secrets_to_a_disk(site):
    with start(site) as process:
        limits = Path(f"/proc/{process.popen.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)


def test_a_new_policy_is_in_force_at_once_in_every_worker_of_a_service_that_nobody_told(site):
    site.top = "workers = 2"
    site.write_config()
    with start(site) as process:
        for _ in range(8):
            assert fetch(site, process) == site.secret
        site.write_policy(OTHER)
        for _ in range(8):
            with pytest.raises(DeniedError):
                fetch(site, process)
        assert process.stop() == 0


def test_sighup_shows_another_certificate_and_keeps_the_old_where_that_is_not_sound(
    site, make_site
):
    with start(site) as process:
        (site.folder / "server.pem").write_text("nothing")
        process.popen.send_signal(signal.SIGHUP)
        assert "no PEM certificate" in process.wait_for("event=reload_failed")
        assert fetch(site, process) == site.secret
        other = make_site()
        for name in ("server.pem", "server.key"):
            (site.folder / name).write_bytes((other.folder / name).read_bytes())
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("event=reloaded")
        with pytest.raises(NetworkError):
            fetch(site, process)
        site.ca_file = other.ca_file
        assert fetch(site, process) == site.secret
        assert process.stop() == 0


def test_it_goes_on_with_the_log_of_one_that_was_killed(site):
    for _ in range(2):
        with start(site) as process:
            fetch(site, process)
            process.popen.kill()
    assert len(site.records()) == 2
    assert site.check_log() == 4


def test_without_a_policy_it_runs_says_so_and_denies_everything(make_site):
    site = make_site(policy=False)
    with start(site) as process:
        process.wait_for("event=no_policy")
        with pytest.raises(DeniedError):
            fetch(site, process)
        assert process.stop() == 0
    (record,) = site.records()
    assert (record["outcome"], record["policy_sha256"]) == ("denied", None)


def test_where_one_service_listens_no_second_one_does(site):
    with start(site) as process:
        text = site.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{process.port}")
        site.config.write_text(text)
        second = run(site, "run")
    assert second.returncode == 1
    assert "listen" in second.stderr


def test_check_says_what_would_be_in_force(site):
    site.write_policy(OTHER, exception="dangerously_allow_debug = true")
    result = run(site, "check", "--json")
    facts = json.loads(result.stdout)
    assert result.returncode == 0
    assert facts["trust_root"] == "SIMULATED"
    assert facts["policy_sha256"] == sha256((site.folder / "policy.toml").read_bytes()).hexdigest()
    assert facts["missing_secrets"] == []
    assert facts["rules"] == ["digits server -> digits (raw)"]
    assert facts["exceptions"] == ["for a test, until 3000-01-01T00:00:00+00:00"]
    assert facts["debug_allowed_by"] == ["for a test"]
    assert facts["audit_records"] == 3  # the secret, and two policies
    assert facts["log_key"].startswith(LOG_NAME)
    assert site.check_log() == 3
    assert site.secret.hex() not in result.stdout


def test_check_names_the_secrets_that_are_granted_and_that_nobody_can_have(site):
    site.write_policy(secret='secret = "letters"')
    assert json.loads(run(site, "check", "--json").stdout)["missing_secrets"] == ["letters"]


def test_init_makes_what_is_missing_and_leaves_what_is_there(site):
    before = run(site, "check", "--json").stdout
    again = run(site, "init", "--json")
    facts = json.loads(again.stdout)
    assert again.returncode == 0
    assert (facts["was_new"], facts["log_origin"]) == (False, LOG_NAME)
    assert run(site, "check", "--json").stdout == before


def test_init_puts_the_first_policy_in_force_and_no_second(make_site):
    site = make_site(policy=False)
    (site.folder / "policy.toml").write_text(site.policy_text())
    first = run(site, "init", "--policy", site.folder / "policy.toml", "--json")
    assert first.returncode == 0
    assert (
        json.loads(first.stdout)["policy_sha256"] == sha256(site.policy_text().encode()).hexdigest()
    )
    second = run(site, "init", "--policy", site.folder / "policy.toml")
    assert second.returncode == 1
    assert "sealserve policy apply" in second.stderr


def test_a_first_policy_that_is_no_text_is_an_error_that_says_so(make_site):
    site = make_site(policy=False)
    (site.folder / "policy.toml").write_bytes(site.policy_text().encode("utf-16"))
    refused = run(site, "init", "--policy", site.folder / "policy.toml")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "policy.toml is not UTF-8 text" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_rewrapped_the_database_opens_by_the_new_key_and_by_the_old_no_more(site):
    other = site.folder / "other.toml"
    other.write_text(site.config.read_text().replace('"kek"', '"kek-2"'))
    assert run(site, "rewrap", "--new-config", other).returncode == 0
    old = run(site, "check")
    assert old.returncode == IntegrityError.exit_code
    site.config = other
    with start(site) as process:
        assert fetch(site, process) == site.secret


def test_check_reads_for_people_too(site):
    result = run(site, "check")
    assert result.returncode == 0
    assert "digits server" in result.stdout
    assert "SIMULATED" in result.stderr


def open_key_encryption_key(site):
    (site.folder / "kek").chmod(0o644)


def open_tls_key(site):
    (site.folder / "server.key").chmod(0o640)


def open_state(site):
    (site.folder / "state").chmod(0o755)


def no_database(site):
    (site.folder / "keyservice.db").unlink()


def no_database_but_a_file(site):
    for path in site.folder.glob("keyservice.db*"):
        path.unlink()
    (site.folder / "keyservice.db").write_bytes(b"")


def another_database(site):
    for path in site.folder.glob("keyservice.db*"):
        path.unlink()
    (site.folder / "keyservice.db").write_bytes(b"no database at all" * 100)


def foreign_tls_key(site):
    (site.folder / "server.key").write_bytes((site.folder / "lab/world/pck_key.pem").read_bytes())


def no_certificate(site):
    (site.folder / "server.pem").write_text("nothing")


def no_root(site):
    (site.folder / "lab/root_ca.pem").write_bytes((site.folder / "server.pem").read_bytes())


def no_collateral(site):
    (site.folder / "lab/collateral/pck.crl").unlink()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        pytest.param(open_key_encryption_key, "chmod 600", id="a wrapping key others may read"),
        pytest.param(open_tls_key, "chmod 600", id="a TLS key that others may read"),
        pytest.param(open_state, "chmod 700", id="a folder that others may look into"),
        pytest.param(no_database, "keyservice init", id="no database"),
        pytest.param(no_database_but_a_file, "keyservice init", id="an empty database"),
        pytest.param(foreign_tls_key, "does not belong", id="another's TLS key"),
        pytest.param(no_certificate, "no PEM certificate", id="no TLS certificate"),
        pytest.param(no_root, "trust root", id="no trust root"),
        pytest.param(no_collateral, "pck.crl", id="a folder without its collateral"),
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
    open_key_encryption_key(site)
    result = run(site, "run")
    assert result.returncode == 1
    assert "chmod 600" in result.stderr
    assert result.stdout == ""


def test_what_was_in_the_configuration_before_is_refused_with_what_to_do(site):
    site.config.write_text('policy = "policy.toml"\n' + site.config.read_text())
    result = run(site, "check")
    assert result.returncode == 1
    assert "sealserve policy apply" in result.stderr


def change(site, statement, *values):
    with contextlib.closing(sqlite3.connect(site.folder / "keyservice.db")) as database:
        database.execute(statement, values)
        database.commit()


def put_back(site):
    """An older state of the database, all of it authentic."""
    old = (site.folder / "keyservice.db").read_bytes()
    with site.administration() as administration:
        administration.revoke(Target.parse("secret", "digits"), "for a test")
    for path in site.folder.glob("keyservice.db*"):
        path.unlink()
    (site.folder / "keyservice.db").write_bytes(old)


@pytest.mark.parametrize(
    ("alter", "complaint"),
    [
        pytest.param(put_back, "put back to an older state", id="put back"),
        pytest.param(
            lambda site: change(site, "UPDATE head SET size = size - 1"), "head", id="cut"
        ),
        pytest.param(lambda site: change(site, "DELETE FROM head"), "no log", id="no head"),
        pytest.param(
            lambda site: change(
                site, "UPDATE rules SET document = CAST(replace(document, 'a', 'b') AS BLOB)"
            ),
            "altered",
            id="another policy",
        ),
        pytest.param(
            lambda site: change(site, "UPDATE rules SET number = number + 10"),
            "lacks the rules",
            id="no policy",
        ),
        pytest.param(
            lambda site: change(
                site, "UPDATE meta SET value = zeroblob(72) WHERE name = ?", "log_key"
            ),
            "",
            id="another log's key",
        ),
        pytest.param(
            lambda site: change(site, "UPDATE rules SET document = 'text'"),
            "str in the place of bytes",
            id="text for a policy",
        ),
        pytest.param(
            lambda site: change(site, "UPDATE head SET checkpoint = x'00ff'"),
            "bytes in the place of str",
            id="bytes for a checkpoint",
        ),
        pytest.param(
            lambda site: change(site, "UPDATE head SET size = 'all'"),
            "str in the place of int",
            id="a word for a number",
        ),
        pytest.param(
            lambda site: change(site, "DELETE FROM meta WHERE name = 'log_key'"),
            "lacks its log_key",
            id="no key of the log",
        ),
    ],
)
def test_a_database_that_somebody_altered_is_an_integrity_error(site, alter, complaint, capsys):
    """By `check`, in this process, for speed; `run` loads by the same function."""
    alter(site)
    with pytest.raises(SystemExit) as caught:
        main(["keyservice", "check", "--config", str(site.config)])
    printed = capsys.readouterr()
    assert caught.value.code == IntegrityError.exit_code
    assert complaint in printed.err
    assert printed.out == ""


def test_a_database_that_was_put_back_does_not_start(site):
    put_back(site)
    result = run(site, "run")
    assert result.returncode == IntegrityError.exit_code
    assert "audit.rolled-back" in result.stderr
    assert result.stdout == ""
