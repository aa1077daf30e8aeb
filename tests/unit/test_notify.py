"""The service manager hears a word over its own socket, of either kind, or nobody is told."""

from __future__ import annotations

import socket
import uuid

import pytest

from sealserve.notify import SOCKET, notify


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """A datagram socket as the manager has one, named in the environment."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@sealserve-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
        stream.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        stream.settimeout(10)
        monkeypatch.setenv(SOCKET, name)
        yield stream


def test_the_manager_hears_each_state_in_a_datagram_of_its_own(manager):
    assert notify("READY=1")
    assert notify("STOPPING=1\nSTATUS=3 sessions are open")
    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100) == b"STOPPING=1\nSTATUS=3 sessions are open"


def test_a_manager_that_reads_nothing_is_not_waited_for(manager):
    for _ in range(100_000):
        if not notify("STATUS=" + "x" * 1000):
            return
    pytest.fail("its queue never filled")


@pytest.mark.parametrize("name", ["", "vsock:2:1234", "relative/path", "/no/such/socket"])
def test_where_nobody_listens_nothing_fails(name, monkeypatch):
    monkeypatch.setenv(SOCKET, name)
    assert not notify("READY=1")


def test_without_a_manager_nobody_is_told(monkeypatch):
    monkeypatch.delenv(SOCKET, raising=False)
    assert not notify("READY=1")
