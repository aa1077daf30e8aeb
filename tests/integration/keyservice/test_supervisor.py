"""Several worker processes: real ones, forked by a process of their own, and killed."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[2] / "support" / "supervised.py"
PATIENCE = 60


class Service:
    def __init__(self, process, log):
        self.process, self._log = process, log
        self.port = 0

    def line(self):
        return self.process.stdout.readline().strip()

    def wait_until_ready(self):
        assert self.line() == f"prepared by {self.process.pid}"
        text = self.line()
        assert text.startswith("ready on "), text
        self.port = int(text.removeprefix("ready on "))

    def log(self):
        return self._log.read_text()

    def connect(self, message=b"tell"):
        stream = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        stream.sendall(message)
        return stream

    def ask(self):
        with self.connect() as stream:
            return answer(stream)

    def workers(self):
        """Number and process of every worker, as the log has them: the last of each."""
        started = re.findall(r"event=worker_started worker=(\d+) process=(\d+)", self.log())
        return {int(number): int(process) for number, process in started}

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def answer(stream):
    number, process = b"".join(iter(lambda: stream.recv(100), b"")).split()
    return int(number), int(process)


def eventually(holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def runs(process):
    """Whether a process is there, and no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def start(tmp_path):
    with contextlib.ExitStack() as stack:

        def run(workers, *fault, ready=True):
            log = tmp_path / "log"
            errors = stack.enter_context(log.open("w"))
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(SERVICE), str(workers), str(tmp_path), *fault],
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
            )
            service = Service(process, log)
            stack.callback(stop, service)
            if ready:
                service.wait_until_ready()
            return service

        yield run


def stop(service):
    if service.process.poll() is None:
        service.process.kill()
    eventually(lambda: not any(runs(process) for process in service.workers().values()))


def test_all_workers_serve_one_port_and_end_with_the_parent(start):
    service = start(3)
    seen = set()
    eventually(lambda: seen.add(service.ask()) or len(seen) == 3)
    assert dict(seen) == service.workers()
    assert service.process.pid not in dict(seen).values()
    assert service.end() == 0
    assert service.process.stdout.read() == ""  # ready was said once
    assert not any(runs(process) for process in service.workers().values())


def test_one_worker_is_the_process_itself(start):
    service = start(1)
    assert service.ask() == (0, service.process.pid)
    assert service.end() == 0


def test_a_killed_worker_leaves_the_others_serving_and_is_started_again(start):
    service = start(2)
    for _ in range(4):
        killed, other = service.workers()[0], service.workers()[1]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda killed=killed: not runs(killed))
        assert service.ask()[1] != killed
        eventually(lambda killed=killed: service.workers()[0] != killed)
        assert service.workers()[1] == other
    eventually(lambda: service.ask() == (0, service.workers()[0]))
    assert service.end() == 0
    assert service.log().count("status=-9") == 4


def test_open_sessions_end_in_their_own_time_when_the_service_is_asked_to_stop(start):
    service = start(2)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(service.connect(b"hold")) for _ in range(10)]
        assert service.end() == 0
        assert {answer(stream)[0] for stream in streams} <= {0, 1}


def test_connections_that_nobody_has_accepted_yet_are_served_before_the_end(start):
    service = start(2)
    workers = service.workers().values()
    for process in workers:
        os.kill(process, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(service.connect()) for _ in range(20)]
        service.process.send_signal(signal.SIGTERM)
        for process in workers:
            os.kill(process, signal.SIGCONT)
        for stream in streams:
            answer(stream)
    assert service.process.wait(PATIENCE) == 0


def test_without_a_file_descriptor_for_another_connection_the_service_waits_for_one(start):
    service = start(1)
    in_use = len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))
    resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (in_use + 5, in_use + 5))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(service.connect(b""))
        eventually(lambda: "event=cannot_accept" in service.log())
    assert service.ask() == (0, service.process.pid)
    assert service.log().count("event=cannot_accept") < 20
    assert service.end() == 0


def test_sighup_reaches_every_worker_and_ends_none(start):
    service = start(2)
    service.process.send_signal(signal.SIGHUP)
    assert {service.line(), service.line()} == {"0 reloads", "1 reloads"}
    assert service.end() == 0


def test_workers_end_when_their_parent_is_killed(start):
    service = start(2)
    workers = service.workers()
    service.process.kill()
    service.process.wait(PATIENCE)
    eventually(lambda: not any(runs(process) for process in workers.values()))


def test_a_service_whose_workers_cannot_start_ends_with_an_error_at_once(start):
    service = start(2, "die-at-start", ready=False)
    assert service.process.wait(PATIENCE) == 1
    assert "failed: worker" in service.process.stdout.read()
    assert 'code=database reason="no database here"' in service.log()


def test_a_worker_that_cannot_start_again_ends_the_service_after_some_attempts(start):
    service = start(2, "die-later")
    os.kill(service.workers()[0], signal.SIGKILL)
    assert service.process.wait(PATIENCE) == 1
    assert service.process.stdout.read() == "failed: worker 0 ended before it was ready, 5 times\n"
    assert not any(runs(process) for process in service.workers().values())
