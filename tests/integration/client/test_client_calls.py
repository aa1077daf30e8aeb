"""Calls over real mutual TLS: answers, statuses, deadlines, limits, retries, balance."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.client import Client
from sealserve.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    FormatError,
    InvalidArgument,
    NetworkError,
    NotFound,
    ResourceExhausted,
    SealServeError,
    ServingError,
    Unavailable,
    Unimplemented,
    UsageError,
)

NAME = "models.example.com"
ONE = np.ones((1, 4, 4, 1), np.float32)


def _client(target: str | list[str], world: Any, **changes: Any) -> Client:
    options = {
        "ca": world.authority.certificate_pem,
        "certificate": world.client.certificate_pem,
        "private_key": world.client.key_pem,
        "server_name": NAME,
        "timeout": 20.0,
    }
    return Client(target, **(options | changes))


def test_arrays_go_out_and_come_back_over_mutual_tls(
    world: Any, start_replica: Any, client_files: dict[str, Path]
) -> None:
    replica = start_replica()
    with Client(replica.address, server_name=NAME, **client_files) as client:
        outputs = client.predict("double", {"input": ONE}, signature="other", version=7)
    assert list(outputs) == ["predict"]
    assert np.array_equal(outputs["predict"], 2 * ONE)
    spec = replica.requests[0].model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("double", "other", 7)


def test_without_a_version_the_server_chooses(world: Any, start_replica: Any) -> None:
    replica = start_replica()
    with _client(replica.address, world) as client:
        client.predict("double", {"input": ONE})
    assert not replica.requests[0].model_spec.HasField("version")


def test_a_target_with_a_host_name_is_checked_by_that_name(world: Any, start_replica: Any) -> None:
    replica = start_replica()
    with _client(f"localhost:{replica.port}", world, server_name=None) as client:
        client.predict("double", {"input": ONE})
    assert len(replica.requests) == 1


def test_status_and_metadata_come_as_values(world: Any, start_replica: Any) -> None:
    with _client(start_replica().address, world) as client:
        versions = client.status("double")
        signature = client.metadata("double")["serving_default"]
    assert [(entry.version, entry.state) for entry in versions] == [(2, "AVAILABLE"), (3, "END")]
    assert versions[1].error_message == "no such file"
    assert signature.inputs["input"].shape == (None, 4, 4, 1)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        ("INVALID_ARGUMENT", InvalidArgument, "serving.invalid-argument"),
        ("NOT_FOUND", NotFound, "serving.not-found"),
        ("FAILED_PRECONDITION", FailedPrecondition, "serving.failed-precondition"),
        ("UNIMPLEMENTED", Unimplemented, "serving.unimplemented"),
        ("RESOURCE_EXHAUSTED", ResourceExhausted, "serving.resource-exhausted"),
        ("UNAVAILABLE", Unavailable, "serving.unavailable"),
        ("INTERNAL", ServingError, "serving.internal"),
        ("PERMISSION_DENIED", ServingError, "serving.permission-denied"),
    ],
)
def test_each_status_of_a_server_is_an_error_of_its_kind(
    status: str, kind: type[SealServeError], code: str, world: Any, start_replica: Any
) -> None:
    with _client(start_replica().address, world) as client, pytest.raises(ServingError) as caught:
        client.predict(f"fails-{status}", {"input": ONE})
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert "as asked" in str(caught.value)
    assert str(caught.value).isprintable()  # the server's text held a terminal escape


@pytest.mark.parametrize(("status", "requests"), [("UNAVAILABLE", 3), ("INTERNAL", 1)])
def test_only_a_server_that_is_not_available_is_asked_again(
    status: str, requests: int, world: Any, start_replica: Any
) -> None:
    replica = start_replica()
    with _client(replica.address, world) as client, pytest.raises(ServingError):
        client.predict(f"fails-{status}", {"input": ONE})
    assert len(replica.requests) == requests


def test_an_answer_that_makes_no_sense_is_the_servers_fault(world: Any, start_replica: Any) -> None:
    with _client(start_replica().address, world) as client, pytest.raises(FormatError):
        client.predict("malformed", {"input": ONE})


def test_an_array_that_cannot_be_sent_reaches_no_server(world: Any, start_replica: Any) -> None:
    replica = start_replica()
    with _client(replica.address, world) as client, pytest.raises(InvalidArgument):
        client.predict("double", {"input": np.array([object()])})
    assert replica.requests == []


def test_a_server_that_is_too_slow_meets_the_deadline(world: Any, start_replica: Any) -> None:
    with _client(start_replica().address, world) as client, pytest.raises(DeadlineExceeded):
        client.predict("slow", {"input": ONE}, timeout=0.2)


def test_a_server_that_never_speaks_meets_the_deadline(world: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with _client(address, world) as client, pytest.raises(DeadlineExceeded):
            client.predict("double", {"input": ONE}, timeout=0.5)


@pytest.mark.parametrize("size", [pytest.param(300, id="request"), pytest.param(150, id="answer")])
def test_messages_above_the_limit_are_refused_on_this_side(
    size: int, world: Any, start_replica: Any
) -> None:
    # float32 in; the answer "widen" asks for float64, so it is twice as long as the request.
    with _client(start_replica().address, world, max_message_bytes=1024) as client:
        client.predict("double", {"input": np.ones(100, np.float32)})
        with pytest.raises(ResourceExhausted):
            client.predict("widen", {"input": np.ones(size, np.float32)})


def test_requests_go_in_turn_over_all_targets(world: Any, start_replica: Any) -> None:
    replicas = [start_replica() for _ in range(3)]
    with _client([replica.address for replica in replicas], world) as client:
        for replica in replicas:
            _until_it_is_reached(client, replica)
        for replica in replicas:
            replica.requests.clear()
        for _ in range(12):
            client.predict("double", {"input": ONE})
    assert [len(replica.requests) for replica in replicas] == [4, 4, 4]


def _until_it_is_reached(client: Client, replica: Any) -> None:
    for _ in range(200):
        if replica.requests:
            return
        client.predict("double", {"input": ONE})
    raise AssertionError(f"no request reached {replica.address}")


def test_a_replica_that_is_down_costs_no_request(world: Any, start_replica: Any) -> None:
    replica = start_replica()
    with _client(f"127.0.0.1:1,{replica.address}", world) as client:
        for _ in range(5):
            client.predict("double", {"input": ONE})
    assert len(replica.requests) == 5


def test_targets_of_both_families_serve_together(world: Any, start_replica: Any) -> None:
    replica = start_replica()
    with _client(f"[::1]:{replica.port},{replica.address}", world) as client:
        client.predict("double", {"input": ONE})
    assert len(replica.requests) == 1


def test_many_threads_share_one_client(world: Any, start_replica: Any) -> None:
    with _client(start_replica().address, world) as client, ThreadPoolExecutor(8) as pool:

        def doubled(number: int) -> float:
            return float(client.predict("double", {"input": np.float32([number])})["predict"][0])

        assert list(pool.map(doubled, range(64))) == [2.0 * number for number in range(64)]


def test_plaintext_works_only_where_it_is_asked_for_by_its_name(start_replica: Any) -> None:
    replica = start_replica(None)
    with Client(replica.address, dangerously_plaintext=True) as client:
        client.predict("double", {"input": ONE})
    assert len(replica.requests) == 1


def test_examples_go_out_as_dicts_and_their_answers_come_back(
    world: Any, start_replica: Any
) -> None:
    with _client(start_replica().address, world) as client:
        classes = client.classify("m", [{"label": ["cat", b"dog"]}, {"label": "hen"}])
        values = client.regress("m", [{"x": [1.5, 2]}, {"x": np.arange(4)}, {"x": True}])
        with pytest.raises(FormatError, match="1 results to 2 examples"):
            client.classify("forgetful", [{}, {}])
    assert [[one.label for one in each] for each in classes] == [["cat", "dog"], ["hen"]]
    assert values.dtype == np.float32
    assert values.tolist() == [3.5, 6.0, 1.0]


@pytest.mark.parametrize(
    ("model", "ready"), [("double", True), ("loading", False), ("absent", False)]
)
def test_a_model_is_ready_once_a_version_of_it_is_available(
    model: str, ready: bool, world: Any, start_replica: Any
) -> None:
    with _client(start_replica().address, world) as client:
        assert client.ready(model) is ready


def test_a_server_that_is_not_there_yet_is_not_ready_and_a_wrong_one_is_an_error(
    world: Any, start_replica: Any
) -> None:
    with _client("127.0.0.1:1", world) as client:
        assert client.ready("double") is False
    with (
        _client(start_replica().address, world, server_name="other.example.com") as client,
        pytest.raises(NetworkError),
    ):
        client.ready("double")


def test_a_client_that_is_closed_says_so(world: Any, start_replica: Any) -> None:
    client = _client(start_replica().address, world)
    client.close()
    with pytest.raises(UsageError, match="closed"):
        client.status("double")


def test_a_large_request_is_sent_again_too(world: Any, start_replica: Any) -> None:
    replica = start_replica()
    with _client(replica.address, world) as client, pytest.raises(Unavailable):
        client.predict("fails-UNAVAILABLE", {"input": np.zeros((1, 224, 224, 3), np.float32)})
    assert len(replica.requests) == 3
