"""Listening sockets: of one port for all families of a name, shared or not, held or not."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from sealserve.errors import ConfigError
from sealserve.hosts import ListenAddress
from sealserve.keyservice.listener import Listener
from sealserve.ports import ReservedPort, check_free, listen_on

LOOPBACK = ListenAddress("127.0.0.1", 0)


@contextlib.contextmanager
def listening(address, **options):
    with contextlib.ExitStack() as stack:
        sockets = listen_on(address, **options)
        for each in sockets:
            stack.enter_context(each)
        yield sockets


def port_of(sockets):
    return sockets[0].getsockname()[1]


def test_all_addresses_of_a_name_are_listened_on_at_one_port():
    with listening(ListenAddress("localhost", 0)) as sockets:
        assert {each.getsockname()[1] for each in sockets} == {port_of(sockets)}
        assert "127.0.0.1" in {each.getsockname()[0] for each in sockets}


def test_a_port_that_another_listens_on_is_an_error_that_says_what_to_do():
    with listening(LOOPBACK) as sockets, pytest.raises(ConfigError, match="in use") as caught:
        listen_on(ListenAddress("127.0.0.1", port_of(sockets)))
    assert "listen" in caught.value.hint


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_that_this_machine_has_not_is_an_error(host):
    with pytest.raises(ConfigError, match="cannot listen"):
        listen_on(ListenAddress(host, 0))


def test_who_shares_a_port_has_to_say_so():
    with listening(LOOPBACK, reuse_port=True) as first:
        address = ListenAddress("127.0.0.1", port_of(first))
        with pytest.raises(ConfigError):
            listen_on(address)
        with listening(address, reuse_port=True) as second:
            assert port_of(second) == port_of(first)


def test_whether_a_port_is_free_is_seen_without_letting_anybody_in():
    with listening(LOOPBACK, reuse_port=True) as sockets:
        address = ListenAddress("127.0.0.1", port_of(sockets))
        with pytest.raises(ConfigError, match="in use"):
            check_free(address)
    check_free(address)


def test_once_nobody_is_let_in_who_has_come_is_handed_on_and_who_comes_is_refused():
    async def main():
        accepted = []
        listener = Listener(listen_on(LOOPBACK), lambda each, _peer: accepted.append(each))
        where = ("127.0.0.1", listener.address.port)
        with socket.create_connection(where, 10):
            listener.let_nobody_in()
            late = asyncio.to_thread(socket.create_connection, where, 60)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.to_thread(socket.create_connection, where, 0.2), 60)
            waiting = asyncio.create_task(late)
            await asyncio.sleep(0.1)
            listener.close()
            with pytest.raises(ConnectionRefusedError):
                await waiting
        assert len(accepted) == 1
        accepted[0].close()

    asyncio.run(main())


def test_a_reserved_port_is_held_and_takes_no_connection_itself():
    reserved = ReservedPort(LOOPBACK)
    try:
        where = ("127.0.0.1", reserved.address.port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(where, 10).close()
        with pytest.raises(ConfigError):
            listen_on(reserved.address)
        with listening(reserved.address, reuse_port=True) as sockets:
            for _ in range(20):
                socket.create_connection(where, 10).close()
                sockets[0].accept()[0].close()
    finally:
        reserved.close()


def test_a_port_whose_connections_linger_can_be_reserved_and_listened_on_again():
    with listening(LOOPBACK) as sockets:
        address = ListenAddress("127.0.0.1", port_of(sockets))
        with socket.create_connection(("127.0.0.1", address.port), 10) as client:
            sockets[0].setblocking(True)
            sockets[0].accept()[0].close()  # who closes first has the TIME_WAIT
            assert client.recv(1) == b""
    reserved = ReservedPort(address)
    try:
        with listening(address, reuse_port=True) as sockets:
            assert port_of(sockets) == address.port
    finally:
        reserved.close()
