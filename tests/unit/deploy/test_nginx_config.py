from __future__ import annotations

from pathlib import Path

import pytest

from sealserve.deploy.nginx import Edge, Nginx, Route, parse_build, render, write_config
from sealserve.errors import ConfigError, SealServeError, UsageError
from sealserve.hosts import Address, parse_address

LISTEN = Address("127.0.0.1", 8443)
REPLICAS = (Address("127.0.0.1", 8500), Address("::1", 8501))
EDGE = Edge(LISTEN, (Route("models.example.com", REPLICAS),))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def test_the_edge_routes_by_server_name_and_terminates_no_tls() -> None:
    lines = _lines(render(EDGE, module=None))
    assert "ssl_preread on;" in lines
    assert "models.example.com replicas_0;" in lines
    assert "server 127.0.0.1:8500 max_fails=1 fail_timeout=5s;" in lines
    assert "server [::1]:8501 max_fails=1 fail_timeout=5s;" in lines
    assert not any(
        line.startswith(("ssl_certificate", "proxy_ssl", "listen 443")) for line in lines
    )


def test_a_name_without_a_route_leads_to_an_upstream_that_connects_nowhere() -> None:
    text = render(EDGE, module=None)
    assert "default refused;" in _lines(text)
    upstream = text.split("upstream refused {")[1].split("}")[0].split("#")[0].strip()
    assert upstream == "server 127.0.0.1:1 down;"


def test_nginx_stays_in_the_foreground_and_in_its_prefix() -> None:
    lines = _lines(render(EDGE, module=None))
    assert "daemon off;" in lines
    assert {"pid nginx.pid;", "error_log error.log warn;", "access_log access.log edge;"} < set(
        lines
    )


@pytest.mark.parametrize(("balance", "expected"), [("least_conn", 1), ("round_robin", 0)])
def test_the_balance_is_the_one_asked_for(balance: str, expected: int) -> None:
    edge = Edge(LISTEN, EDGE.routes, balance=balance)
    assert _lines(render(edge, module=None)).count("least_conn;") == expected


def test_a_dynamic_module_is_loaded_before_it_is_used() -> None:
    text = render(EDGE, module=Path("/usr/lib/nginx/modules/ngx_stream_module.so"))
    assert text.index("load_module /usr/lib/nginx/modules/ngx_stream_module.so;") < text.index(
        "stream {"
    )
    assert "load_module" not in render(EDGE, module=None)


@pytest.mark.parametrize("name", ["default", "hostnames", "include", "volatile"])
def test_a_service_may_have_the_name_of_a_parameter(name: str) -> None:
    edge = Edge(LISTEN, (Route(name, REPLICAS),))
    assert f"\\{name} replicas_0;" in _lines(render(edge, module=None))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Route("a.example; } http {", REPLICAS), id="server name"),
        pytest.param(lambda: Route("*.example.com", REPLICAS), id="wildcard"),
        pytest.param(lambda: Route("127.0.0.1", REPLICAS), id="an IP address is no server name"),
        pytest.param(lambda: Route("", REPLICAS), id="no server name"),
        pytest.param(lambda: Route("a.example", ()), id="no replicas"),
        pytest.param(lambda: Address("a; include x", 1), id="replica"),
        pytest.param(lambda: Edge(LISTEN, ()), id="no routes"),
        pytest.param(lambda: Edge(LISTEN, EDGE.routes * 2), id="a name twice"),
        pytest.param(lambda: Edge(LISTEN, EDGE.routes, idle_timeout=0), id="no time"),
        pytest.param(lambda: Edge(LISTEN, EDGE.routes, connections=0), id="no connections"),
        pytest.param(lambda: render(EDGE, module=Path("/a b;.so")), id="module path"),
        pytest.param(lambda: render(EDGE, module=Path("relative.so")), id="relative module path"),
    ],
)
def test_what_is_no_name_address_or_number_never_reaches_the_file(make: object) -> None:
    with pytest.raises(SealServeError) as caught:
        make()
    assert isinstance(caught.value, UsageError)


STREAM = "--with-stream_ssl_preread_module --with-stream_ssl_module"


@pytest.mark.parametrize(
    ("arguments", "installed", "stream"),
    [
        pytest.param(f"--with-stream {STREAM}", False, "built in", id="built in"),
        pytest.param(f"--with-stream=dynamic {STREAM}", True, "dynamic", id="dynamic"),
        pytest.param(f"--with-stream=dynamic {STREAM}", False, "missing", id="not installed"),
        pytest.param("--with-stream", False, "missing", id="no preread"),
        pytest.param("--with-http_ssl_module", False, "missing", id="no stream"),
        pytest.param("--with-cc-opt='-O2 --with-streams'", False, "missing", id="another word"),
    ],
)
def test_the_stream_module_is_found_where_the_build_says(
    arguments: str, installed: bool, stream: str, tmp_path: Path
) -> None:
    module = tmp_path / "ngx_stream_module.so"
    if installed:
        module.touch()
    description = (
        "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.11\n"
        f"configure arguments: --prefix=/etc/nginx --modules-path={tmp_path} {arguments}\n"
    )
    found = parse_build(Path("/usr/sbin/nginx"), description)
    assert (found.version, found.stream) == ("1.22.1", stream)
    assert found.module == (module if stream == "dynamic" else None)


def test_an_nginx_that_says_nothing_understandable_has_no_stream() -> None:
    assert parse_build(Path("/bin/nginx"), "segfault") == Nginx(
        Path("/bin/nginx"), "unknown", "missing", None
    )


def test_without_a_stream_module_no_configuration_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        write_config(tmp_path, EDGE, Nginx(Path("/usr/sbin/nginx"), "1.22.1", "missing"))
    assert "libnginx-mod-stream" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_the_command_names_prefix_and_configuration(tmp_path: Path) -> None:
    nginx = Nginx(Path("/usr/sbin/nginx"), "1.22.1", "built in")
    path = write_config(tmp_path, EDGE, nginx)
    command = nginx.command(tmp_path)
    assert command[:3] == ["/usr/sbin/nginx", "-p", str(tmp_path)]
    assert command[command.index("-c") + 1] == str(path)


def test_addresses_of_both_families_are_written_as_nginx_reads_them() -> None:
    edge = Edge(parse_address("[::]:443"), EDGE.routes)
    assert "listen [::]:443;" in _lines(render(edge, module=None))
