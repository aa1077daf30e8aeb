from __future__ import annotations

import pytest

from sealserve.errors import UsageError
from sealserve.hosts import Address, is_loopback, parse_address, parse_dns_name, parse_host


@pytest.mark.parametrize(
    ("text", "host", "port", "spelled"),
    [
        pytest.param("replica-1:8500", "replica-1", 8500, "replica-1:8500", id="label"),
        pytest.param("Models.Example.COM:1", "models.example.com", 1, None, id="upper case"),
        pytest.param("127.0.0.1:65535", "127.0.0.1", 65535, "127.0.0.1:65535", id="IPv4"),
        pytest.param("[::1]:8500", "::1", 8500, "[::1]:8500", id="IPv6"),
        pytest.param("[2001:DB8:0::1]:9", "2001:db8::1", 9, "[2001:db8::1]:9", id="IPv6 canonical"),
    ],
)
def test_addresses_have_one_spelling(text: str, host: str, port: int, spelled: str | None) -> None:
    address = parse_address(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == (spelled or text.lower())
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("host", id="no port"),
        pytest.param(":8500", id="no host"),
        pytest.param("host:", id="empty port"),
        pytest.param("host:0", id="port 0"),
        pytest.param("host:65536", id="port too large"),
        pytest.param("host:08500", id="leading zero"),
        pytest.param("host:+1", id="signed port"),
        pytest.param("host:٨٥", id="digits of another script"),
        pytest.param("::1:8500", id="IPv6 without brackets"),
        pytest.param("[host]:8500", id="name in brackets"),
        pytest.param("[fe80::1%eth0]:8500", id="IPv6 bound to an interface"),
        pytest.param("http://host:8500", id="URL"),
        pytest.param("unix:/tmp/socket:1", id="Unix socket"),
        pytest.param("host; evil:8500", id="two directives"),
        pytest.param("host\n:8500", id="newline"),
        pytest.param("host name:8500", id="space"),
        pytest.param("$host:8500", id="variable"),
        pytest.param("256.1.1.1:8500", id="no IPv4 and no name"),
        pytest.param("-host:8500", id="leading hyphen"),
        pytest.param("host-:8500", id="trailing hyphen"),
        pytest.param("a..b:8500", id="empty label"),
        pytest.param("host.:8500", id="root dot"),
        pytest.param("bücher.example:8500", id="not an A-label"),
        pytest.param("*.example.com:8500", id="wildcard"),
        pytest.param(f"{'a' * 64}.example:8500", id="label too long"),
        pytest.param(f"{'a.' * 127}a:8500", id="name too long"),
    ],
)
def test_whatever_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text)


def test_an_address_cannot_be_made_around_the_parser() -> None:
    with pytest.raises(UsageError):
        Address("127.0.0.1; include /etc/passwd", 8500)
    with pytest.raises(UsageError):
        Address("127.0.0.1", 0)


def test_hosts_are_names_or_ip_addresses_in_canonical_form() -> None:
    assert parse_host("LOCALHOST") == "localhost"
    assert parse_host("0:0::1") == "::1"


def test_a_wildcard_stands_only_for_the_whole_first_label_and_only_where_it_is_permitted() -> None:
    assert parse_dns_name("*.Example.com", wildcard=True) == "*.example.com"
    for text in ("*", "*.com", "a*.example.com", "a.*.example.com", "*.*.example.com"):
        with pytest.raises(UsageError):
            parse_dns_name(text, wildcard=True)
    with pytest.raises(UsageError):
        parse_dns_name("*.example.com")


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("::1%eth0", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_only_what_can_be_no_other_machine_is_this_one(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local
