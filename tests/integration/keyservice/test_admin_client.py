"""The admin API's client before something else: another server, a lost answer, nobody."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest

from administered import (
    Served,
)
from sealserve.errors import (
    ConfigError,
    NetworkError,
    UsageError,
)
from sealserve.keyservice.administration import remote
from sealserve.keyservice.administration.remote import RemoteAdministration
from sealserve.keyservice.administration.values import Role, Target, TargetKind

REASON = "a bug in its parser"
MEASUREMENT = Target(TargetKind.MEASUREMENT, "ab" * 32)


def test_an_answer_that_never_ends_or_is_no_answer_is_given_up(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served.remote() as admin:
        monkeypatch.setattr(remote, "ANSWER_LIMIT", 10)
        with pytest.raises(NetworkError, match="more than 10 bytes"):
            admin.status()
        monkeypatch.undo()
        assert admin.status().log_size == 0
        admin._url += "/elsewhere"
        with pytest.raises(UsageError):
            admin.status()


def test_nobody_there_is_an_error_that_says_what_to_look_at(served: Served) -> None:
    certificate, key = served.site.files(Role.OWNER)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    url = f"https://127.0.0.1:{port}"
    with (
        RemoteAdministration(url, served.site.ca, certificate, key) as admin,
        pytest.raises(NetworkError) as refused,
    ):
        admin.revoke(MEASUREMENT, REASON)
    assert "may have been made" not in str(refused.value.hint)


def test_a_change_whose_answer_is_lost_may_have_been_made(served: Served) -> None:
    certificate, key = served.site.files("server")
    taken = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    taken.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            with taken.wrap_socket(connection, server_side=True) as tls:
                tls.recv(1)

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        own = served.site.files(Role.OWNER)
        with (
            RemoteAdministration(url, served.site.ca, *own) as admin,
            pytest.raises(NetworkError) as lost,
        ):
            admin.revoke(MEASUREMENT, REASON)
        thread.join()
    assert "may have been made" in str(lost.value.hint)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "https://", "127.0.0.1:4434", "https://a:b@h", "https://h?x=1", "ö:"],
)
def test_what_is_no_address_of_an_admin_api_is_refused(served: Served, url: str) -> None:
    with pytest.raises(UsageError):
        RemoteAdministration(url, served.site.ca, *served.site.files(Role.OWNER))


def test_a_private_key_that_others_may_read_is_not_used(served: Served) -> None:
    certificate, key = served.site.files(Role.OWNER)
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 0644"):
        RemoteAdministration(served.url, served.site.ca, certificate, key)
