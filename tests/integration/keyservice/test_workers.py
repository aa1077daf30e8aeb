"""The whole service with two worker processes on one database, of which some are killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sealserve.attester.secrets import fetch_secret
from sealserve.errors import NetworkError

COMMAND = [sys.executable, "-m", "sealserve", "keyservice", "run", "--log-format", "text"]
PATIENCE = 60
KILLS = 8


class Service:
    def __init__(self, site, process, log):
        self.site, self.process, self._log = site, process, log
        ready = process.stdout.readline()
        assert ready.startswith("sealserve keyservice: ready on "), self.log()
        self.port = int(ready.rpartition(":")[2])

    def log(self):
        return self._log.read_text()

    def workers(self):
        started = re.findall(r"event=worker_started worker=(\d+) process=(\d+)", self.log())
        return {int(number): int(process) for number, process in started}

    def fetch(self):
        return fetch_secret(
            f"localhost:{self.port}",
            ca_file=self.site.ca_file,
            identity=self.site.identity(),
            timeout=PATIENCE,
        )


@pytest.fixture
def service(make_site, tmp_path):
    site = make_site(top="workers = 2")
    log = tmp_path / "service.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*COMMAND, "--config", str(site.config)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Service(site, process, log)
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0


def test_both_workers_release_on_one_log(service):
    with ThreadPoolExecutor(4) as pool:
        fetched = list(pool.map(lambda _: service.fetch(), range(24)))
    assert fetched == [service.site.secret] * 24
    assert len(service.site.records()) == 24
    service.site.check_log()


def test_killed_workers_lose_no_record_of_what_was_released_and_the_others_serve(service):
    done, released, broken = threading.Event(), [], []

    def keep_fetching():
        while not done.is_set():
            try:
                released.append(service.fetch())
            except NetworkError as error:
                broken.append(error)

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(keep_fetching) for _ in range(3)]
        try:
            for number in range(KILLS):
                before = len(released)
                victim = service.workers()[number % 2]
                os.kill(victim, signal.SIGKILL)
                eventually(lambda before=before: len(released) > before + 3)
                eventually(lambda number=number, victim=victim: (
                    service.workers()[number % 2] != victim))  # fmt: skip
        finally:
            done.set()
        for client in clients:
            client.result()
    assert set(released) == {service.site.secret}
    outcomes = [record["outcome"] for record in service.site.records()]
    assert outcomes.count("released") >= len(released)
    service.site.check_log()
    assert service.fetch() == service.site.secret
    assert service.log().count("event=worker_died") == KILLS


def eventually(holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def test_a_worker_that_is_asked_to_reload_serves_on(service):
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: service.log().count("event=reloaded") == 2)
    assert service.fetch() == service.site.secret


def test_a_worker_that_takes_the_place_of_another_shows_the_certificate_that_is_there_now(
    service, make_site
):
    """The parent read its own when the service started, and that may have ended since."""
    other = make_site()
    for name in ("server.pem", "server.key"):
        (service.site.folder / name).write_bytes((other.folder / name).read_bytes())
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: service.log().count("event=reloaded") == 2)
    service.site.ca_file = other.ca_file
    before = service.workers()
    for victim in before.values():
        os.kill(victim, signal.SIGKILL)
    eventually(lambda: not set(before.values()) & set(service.workers().values()))
    eventually(lambda: is_served(service))
    assert [service.fetch() for _ in range(12)] == [service.site.secret] * 12


def is_served(service):
    try:
        return service.fetch() == service.site.secret
    except NetworkError as error:
        assert error.code != "server-certificate"
        return False


def test_stopping_ends_every_process(service):
    workers = service.workers().values()
    service.process.terminate()
    assert service.process.wait(PATIENCE) == 0
    for process in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, 0)
            raise AssertionError(f"{process} is still there")
