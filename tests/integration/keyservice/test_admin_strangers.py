"""Who comes in at the admin API at all: certificates, names, versions of TLS."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from administered import (
    PEOPLE,
    Served,
)
from sealserve.deploy.certificates import Validity, make_authority, make_client
from sealserve.errors import (
    DeniedError,
    NetworkError,
)
from sealserve.keyservice.administration.remote import RemoteAdministration
from sealserve.keyservice.administration.values import Role


def http(served: Served, who: Role | str = Role.OWNER) -> httpx.Client:
    return httpx.Client(base_url=served.url, verify=served.tls(who), trust_env=False, timeout=30)


@pytest.fixture
def strangers(served: Served) -> Served:
    """Certificates that are nobody's, beside those of people."""
    site, validity = served.site, served.site.validity
    name = PEOPLE[Role.OWNER]
    site.keep("another authority", make_client(name, validity, issuer=make_authority(validity)))
    past = Validity(datetime.now(UTC) - timedelta(days=5), 2)
    site.keep("expired", make_client(name, past, issuer=site.authority))
    site.keep("no role", make_client("mallory.example.com", validity, issuer=site.authority))
    return served


@pytest.mark.parametrize("who", ["another authority", "expired", "server"])
def test_a_certificate_that_does_not_verify_ends_the_handshake(strangers: Served, who: str) -> None:
    with strangers.remote(who) as admin, pytest.raises(NetworkError) as refused:
        admin.status()
    assert "certificate" in str(refused.value)
    assert refused.value.hint is not None


def test_a_certificate_without_a_role_is_told_so(strangers: Served) -> None:
    with strangers.remote("no role") as admin, pytest.raises(DeniedError) as refused:
        admin.status()
    assert refused.value.code == "person.unknown"
    with http(strangers, "no role") as client:
        for path in ("/v1/status", "/openapi.json", "/", "/v1/nothing"):
            assert client.get(path).status_code == 403


def test_no_certificate_no_plaintext_and_no_old_tls(served: Served) -> None:
    bare = ssl.create_default_context(cafile=str(served.site.ca))
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{served.url}/v1/status", verify=bare, trust_env=False)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{served.address}/v1/status", trust_env=False)
    old = served.tls()
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    answer = httpx.get(f"{served.url}/v1/status", verify=old, trust_env=False)
    assert answer.status_code == 200
    with http(served) as client:
        assert client.get("/v1/status").status_code == 200


def test_a_service_that_is_not_the_one_that_is_named_is_told_nothing(
    served: Served, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(make_authority(served.site.validity).certificate_pem)
    certificate, key = served.site.files(Role.OWNER)
    with (
        RemoteAdministration(served.url, other, certificate, key) as admin,
        pytest.raises(NetworkError) as refused,
    ):
        admin.status()
    assert "not trusted" in str(refused.value)
    assert "--ca" in str(refused.value.hint)
