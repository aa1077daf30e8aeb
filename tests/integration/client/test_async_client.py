"""The client for asyncio over real mutual TLS: the same answers, deadlines and errors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from sealserve.client import AsyncClient
from sealserve.errors import (
    DeadlineExceeded,
    FormatError,
    InvalidArgument,
    NetworkError,
    NotFound,
    SealServeError,
    Unavailable,
    UsageError,
)

NAME = "models.example.com"
ONE = np.ones((1, 4, 4, 1), np.float32)

Asking = Callable[[AsyncClient], Awaitable[Any]]


@pytest.fixture
def ask(world: Any) -> Callable[..., Any]:
    """What `asking` gives, from a client in an event loop of its own."""

    def run(target: str, asking: Asking, **changes: Any) -> Any:
        options = {
            "ca": world.authority.certificate_pem,
            "certificate": world.client.certificate_pem,
            "private_key": world.client.key_pem,
            "server_name": NAME,
            "timeout": 20.0,
        }

        async def inside() -> Any:
            async with AsyncClient(target, **(options | changes)) as client:
                return await asking(client)

        return asyncio.run(inside())

    return run


def test_arrays_go_out_and_come_back(ask: Any, start_replica: Any) -> None:
    replica = start_replica()
    outputs = ask(
        replica.address,
        lambda client: client.predict("double", {"input": ONE}, signature="other", version=7),
    )
    assert np.array_equal(outputs["predict"], 2 * ONE)
    spec = replica.requests[0].model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("double", "other", 7)


def test_every_call_of_the_client_that_blocks_is_there_too(ask: Any, start_replica: Any) -> None:
    async def all_of_them(client: AsyncClient) -> list[Any]:
        return [
            [(entry.version, entry.state) for entry in await client.status("double")],
            (await client.metadata("double"))["serving_default"].inputs["input"].shape,
            (await client.classify("m", [{"label": "hen"}]))[0][0].label,
            (await client.regress("m", [{"x": [1.0, 2.0]}])).tolist(),
            await client.ready("double"),
            await client.ready("absent"),
        ]

    found = ask(start_replica().address, all_of_them)
    assert found == [[(2, "AVAILABLE"), (3, "END")], (None, 4, 4, 1), "hen", [3.0], True, False]


def test_many_calls_are_under_way_at_once_over_one_connection(ask: Any, start_replica: Any) -> None:
    async def many(client: AsyncClient) -> list[float]:
        answers = await asyncio.gather(
            *(client.predict("double", {"input": np.float32([number])}) for number in range(64))
        )
        return [float(answer["predict"][0]) for answer in answers]

    replica = start_replica()
    assert ask(replica.address, many) == [2.0 * number for number in range(64)]
    assert len(replica.peers) == 1


def test_requests_go_over_all_targets(ask: Any, start_replica: Any) -> None:
    replicas = [start_replica() for _ in range(2)]

    async def until_all_are_reached(client: AsyncClient) -> None:
        while not all(replica.requests for replica in replicas):
            await client.predict("double", {"input": ONE})

    ask(",".join(replica.address for replica in replicas), until_all_are_reached)


@pytest.mark.parametrize(
    ("model", "kind", "requests"),
    [
        ("fails-NOT_FOUND", NotFound, 1),
        ("fails-UNAVAILABLE", Unavailable, 3),
        ("malformed", FormatError, 1),
    ],
)
def test_errors_are_the_same_and_so_is_what_is_sent_again(
    model: str, kind: type[SealServeError], requests: int, ask: Any, start_replica: Any
) -> None:
    replica = start_replica()
    with pytest.raises(kind):
        ask(replica.address, lambda client: client.predict(model, {"input": ONE}))
    assert len(replica.requests) == requests


def test_an_array_that_cannot_be_sent_reaches_no_server(ask: Any, start_replica: Any) -> None:
    replica = start_replica()
    with pytest.raises(InvalidArgument):
        ask(replica.address, lambda client: client.predict("m", {"x": np.array([object()])}))
    assert replica.requests == []


def test_a_server_that_is_not_reached_is_looked_at(ask: Any, start_replica: Any) -> None:
    with pytest.raises(NetworkError) as refused:
        ask("127.0.0.1:1", lambda client: client.predict("double", {"input": ONE}))
    assert refused.value.code == "network.refused"
    with pytest.raises(NetworkError) as misnamed:
        ask(
            start_replica().address,
            lambda client: client.predict("double", {"input": ONE}),
            server_name="other.example.com",
        )
    assert misnamed.value.code == "network.tls.name-mismatch"


def test_a_name_without_an_address_is_found_at_the_first_call(ask: Any) -> None:
    with pytest.raises(NetworkError) as caught:
        ask("nobody.invalid:1,127.0.0.1:1", lambda client: client.status("double"))
    assert caught.value.code == "network.name-resolution"


def test_a_server_that_never_speaks_meets_the_deadline(ask: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DeadlineExceeded):
            ask(address, lambda client: client.predict("m", {"input": ONE}, timeout=0.3))


def test_a_call_can_be_cancelled_and_the_client_goes_on(ask: Any, start_replica: Any) -> None:
    async def cancel_one(client: AsyncClient) -> Any:
        slow = asyncio.ensure_future(client.predict("slow", {"input": ONE}))
        await client.predict("double", {"input": ONE})
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        return await client.predict("double", {"input": ONE})

    assert np.array_equal(ask(start_replica().address, cancel_one)["predict"], 2 * ONE)


def test_a_client_that_is_closed_says_so(ask: Any, start_replica: Any) -> None:
    async def ask_late(client: AsyncClient) -> None:
        await client.close()
        await client.status("double")

    with pytest.raises(UsageError, match="closed"):
        ask(start_replica().address, ask_late)
