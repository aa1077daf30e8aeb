"""The key service behind proxies: real sockets, and a real nginx."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from ipaddress import ip_network

import pytest

from listening import PATIENCE, SECRET, is_closed, listen
from sealserve.deploy.nginx import find_nginx

NGINX = find_nginx()
PROXY, OTHER = "127.0.0.5", "127.0.0.6"
PROXIES = (ip_network("127.0.0.5"), ip_network("10.1.0.0/16"), ip_network("2001:db8::/32"))
BINARY = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"


def text_header(host, port=4711):
    return f"PROXY TCP4 {host} 127.0.0.1 {port} 4433\r\n".encode()


@pytest.fixture
def service(tmp_path):
    with listen(tmp_path, proxies=PROXIES, max_sessions_per_source=2) as running:
        yield running


@pytest.mark.parametrize(
    ("header", "peer"),
    [
        pytest.param(text_header("192.0.2.7"), "192.0.2.7:4711", id="version 1"),
        pytest.param(
            b"PROXY TCP6 2001:db8::7 ::1 4711 4433\r\n", "[2001:db8::7]:4711", id="version 1, IPv6"
        ),
        pytest.param(
            BINARY + bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack(">HH", 4711, 4433),
            "192.0.2.7:4711",
            id="version 2",
        ),
    ],
)
def test_behind_a_named_proxy_the_peer_is_whom_the_proxy_names(service, header, peer):
    assert service.ask(PROXY, first=header) == SECRET
    assert [ask.peer for ask in service.asks] == [peer]


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"PROXY UNKNOWN\r\n", id="version 1: unknown"),
        pytest.param(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", id="version 2: local"),
    ],
)
def test_a_proxy_that_speaks_for_itself_is_the_peer(service, header):
    assert service.ask(PROXY, first=header) == SECRET
    assert service.asks[0].peer.startswith(f"{PROXY}:")


def test_a_named_proxy_has_to_send_the_header(service, caplog):
    caplog.set_level("INFO")
    assert service.ask(PROXY) is None
    assert service.asks == []
    assert "phase=proxy" in caplog.text
    assert f"proxy={PROXY}" in caplog.text


def test_from_nobody_else_a_header_is_taken(service):
    assert service.ask(OTHER, first=text_header("192.0.2.7")) is None
    assert service.asks == []
    assert service.ask(OTHER) == SECRET


def test_limits_count_the_sources_behind_a_proxy_and_not_the_proxy(service):
    with (
        service.session(PROXY, first=text_header("192.0.2.1")),
        service.session(PROXY, first=text_header("192.0.2.1")),
        service.session(PROXY, first=text_header("192.0.2.2")),
    ):
        assert service.ask(PROXY, first=text_header("192.0.2.1")) is None
        assert service.seen.refusals == {"overloaded.source-sessions": 1}
        assert service.ask(PROXY, first=text_header("192.0.2.2")) == SECRET
        assert service.ask(PROXY, first=text_header("192.0.2.3")) == SECRET


def test_a_proxy_that_stalls_in_its_header_is_dropped(tmp_path):
    with (
        listen(tmp_path, proxies=PROXIES, handshake_seconds=3) as service,
        service.connect(PROXY) as stalled,
    ):
        stalled.sendall(b"PROXY TC")
        assert service.ask(PROXY, first=text_header("192.0.2.7")) == SECRET
        assert is_closed(stalled)


def test_connections_without_a_header_make_room_as_others_do(tmp_path):
    with (
        listen(tmp_path, proxies=PROXIES, max_sessions=1) as service,
        service.connect(PROXY) as stalled,
    ):
        assert service.ask(PROXY, first=text_header("192.0.2.7")) == SECRET
        assert is_closed(stalled)
        assert service.seen.refusals == {"overloaded.evicted": 1}


CONFIG = """
daemon off;
pid nginx.pid;
error_log error.log;
{load_module}
events {{}}
stream {{
  server {{
    listen 127.0.0.1:{port};
    proxy_pass 127.0.0.1:{key_service};
    proxy_bind {proxy};
    proxy_protocol on;
  }}
}}
"""


@pytest.mark.skipif(
    NGINX is None or NGINX.stream == "missing",
    reason="nginx with its stream module (libnginx-mod-stream) is not installed",
)
def test_the_client_of_a_real_nginx_is_on_record_as_the_peer(service, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    module = f"load_module {NGINX.module};" if NGINX.module else ""
    (tmp_path / "nginx.conf").write_text(
        CONFIG.format(port=port, key_service=service.address.port, proxy=PROXY, load_module=module)
    )
    process = subprocess.Popen(NGINX.command(tmp_path), stderr=subprocess.DEVNULL)
    try:
        wait_until_it_listens(process, port)
        for client in ("127.0.0.41", "127.0.0.42"):
            assert service.ask(client, port=port) == SECRET
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert [ask.peer.partition(":")[0] for ask in service.asks] == ["127.0.0.41", "127.0.0.42"]


def wait_until_it_listens(process, port):
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    raise AssertionError(f"nginx ended with {process.returncode}")
