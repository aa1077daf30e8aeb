"""nginx that follows a name in DNS: its configuration, and what a real nginx says of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sealserve.deploy.nginx import Edge, Route, find_nginx, render
from sealserve.errors import ConfigError, SealServeError
from sealserve.hosts import Address

NAME = Address("digits-pods.digits.svc.cluster.local", 8500)
EDGE = Edge(
    Address("127.0.0.1", 8443),
    (Route("models.example.com", (NAME,)),),
    resolver="127.0.0.1",
    shutdown_timeout=60,
    workers=2,
)


def test_a_name_is_asked_for_each_connection_and_no_upstream_is_fixed() -> None:
    lines = [line.strip() for line in render(EDGE, module=None).splitlines()]
    assert f"models.example.com {NAME};" in lines
    assert "resolver 127.0.0.1 valid=1s;" in lines
    assert {"worker_shutdown_timeout 60s;", "worker_processes 2;"} < set(lines)
    assert "default refused;" in lines
    assert [line for line in lines if line.startswith("upstream")] == ["upstream refused {"]


@pytest.mark.parametrize("resolver", ["a b", "10.0.0.1; daemon on", ""])
def test_what_is_no_host_is_no_resolver(resolver: str) -> None:
    with pytest.raises(SealServeError):
        Edge(EDGE.listen, EDGE.routes, resolver=resolver)


def test_a_resolver_by_an_address_of_ipv6_is_in_brackets() -> None:
    edge = Edge(EDGE.listen, EDGE.routes, resolver="fd00::a")
    assert "resolver [fd00::a] valid=1s;" in render(edge, module=None)


def test_one_name_is_followed_and_not_several() -> None:
    with pytest.raises(ConfigError, match="one replica"):
        Edge(EDGE.listen, (Route("models.example.com", (NAME, NAME)),), resolver="127.0.0.1")


def test_a_real_nginx_accepts_it(tmp_path: Path) -> None:
    nginx = find_nginx()
    if nginx is None or nginx.stream == "missing":
        pytest.skip("no nginx with a stream module is installed")
    (tmp_path / "nginx.conf").write_text(render(EDGE, module=nginx.module))
    tried = subprocess.run([*nginx.command(tmp_path), "-t"], capture_output=True, check=False)
    assert tried.returncode == 0, tried.stderr.decode()
