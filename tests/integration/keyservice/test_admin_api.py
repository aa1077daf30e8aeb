"""The admin API over real TLS, before a real store: what people can do, by their roles."""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from administered import (
    EVIDENCE,
    PEOPLE,
    POLICY,
    PPID,
    Served,
    Site,
    record_decisions,
    serving,
)
from sealserve.errors import (
    AuditError,
    ConfigError,
    DeniedError,
    FormatError,
    SealServeError,
    StoreError,
    UsageError,
)
from sealserve.keyservice.administration import answers
from sealserve.keyservice.administration.values import Query, Role, Target, TargetKind
from sealserve.keyservice.api import calls, listening, openapi_document
from sealserve.keyservice.api.access import OPERATIONS
from sealserve.keyservice.store.secrets import State
from sealserve.keyservice.store.store import Store

VALUE = bytes.fromhex("5ea15e4ce0ff1cea5ea15e4ce0ff1cea")
REASON = "a bug in its parser"
MEASUREMENT = Target(TargetKind.MEASUREMENT, "ab" * 32)
RECORD = (
    b'{"files":[{"path":"1/saved_model.pb","sha256":"' + b"00" * 32 + b'","size":1}],'
    b'"format":1,"model":"digits","version":null}'
)


def http(served: Served, who: Role | str = Role.OWNER) -> httpx.Client:
    return httpx.Client(base_url=served.url, verify=served.tls(who), trust_env=False, timeout=30)


def code_of(answer: httpx.Response) -> str:
    assert set(answer.json()) == {"error"}
    return str(answer.json()["error"]["code"])


def test_an_owner_does_everything_and_finds_it_done(served: Served) -> None:
    with served.remote() as admin:
        assert (admin.status().secrets, admin.status().policy_sha256) == (0, None)
        made = admin.add_secret("digits", VALUE, RECORD)
        assert (made.name, made.version, made.state, made.size) == ("digits", 1, State.CURRENT, 16)
        assert (made.created_by, made.model, made.record) == (PEOPLE[Role.OWNER], "digits", RECORD)
        assert admin.rotate_secret("digits", VALUE[::-1]).record == RECORD
        without_records = [replace(each, record=None) for each in admin.secret("digits")]
        assert admin.secrets() == without_records
        assert [(each.version, each.state) for each in admin.secret("digits")] == [
            (2, State.CURRENT),
            (1, State.USABLE),
        ]
        assert [each.version for each in admin.retire_secret("digits", 1)] == [1]
        admin.revoke(MEASUREMENT, REASON)
        admin.revoke(Target(TargetKind.SECRET, "digits@1"), REASON)
        assert admin.revocations() == [MEASUREMENT, Target(TargetKind.SECRET, "digits@1")]
        admin.lift(Target(TargetKind.SECRET, "digits@1"), "it was another & not this: 100 %")
        assert admin.revocations() == [MEASUREMENT]
        tried = admin.try_policy(POLICY)
        assert tried.missing_secrets == ()
        assert admin.apply_policy(POLICY, tried.token).text == POLICY
        assert admin.policy().applied_by == PEOPLE[Role.OWNER]
        records = [json.loads(each.data) for each in admin.records(Query(kind="change"))]
        assert {each["by"] for each in records} == {PEOPLE[Role.OWNER]}
        assert [each["what"] for each in records] == [
            "secret.add",
            "secret.rotate",
            "secret.retire",
            "revocation.add",
            "revocation.add",
            "revocation.lift",
            "policy.apply",
        ]
        assert records[5]["reason"] == "it was another & not this: 100 %"
        inclusion = admin.inclusion(2)
        assert json.loads(inclusion.data)["what"] == "secret.retire"
        assert admin.consistency(3).checkpoint == admin.checkpoint() == inclusion.checkpoint
        assert admin.log_key().startswith("keys.example.com/audit+")


def operations() -> list[tuple[str, str, str]]:
    """Every operation of the document, with a path that could be."""
    named = {"name": "digits", "kind": "measurement", "value": "ab" * 32, "index": "0"}
    return [
        (found["operationId"], method.upper(), path.format(**named, old_size="0"))
        for path, methods in openapi_document()["paths"].items()
        for method, found in methods.items()
    ]


def test_the_document_is_openapi_of_every_operation_and_says_who_may(served: Served) -> None:
    document = openapi_document()
    assert document["openapi"].startswith("3.1.")
    assert {operation for operation, _, _ in operations()} == set(OPERATIONS)
    assert document["components"]["securitySchemes"]["certificate"]["type"] == "mutualTLS"
    text = json.dumps(document)
    for reference in re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', text):
        assert reference in document["components"]["schemas"]
    assert "HTTPValidationError" not in text
    for path, methods in document["paths"].items():
        for found in methods.values():
            assert found["x-roles"] == [
                str(role) for role in Role if role in OPERATIONS[found["operationId"]]
            ]
            assert len(found["description"]) > 40 or path == "/openapi.json"
            assert {"400", "403", "404", "409", "413", "422", "500", "503"} < set(
                found["responses"]
            )
            good = [status for status in found["responses"] if status < "300"]
            assert len(good) == 1
            schema = found["responses"][good[0]]["content"]["application/json"]["schema"]
            assert schema
            wanted = set(re.findall(r"{(\w+)}", path))
            parameters = {each["name"] for each in found.get("parameters", [])}
            assert wanted <= parameters
    with http(served, Role.OPERATOR) as client:
        assert client.get("/openapi.json").json() == document


@pytest.mark.parametrize("role", Role)
def test_each_operation_is_refused_to_who_may_not_before_its_body_is_read(
    served: Served, role: Role
) -> None:
    nonsense = b"[" * (2 << 20)
    with http(served, role) as client:
        for operation, method, path in operations():
            allowed = role in OPERATIONS[operation]
            content = nonsense if method != "GET" and not allowed else None
            answer = client.request(method, path, content=content)
            refused = answer.status_code == 403 and code_of(answer) == "role"
            assert refused != allowed, f"{role} {operation}: {answer.status_code}"
    with served.remote() as admin:
        assert (admin.status().log_size, admin.status().revision) == (0, 0)


def test_an_auditor_who_tries_an_owners_call_changes_nothing_and_is_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), served.remote(Role.AUDITOR) as admin:
        with pytest.raises(DeniedError) as refused:
            admin.add_secret("digits", VALUE)
        assert refused.value.code == "role"
        assert admin.secrets() == []
    (line,) = [record.getMessage() for record in caplog.records if "add_secret" in record.msg]
    assert "person=audrey.example.com role=auditor" in line
    assert "status=403" in line


def test_operators_see_names_and_states_and_find_a_refusal_by_its_evidence(
    served: Served, store: Store
) -> None:
    record_decisions(store, 3)
    with served.remote() as owner:
        owner.add_secret("digits", VALUE, RECORD)
    with served.remote(Role.OPERATOR) as operator:
        (secret,) = operator.secrets()
        assert (secret.name, secret.state, secret.record) == ("digits", State.CURRENT, None)
        assert (secret.created_by, secret.changed_by) == ("", "")
        found = operator.records(Query(evidence=EVIDENCE, limit=2))
        assert [record.index for record in found] == [0, 1]
        assert json.loads(found[0].data)["code"] == "policy.no-rule"
        assert PPID.encode() not in found[0].data
        with pytest.raises(DeniedError) as refused:
            operator.records(Query())
        assert refused.value.code == "role.evidence-only"
        assert operator.records(Query(evidence="00" * 32)) == []
    with served.remote(Role.AUDITOR) as auditor:
        assert PPID.encode() in auditor.records(Query(evidence=EVIDENCE))[0].data


@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        (lambda admin: admin.secret("other"), UsageError, "no-secret"),
        (lambda admin: admin.retire_secret("digits", 9), UsageError, "no-version"),
        (lambda admin: admin.add_secret("digits", b"x"), UsageError, "secret-exists"),
        (lambda admin: admin.lift(MEASUREMENT, "why"), UsageError, "not-revoked"),
        (lambda admin: admin.inclusion(99), UsageError, "no-record"),
        (lambda admin: admin.consistency(99), UsageError, "no-record"),
        (lambda admin: admin.try_policy("version = 9\n"), ConfigError, "config"),
        (lambda admin: admin.apply_policy(POLICY, "00" * 32), UsageError, "dry-run-outdated"),
        (lambda admin: admin.rotate_secret("digits", b"y", b"{}"), FormatError, "model-record"),
        (lambda admin: admin.rotate_secret("digits", VALUE), UsageError, "usage"),
    ],
    ids=[
        "no secret",
        "no version",
        "secret exists",
        "not revoked",
        "no record",
        "no such size",
        "no policy",
        "outdated",
        "no model record",
        "the same value",
    ],
)
def test_an_error_is_the_same_as_at_the_database_itself(
    served: Served, call: Any, kind: type[SealServeError], code: str
) -> None:
    with served.remote() as admin:
        admin.add_secret("digits", VALUE)
        with pytest.raises(SealServeError) as refused:
            call(admin)
    assert type(refused.value) is kind
    assert refused.value.code == code
    assert len(refused.value.message) > 10


@pytest.mark.parametrize("family", answers.FAMILIES)
def test_every_family_of_errors_keeps_its_class_over_the_wire(family: str) -> None:
    kind = answers.FAMILIES[family]
    error = kind("what was found", code="its-code", hint="what to do")
    back = answers.ErrorAnswer.of(error).value_of()
    assert (type(back), back.code, back.message, back.hint) == (
        kind,
        "its-code",
        "what was found",
        "what to do",
    )


def test_every_answer_has_an_id_that_the_log_and_the_record_of_the_change_repeat(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), http(served) as client:
        body = {"name": "digits", "value": base64.b64encode(VALUE).decode()}
        answers = [
            client.post("/v1/secrets", json=body),
            client.get("/v1/nothing"),
            client.get("/v1/policy/dry-run"),
            client.post("/v1/secrets", json={}),
        ]
    assert [answer.status_code for answer in answers] == [201, 404, 405, 422]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 4
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers)
    for identifier in ids:
        assert f"request_id={identifier}" in caplog.text
    with served.remote() as admin:
        assert json.loads(admin.inclusion(0).data)["request_id"] == ids[0]


def spellings(value: bytes) -> list[bytes]:
    return [value, value.hex().encode(), base64.b64encode(value), repr(value).encode()]


def test_a_secrets_value_is_in_no_answer_no_log_and_no_error(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = base64.b64encode(VALUE).decode()
    bodies: list[Any] = [
        {"name": "digits", "value": text},
        {"name": "digits", "value": text},
        {"name": "digits", "value": text + "!"},
        {"name": text, "value": text},
        {"name": "digits", "value": VALUE.hex()},
        {"name": "digits", "value": [text]},
        {"name": "digits", "value": text, text: text},
        {"name": "digits", "valu": text},
        {"name": "digits", "value": text, "record": text},
        {"name": "x", "value": base64.b64encode(VALUE * 4096).decode()},
        [text],
        text,
    ]
    seen = b""
    with caplog.at_level(logging.DEBUG, "sealserve"), http(served) as client:
        for body in bodies:
            answer = client.post("/v1/secrets", json=body)
            seen += answer.content + repr(answer.headers).encode()
            assert answer.status_code in (201, 400, 409, 422)
        truncated = json.dumps(bodies[0])[:-1].encode()
        seen += client.post("/v1/secrets", content=truncated).content
        for path in ("/v1/secrets", "/v1/secrets/digits", "/v1/audit/records"):
            seen += client.get(path).content
    seen += caplog.text.encode()
    for spelling in (*spellings(VALUE), VALUE.hex().upper().encode()):
        assert spelling not in seen
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("keyservice.db*"))
    assert all(spelling not in stored for spelling in spellings(VALUE))


class Broken:
    """An administration that fails in ways of its own."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def __getattr__(self, _name: str) -> Any:
        def fail(*_arguments: object) -> Any:
            raise self.failure

        return fail


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (ValueError(f"the value {VALUE.hex()}"), 500, "fault"),
        (StoreError("the database does not answer"), 503, "database"),
        (AuditError("the log is not whole"), 500, "integrity.audit"),
    ],
    ids=["a fault", "no database", "a broken log"],
)
def test_a_failure_is_answered_with_its_code_and_the_next_is_served(
    tmp_path: Path,
    store: Store,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
    status: int,
    code: str,
) -> None:
    with (
        caplog.at_level(logging.INFO),
        serving(Site(tmp_path), store, lambda _actor: Broken(failure)) as running,
        http(running) as client,
    ):
        for _ in range(2):
            answer = client.get("/v1/status")
            assert (answer.status_code, code_of(answer)) == (status, code)
            assert answer.headers["x-request-id"] in caplog.text
    assert VALUE.hex() not in caplog.text


class Slow:
    """An administration whose answers wait for an event."""

    def __init__(self, until: threading.Event) -> None:
        self.until = until

    def checkpoint(self) -> str:
        self.until.wait(30)
        return "a note"


def test_what_takes_too_long_and_what_is_too_much_is_refused(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(calls, "WAITING", 1)
    until = threading.Event()
    with (
        serving(Site(tmp_path), store, lambda _actor: Slow(until)) as running,
        http(running) as client,
    ):
        late = client.get("/v1/audit/checkpoint")
        assert (late.status_code, code_of(late)) == (503, "deadline")
        full = client.get("/v1/audit/checkpoint")
        assert (full.status_code, code_of(full)) == (503, "overloaded.requests")
        until.set()
        deadline = time.monotonic() + 30
        while client.get("/v1/audit/checkpoint").status_code != 200:
            assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b" " * ((1 << 20) + 1), 413, "request.too-large"),
        (b"[" * 100_000, 400, "request.depth"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, 400, "request.depth"),
        (b"{", 400, "request.malformed"),
        (b"\xff\xfe", 400, "request.malformed"),
        (b'{"name":"x","value":"AA==","value":1}', 422, "request.invalid"),
        (b'{"name":"x","value":"AA"}', 422, "request.invalid"),
        (b'{"name":"\\ud800","value":"AA=="}', 422, "request.invalid"),
        (b'{"name":"../x","value":"AA=="}', 422, "request.invalid"),
        (b'{"name":"x\\n","value":"AA=="}', 422, "request.invalid"),
        (b"null", 422, "request.invalid"),
        (b"", 422, "request.invalid"),
        (b"1" * 5000, 400, "request.malformed"),
    ],
    ids=[
        "too large",
        "deep lists",
        "deep objects",
        "cut off",
        "no UTF-8",
        "a key twice",
        "base64 without its padding",
        "half a character",
        "a path for a name",
        "a line break in a name",
        "null",
        "nothing",
        "a number without end",
    ],
)
def test_a_request_that_is_none_is_refused(
    served: Served, content: bytes, status: int, code: str
) -> None:
    with http(served) as client:
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/secrets", content=content, headers=headers)
        assert (answer.status_code, code_of(answer)) == (status, code)
        assert client.get("/v1/status").json()["log_size"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "after=-2",
        "evidence=ab",
        "evidense=" + EVIDENCE,
        "since=yesterday",
        "since=2026-06-01T12:00:00",
        "secret=%00",
        "kind=a%27--",
        "newest_first=perhaps",
    ],
)
def test_a_query_that_is_none_is_refused_and_not_read_as_another(
    served: Served, query: str
) -> None:
    with http(served) as client:
        answer = client.get(f"/v1/audit/records?{query}")
    assert (answer.status_code, code_of(answer)) == (422, "request.invalid")


def test_pages_of_records_are_bounded_in_bytes_and_lose_none(
    served: Served, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sealserve.keyservice.api import log

    record_decisions(store, 25)
    monkeypatch.setattr(log, "RECORDS_BYTES", 2000)
    seen: list[int] = []
    with served.remote(Role.AUDITOR) as admin:
        while page := admin.records(Query(after=seen[-1] if seen else -1)):
            assert len(page) < 10
            seen += [record.index for record in page]
        newest = admin.records(Query(newest_first=True, limit=3))
    assert seen == list(range(25))
    assert [record.index for record in newest] == [24, 23, 22]


def test_a_silent_handshake_is_ended_and_stops_nobody(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealserve.http_server.HEAD_SECONDS", 1)
    monkeypatch.setattr(listening, "CONNECTIONS", 8)
    with serving(Site(tmp_path), store) as running:
        address = running.address.host, running.address.port
        silent = [socket.create_connection(address) for _ in range(50)]
        try:
            for each in silent:
                each.settimeout(30)
                assert each.recv(1) == b""
            with running.remote() as admin:
                assert admin.status().log_size == 0
        finally:
            for each in silent:
                each.close()
