"""A long run, in flat memory: 100,000 requests, and damaged ones of every method."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest

from damage import damaged
from sealserve.client import predict_request
from sealserve.messages import services
from sealserve.messages.metadata_pb2 import GetModelMetadataRequest
from sealserve.messages.status_pb2 import GetModelStatusRequest
from sealserve.models.digits import INPUT, export_digits, held_out
from served_site import Site, served

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

REQUESTS = 100_000
SETTLED = 20_000  # requests after which a server has all the memory that it will have
DAMAGED = 20_000
CONNECTIONS = 8
GROWTH = 8 << 20  # bytes: noise of the allocator
IMAGE = held_out()[0][:1]
CLEAN = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}

PREDICT = predict_request("digits", {INPUT: IMAGE}).SerializeToString()
STATUS = GetModelStatusRequest(model_spec={"name": "digits"}).SerializeToString()
METADATA = GetModelMetadataRequest(
    model_spec={"name": "digits"}, metadata_field=["signature_def"]
).SerializeToString()
MISTAKE = predict_request("digits", {INPUT: np.zeros((1, 3), np.float32)}).SerializeToString()
MIXTURE = (
    *[(services.PREDICT.path, PREDICT)] * 7,
    (services.PREDICT.path, MISTAKE),
    (services.GET_MODEL_STATUS.path, STATUS),
    (services.GET_MODEL_METADATA.path, METADATA),
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    export_digits(tmp_path / "models" / "digits")
    with served(tmp_path, "--model_name=digits", "--model_base_path=models/digits") as site:
        yield site


def test_memory_stays_flat_over_100_000_requests(site: Site) -> None:
    first = asyncio.run(_send(site, itertools.islice(itertools.cycle(MIXTURE), SETTLED)))
    before = _resident(site)
    rest = itertools.islice(itertools.cycle(MIXTURE), REQUESTS - SETTLED)
    codes = asyncio.run(_send(site, rest)) + first
    assert codes == {"OK": REQUESTS * 9 // 10, "INVALID_ARGUMENT": REQUESTS // 10}
    assert _resident(site) - before < GROWTH


def test_damaged_requests_of_every_method_have_clean_codes_and_cost_no_memory(site: Site) -> None:
    sound = {
        services.PREDICT: PREDICT,
        services.CLASSIFY: PREDICT,
        services.REGRESS: PREDICT,
        services.MULTI_INFERENCE: PREDICT,
        services.GET_MODEL_METADATA: METADATA,
        services.GET_MODEL_STATUS: STATUS,
    }
    each = DAMAGED // len(sound)
    for half in range(2):
        before = _resident(site)
        codes = Counter[str]()
        for method, data in sound.items():
            variants = damaged(data, seed=half, rounds=each)
            codes += asyncio.run(_send(site, ((method.path, variant) for variant in variants)))
        assert codes.keys() <= CLEAN
        assert codes["INVALID_ARGUMENT"] > DAMAGED // 4
    assert _resident(site) - before < GROWTH
    assert site.process.poll() is None


async def _send(site: Site, requests: Iterator[tuple[str, bytes]]) -> Counter[str]:
    """How the requests ended, by code."""
    codes = Counter[str]()
    credentials = grpc.ssl_channel_credentials(
        site.pem("ca_cert.pem"), site.pem("client/key.pem"), site.pem("client/cert.pem")
    )

    async def connection(number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(site.grpc, credentials, options) as channel:
            for path, data in requests:
                try:
                    await channel.unary_unary(path)(data, timeout=60)
                    codes["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    codes[error.code().name] += 1

    await asyncio.gather(*map(connection, range(CONNECTIONS)))
    return codes


def _resident(site: Site) -> int:
    """Bytes of the server's resident memory (proc(5))."""
    status = Path(f"/proc/{site.process.pid}/status").read_text()
    return 1024 * int(status.partition("\nVmRSS:")[2].split()[0])
