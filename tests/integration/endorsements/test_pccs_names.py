"""A name that nobody resolves holds up neither the call nor the end of the process.

No resolver that hangs is to be had on every machine, so the C library's function is put off here;
all that is under test, from the deadline to the threads, is real.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.pccs import PccsClient, service
from sealserve.errors import CollateralError

HANGING = """
import socket, sys, threading
from sealserve.endorsements.pccs import PccsClient, service
from sealserve.errors import CollateralError

socket.getaddrinfo = lambda *arguments, **named: threading.Event().wait()
try:
    PccsClient(service("https://pccs.example", timeout=0.5)).collateral(bytes(6), "platform")
except CollateralError as error:
    print(error.message)
"""


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until this is set no name is resolved."""
    event = threading.Event()
    resolve = socket.getaddrinfo

    def wait(*arguments: Any, **named: Any) -> Any:
        event.wait()
        return resolve(*arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name == "resolver":
            thread.join()


def test_a_call_ends_at_its_deadline_though_the_resolver_does_not(
    released: threading.Event,
) -> None:
    client = PccsClient(service("https://pccs.example", timeout=0.5))
    with pytest.raises(CollateralError, match=r"(?s)pccs\.example"):
        client.collateral(bytes(6), "platform")
    assert not released.is_set()
    assert any(thread.name == "resolver" for thread in threading.enumerate())


def test_a_name_that_resolves_late_is_still_good(
    server: Any, fmspc: bytes, sgx: Collateral, released: threading.Event
) -> None:
    timer = threading.Timer(0.2, released.set)
    timer.start()
    url = server.url.replace("127.0.0.1", "localhost")
    assert PccsClient(service(url)).collateral(fmspc, "platform") == sgx
    timer.join()


def test_a_process_ends_though_the_resolver_does_not() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    run = subprocess.run(
        [sys.executable, "-c", HANGING],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "pccs.example" in run.stdout
    assert run.stderr == ""


def test_a_name_that_does_not_exist_is_told(fmspc: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: Any, **named: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(CollateralError, match=r"cannot reach pccs\.example: .*not known"):
        PccsClient(service("https://pccs.example")).collateral(fmspc, "platform")
