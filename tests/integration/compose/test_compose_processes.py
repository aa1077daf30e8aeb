"""`sealserve up`, `status`, `logs` and `down` with plain processes: real TLS, nginx, attestation.

One composition for all tests, in the order in which they stand; each leaves it whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from composed_site import DOMAIN, SEALSERVE, ComposedSite, admit, make_site, measured
from sealserve.deploy.nginx import find_nginx
from sealserve.errors import ConfigError, DeniedError, NetworkError
from sealserve.ports import free_port

NGINX = find_nginx()
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        NGINX is None or NGINX.stream == "missing",
        reason="nginx with its stream module is missing (Debian: nginx-light libnginx-mod-stream)",
    ),
]
SERVICES = ["qe", "keyservice", "server-1", "server-2", "proxy"]


@dataclass(frozen=True)
class Composed(ComposedSite):
    """The site, and where clients connect."""

    target: str

    def up(self, *words: str) -> subprocess.CompletedProcess[str]:
        choices = ("--lab", "lab", "--key-service", "../owner", "--listen", self.target)
        return self.run("up", "sealserve.toml", "--with", "processes", *choices, *words)

    def statuses(self) -> dict[str, dict[str, Any]]:
        told = json.loads(self.run("status", "sealserve.toml", "--json").stdout)
        return {each["service"]: each for each in told["services"]}

    def pid(self, service: str) -> int:
        return int(json.loads((self.state / f"{service}.process.json").read_text())["pid"])


def processes_of(folder: Path) -> list[str]:
    """Of all that runs in this folder or prints into it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            places = [(entry / link).readlink() for link in ("cwd", "fd/1", "fd/2")]
            if any(place.is_relative_to(folder) for place in places):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    port = free_port()
    folder = tmp_path_factory.mktemp("composed")
    made = make_site(folder, keys=f"localhost:{port}", listen=f"127.0.0.1:{port}")
    admit(made, measured(made))
    found = Composed(folder, f"127.0.0.1:{free_port()}")
    try:
        yield found
    finally:
        found.run("down", "sealserve.toml")


@pytest.fixture
def running(site: Composed) -> Composed:
    """The site, brought up if it was not."""
    if not site.state.exists():
        assert site.up().returncode == 0
    return site


def test_without_sgx_nothing_starts_unless_a_lab_is_named(site: Composed) -> None:
    refused = site.run("up", "sealserve.toml", "--with", "podman")
    assert refused.returncode == ConfigError.exit_code
    assert "enclave device" in refused.stderr or "podman" in refused.stderr
    assert "--lab" in refused.stderr or "--with processes" in refused.stderr
    assert not site.state.exists()
    assert site.run("status", "sealserve.toml").returncode == NetworkError.exit_code


def test_up_gets_everything_ready_and_a_client_is_answered_through_nginx(site: Composed) -> None:
    told = site.up()
    assert told.returncode == 0, told.stderr
    assert "SIMULATED" in told.stderr
    assert "SIMULATED" in told.stdout
    for name in SERVICES:
        assert f"{name}: ready" in told.stderr
    answer = site.predict(site.target)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("{'outputs': {'predict': {'dtype': 'DT_FLOAT'")


def test_status_says_of_each_service_whether_it_is_ready(running: Composed) -> None:
    table = running.run("status", "sealserve.toml")
    assert table.returncode == 0
    head, *rows = [line.split() for line in table.stdout.splitlines()]
    assert head == ["service", "state", "ready", "address"]
    assert [row[0] for row in rows] == SERVICES
    assert {(row[1], row[2], row[4]) for row in rows} == {("running", "yes", "SIMULATED")}
    assert rows[-1][3] == running.target
    told = json.loads(running.run("status", "sealserve.toml", "--json").stdout)
    assert told["ready"] and told["simulated"] and told["with"] == "processes"


def test_with_a_ca_each_server_is_verified_and_asked_whether_it_serves(running: Composed) -> None:
    right = str(running.owner / "ssl_configure" / "server" / "cert.pem")
    wrong = str(running.owner / "tls" / "server" / "cert.pem")
    assert running.run("status", "sealserve.toml", "--ca", right).returncode == 0
    told = running.run("status", "sealserve.toml", "--ca", wrong, "--json")
    assert told.returncode == NetworkError.exit_code
    ready = {each["service"]: each["ready"] for each in json.loads(told.stdout)["services"]}
    servers = ("server-1", "server-2", "proxy")
    assert ready == {"qe": True, "keyservice": True, **dict.fromkeys(servers, False)}


def test_what_is_kept_is_for_its_owner_alone_and_holds_no_secret(running: Composed) -> None:
    assert running.state.stat().st_mode & 0o777 == 0o700
    key = (running.owner / "wrap.key").read_bytes()
    for file in filter(Path.is_file, running.state.rglob("*")):
        assert key not in file.read_bytes()
        assert key.hex().encode() not in file.read_bytes()


def test_up_again_changes_nothing(running: Composed) -> None:
    before = {name: running.pid(name) for name in SERVICES}
    told = running.up("--json")
    assert told.returncode == 0, told.stderr
    assert {name: running.pid(name) for name in SERVICES} == before
    assert "starts" not in told.stderr
    assert {each["service"] for each in json.loads(told.stdout)["services"]} == set(SERVICES)


def test_it_is_not_run_in_another_way_beside(running: Composed) -> None:
    refused = running.run("up", "sealserve.toml", "--lab", "lab", "--with", "docker")
    assert refused.returncode == ConfigError.exit_code
    assert "runs with processes already" in refused.stderr


def test_logs_are_told_apart_and_of_one_service_alone(running: Composed) -> None:
    of_all = running.run("logs", "sealserve.toml").stdout.splitlines()
    assert {line.partition(" | ")[0].rstrip() for line in of_all} == set(SERVICES)
    of_one = running.run("logs", "sealserve.toml", "server-2").stdout
    assert "Entering the event loop" in of_one
    assert "server-2 |" not in of_one
    unknown = running.run("logs", "sealserve.toml", "server-9")
    assert unknown.returncode == ConfigError.exit_code
    assert "server-1" in unknown.stderr


def test_logs_are_followed_until_they_are_interrupted(running: Composed) -> None:
    with subprocess.Popen(
        [*SEALSERVE, "logs", "sealserve.toml", "proxy", "--follow", "--lines", "1"],
        cwd=running.platform,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert f"name={DOMAIN}" in process.stdout.readline()
        assert running.predict(running.target).returncode == 0
        assert f"name={DOMAIN}" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
    assert process.returncode == 128 + signal.SIGINT
    assert not any("tail" in each for each in processes_of(running.folder))


def test_requests_go_on_while_a_server_is_dead_and_up_mends_it(running: Composed) -> None:
    kept = running.pid("server-2"), running.pid("keyservice")
    os.kill(running.pid("server-1"), signal.SIGKILL)
    assert [running.predict(running.target).returncode for _ in range(3)] == [0, 0, 0]
    found = running.statuses()
    assert not found["server-1"]["ready"]
    assert found["server-2"]["ready"] and found["proxy"]["ready"]
    os.kill(running.pid("proxy"), signal.SIGKILL)  # its workers run on, and hold the port
    told = running.up()
    assert told.returncode == 0, told.stderr
    assert "server-1: starts" in told.stderr
    assert (running.pid("server-2"), running.pid("keyservice")) == kept
    assert all(each["ready"] for each in running.statuses().values())
    assert running.predict(running.target).returncode == 0


def test_a_changed_description_is_noticed_and_its_server_denied_the_key(running: Composed) -> None:
    running.redescribe("batching = false", "batching = true")
    assert "has changed since" in running.run("status", "sealserve.toml").stderr
    denied = running.up()
    assert denied.returncode == DeniedError.exit_code, denied.stderr
    assert "the description has changed" in denied.stderr
    assert "server-1: has changed, starts anew" in denied.stderr
    assert "release-denied" in denied.stderr, "the log's last lines are shown"
    running.redescribe("batching = true", "batching = false")


def test_an_interrupted_up_leaves_what_down_removes_and_down_leaves_nothing(
    running: Composed,
) -> None:
    os.kill(running.pid("qe"), signal.SIGKILL)  # and the servers with it
    words = ["--with", "processes", "--lab", "lab", "--key-service", "../owner"]
    with subprocess.Popen(
        [*SEALSERVE, "up", "sealserve.toml", *words, "--listen", running.target],
        cwd=running.platform,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("server-2: starts"):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 128 + signal.SIGINT
    assert processes_of(running.folder)
    down = running.run("down", "sealserve.toml")
    assert down.returncode == 0, down.stderr
    assert not processes_of(running.folder)
    assert not running.state.exists()
    assert not (running.platform / "lab" / "qe.sock").exists()
    host, _, port = running.target.partition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, int(port)))
    assert (running.owner / "keyservice.db").exists(), "the owner's state is no matter of ours"
    again = running.run("down", "sealserve.toml")
    assert again.returncode == 0
    assert "nothing" in again.stderr
