from __future__ import annotations

import pytest

from sealserve.client import Client
from sealserve.client.channel import certificate_name, parse_targets
from sealserve.errors import UsageError
from sealserve.hosts import Address

A, B = Address("127.0.0.1", 8500), Address("::1", 8501)


@pytest.mark.parametrize(
    "targets",
    [
        pytest.param("127.0.0.1:8500,[::1]:8501", id="one text"),
        pytest.param(" 127.0.0.1:8500 , [::1]:8501 ", id="spaces"),
        pytest.param(["127.0.0.1:8500", "[::1]:8501"], id="a list"),
        pytest.param("127.0.0.1:8500,[::1]:8501,127.0.0.1:8500", id="one twice"),
    ],
)
def test_targets_come_in_one_text_or_in_several(targets: str | list[str]) -> None:
    assert parse_targets(targets) == (A, B)


@pytest.mark.parametrize("targets", ["", ",", "a:1,", [], "a"])
def test_no_target_is_refused(targets: str | list[str]) -> None:
    with pytest.raises(UsageError):
        parse_targets(targets)


def test_the_certificate_carries_the_only_host_or_the_name_given() -> None:
    assert certificate_name([A, Address("127.0.0.1", 9)], None) == "127.0.0.1"
    assert certificate_name([A, B], "Models.example.com") == "models.example.com"


def test_several_hosts_need_a_server_name() -> None:
    with pytest.raises(UsageError) as caught:
        certificate_name([A, B], None)
    assert "server name" in str(caught.value.hint)


@pytest.mark.parametrize("option", ["ca", "certificate", "private_key"])
def test_plaintext_with_credentials_is_a_contradiction(option: str) -> None:
    with pytest.raises(UsageError, match="plaintext has no"):
        Client("127.0.0.1:8500", dangerously_plaintext=True, **{option: b"x"})


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("inf"), float("nan")])
def test_every_call_has_a_deadline(timeout: float) -> None:
    with (
        Client("127.0.0.1:1", dangerously_plaintext=True) as client,
        pytest.raises(UsageError, match="timeout"),
    ):
        client.status("model", timeout=timeout)
