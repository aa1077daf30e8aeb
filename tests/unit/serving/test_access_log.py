"""One line for each request, in either form of the log, whatever a peer is called."""

from __future__ import annotations

import json
import logging

import pytest

from sealserve.logline import JsonFormatter
from sealserve.serving.calls import Call
from sealserve.serving.watching.access_log import AccessLog
from sealserve.serving.watching.peers import plain_peer


@pytest.mark.parametrize(
    ("peer", "plain"),
    [
        ("ipv4:192.0.2.1:4711", "192.0.2.1:4711"),
        ("ipv6:%5B2001:db8::1%5D:4711", "[2001:db8::1]:4711"),
        ("192.0.2.1:4711", "192.0.2.1:4711"),
        ("[2001:db8::1]:4711", "[2001:db8::1]:4711"),
        ("unix:/run/x", "unix:/run/x"),
        ("", ""),
    ],
)
def test_a_peer_is_an_address_as_people_write_it(peer: str, plain: str) -> None:
    assert plain_peer(peer) == plain


def told(caplog: pytest.LogCaptureFixture, call: Call, worker: int | None = None) -> dict:
    caplog.set_level(logging.INFO)
    AccessLog(worker).observe(call)
    return json.loads(JsonFormatter().format(caplog.records[-1]))


def test_what_was_not_computed_has_no_times_of_the_engine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = told(caplog, Call("GetModelStatus", "REST", status="NOT_FOUND", seconds=0.0012345678))
    assert found["seconds"] == 0.001235
    assert found["status"] == "NOT_FOUND"
    assert not {"queue", "engine", "rows", "model", "version", "peer", "worker"} & found.keys()


def test_of_several_processes_each_says_which_it_is(caplog: pytest.LogCaptureFixture) -> None:
    call = Call("Predict", "GRPC", peer="ipv4:192.0.2.1:1", model="m", version=2, rows=3)
    call.engine_seconds, call.status = 0.5, "OK"
    found = told(caplog, call, worker=1)
    assert (found["worker"], found["model"], found["version"], found["rows"]) == (1, "m", 2, 3)
    assert len(found["id"]) == 16
