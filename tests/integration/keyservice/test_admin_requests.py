"""Whatever is sent to the admin API, or answered to its client, only stable errors come of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from administered import Served, Site, new_store, serving
from sealserve.errors import SealServeError
from sealserve.keyservice.administration.remote import RemoteAdministration
from sealserve.keyservice.administration.values import Query, Role, Target, TargetKind
from sealserve.keyservice.api import openapi_document

REFUSALS = {400, 403, 404, 405, 409, 413, 422}
CODES = {
    "config",
    "dry-run-outdated",
    "format",
    "model-record",
    "no-record",
    "no-secret",
    "no-version",
    "not-revoked",
    "request.depth",
    "request.invalid",
    "request.malformed",
    "request.method",
    "request.no-endpoint",
    "secret-exists",
    "usage",
}
FIELDS = ["name", "value", "record", "version", "kind", "reason", "policy", "token", "x"]
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["digits", "measurement", "secret", "AA==", "ab" * 32, "version = 2\n", "\0"]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    ),
    max_leaves=6,
)
BODIES = st.one_of(
    st.binary(max_size=60),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(FIELDS), TEXTS, max_size=5).map(
        lambda value: json.dumps(value).encode()
    ),
)
ENDPOINTS = [
    (method.upper(), path)
    for path, methods in openapi_document()["paths"].items()
    for method in methods
]
SLOW = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("admin")
    store = new_store(folder)
    with serving(Site(folder), store) as running:
        yield running
    store.close()


@pytest.fixture(scope="module")
def owner(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=served.url, verify=served.tls(), trust_env=False, timeout=60
    ) as client:
        yield client


@SLOW
@given(
    st.sampled_from(ENDPOINTS),
    st.tuples(TEXTS, TEXTS),
    st.dictionaries(st.sampled_from([*FIELDS, "limit", "after", "since"]), TEXTS, max_size=3),
    BODIES,
)
def test_no_request_is_answered_with_a_fault(
    owner: httpx.Client,
    endpoint: tuple[str, str],
    parts: tuple[str, str],
    query: dict[str, str],
    body: bytes,
) -> None:
    method, path = endpoint
    for name in ("{name}", "{kind}", "{value}", "{index}", "{old_size}"):
        path = path.replace(name, httpx.URL("https://h", params={"p": parts[0]}).query[2:].decode())
    content = body if method != "GET" else None
    headers = {"content-type": "application/json"}
    answer = owner.request(method, path, params=query, content=content, headers=headers)
    if answer.is_success:
        return
    error = answer.json()["error"]
    assert answer.status_code in REFUSALS, error
    assert error["code"] in CODES, error
    assert set(error) <= {"code", "family", "message", "hint"}


CALLS: list[Callable[[RemoteAdministration], Any]] = [
    lambda admin: admin.status(),
    lambda admin: admin.secrets(),
    lambda admin: admin.add_secret("x", b"y"),
    lambda admin: admin.revocations(),
    lambda admin: admin.lift(Target(TargetKind.SIGNER, "ab" * 32), "why"),
    lambda admin: admin.policy(),
    lambda admin: admin.try_policy("version = 2\n"),
    lambda admin: admin.records(Query()),
    lambda admin: admin.inclusion(0),
    lambda admin: admin.consistency(0),
]


@SLOW
@given(
    st.sampled_from(CALLS),
    st.sampled_from([200, 201, 204, 302, 400, 404, 500, 503]),
    st.one_of(
        BODIES,
        st.dictionaries(
            st.sampled_from(["code", "family", "message", "hint"]), VALUES, max_size=4
        ).map(lambda error: json.dumps({"error": error}).encode()),
    ),
)
def test_no_answer_makes_the_client_fail_otherwise_than_with_an_error_of_ours(
    served: Served, call: Callable[[RemoteAdministration], Any], status: int, content: bytes
) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, stream=httpx.ByteStream(content))

    with served.remote(Role.OWNER) as admin:
        admin._http.close()
        admin._http = httpx.Client(transport=httpx.MockTransport(answer))
        try:
            call(admin)
        except SealServeError as error:
            assert error.code
        else:
            assert status < 300


def test_the_client_follows_no_redirect(served: Served) -> None:
    seen: list[httpx.URL] = []

    def elsewhere(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        headers = {"location": "https://elsewhere.example/"}
        return httpx.Response(307, headers=headers, stream=httpx.ByteStream(b""))

    with served.remote(Role.OWNER) as admin:
        admin._http.close()
        admin._http = httpx.Client(transport=httpx.MockTransport(elsewhere))
        with pytest.raises(SealServeError):
            admin.add_secret("x", b"y")
    assert len(seen) == 1
