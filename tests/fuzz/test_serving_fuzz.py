"""Damaged requests on both faces: clean codes alone, and the server answers as before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import grpc
import grpc.aio
import httpx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from damage import damaged
from sealserve.errors import InvalidArgument
from sealserve.messages import tensor_pb2
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse
from sealserve.messages.services import GET_MODEL_METADATA, GET_MODEL_STATUS, PREDICT
from sealserve.messages.tensors import to_proto
from sealserve.models.digits import export_digits
from sealserve.serving.calls import Watch
from sealserve.serving.capacity import plan
from sealserve.serving.dataplane import DataPlane
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.faces.grpc import GrpcServer, GrpcSettings
from sealserve.serving.faces.rest import RestApplication, RestSettings
from sealserve.serving.faces.rest_json import decode_inputs, parse_body
from sealserve.serving.faces.tensorflow_grpc import TensorFlowServing
from sealserve.serving.faces.tensorflow_rest import TensorFlowRest
from sealserve.serving.life.lifecycle import ModelManager, Pace
from sealserve.serving.life.models import ModelSettings
from sealserve.serving.life.servable import Loader
from sealserve.serving.opening.vault import Vault
from sealserve.serving.signature import Signature, TensorSpec

ROUNDS = 250
LIMIT = 1 << 20
IMAGE = np.zeros((1, 8, 8, 1), np.float32)
CLEAN_CODES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
CLEAN_STATUSES = {200, 400, 404, 413, 501}


def with_plane(tmp_path: Path, scene: Callable[[DataPlane], Awaitable[None]]) -> None:
    export_digits(tmp_path / "digits")

    async def stage() -> None:
        loader = Loader(OpenVinoEngine(plan(1)), Vault(None), ["serve"])
        manager = ModelManager(loader, Pace(poll=0))
        await manager.start([ModelSettings("digits", str(tmp_path / "digits"))])
        plane = DataPlane(manager, concurrency=1)
        try:
            await scene(plane)
        finally:
            plane.close()
            await manager.close()

    asyncio.run(stage())


def test_damaged_grpc_requests_have_clean_codes(tmp_path: Path) -> None:
    sound = PredictRequest(output_filter=["predict"])
    sound.model_spec.name = "digits"
    sound.model_spec.version.value = 1
    sound.inputs["input"].CopyFrom(to_proto(IMAGE))
    data = sound.SerializeToString()

    async def scene(plane: DataPlane) -> None:
        methods = TensorFlowServing(plane, limit_bytes=LIMIT).methods()
        server = GrpcServer(methods, Watch(), GrpcSettings(LIMIT, 10), None)
        port = await server.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for method in (PREDICT, GET_MODEL_METADATA, GET_MODEL_STATUS):
                ask = channel.unary_unary(method.path)
                for wrong in damaged(data, seed=len(method.name), rounds=ROUNDS):
                    assert await code_of(ask(wrong, timeout=20)) in CLEAN_CODES
            answer = PredictResponse.FromString(await channel.unary_unary(PREDICT.path)(data))
            assert answer.outputs["predict"].dtype == tensor_pb2.DT_FLOAT
        await server.stop(1)

    with_plane(tmp_path, scene)


async def code_of(call: Awaitable[bytes]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


def test_damaged_rest_requests_have_clean_codes(tmp_path: Path) -> None:
    sound = json.dumps({"instances": [{"input": IMAGE[0].tolist()}]}).encode()
    path = b"/v1/models/digits/versions/1:predict"

    async def scene(plane: DataPlane) -> None:
        routes = TensorFlowRest(plane).routes()
        application = RestApplication(routes, Watch(), RestSettings(LIMIT, 10, 20.0))
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            for body in damaged(sound, seed=1, rounds=ROUNDS):
                await clean(await http.post(path.decode(), content=body))
            for wrong in damaged(path, seed=2, rounds=ROUNDS):
                escaped = quote(b"/" + wrong.lstrip(b"/"), safe="/:%?")
                target = httpx.URL("http://test", raw_path=escaped.encode())
                await clean(await http.post(target, content=sound))
                await clean(await http.get(target))
            assert (await http.post(path.decode(), content=sound)).status_code == 200

    with_plane(tmp_path, scene)


async def clean(answer: httpx.Response) -> None:
    assert answer.status_code in CLEAN_STATUSES, answer.text
    assert isinstance(answer.json(), dict)
    assert (answer.status_code == 200) != ("error" in answer.json())


NUMBERS = st.integers() | st.floats(allow_nan=True) | st.booleans() | st.none()
VALUES = st.recursive(
    NUMBERS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["x", "b64", "z"]), inner, max_size=2)
    ),
    max_leaves=20,
)
TYPES = [
    tensor_pb2.DT_FLOAT,
    tensor_pb2.DT_HALF,
    tensor_pb2.DT_INT8,
    tensor_pb2.DT_UINT64,
    tensor_pb2.DT_BOOL,
    tensor_pb2.DT_STRING,
]


@given(form=st.sampled_from(["inputs", "instances"]), value=VALUES, kind=st.sampled_from(TYPES))
def test_any_json_is_an_array_of_the_right_type_or_refused(
    form: str, value: object, kind: int
) -> None:
    spec = TensorSpec("x", "x:0", kind, None)
    signature = Signature("s", {"x": spec}, {"y": spec})
    document = parse_body(json.dumps({form: value}).encode())
    try:
        inputs = decode_inputs(document, signature)
    except InvalidArgument:
        return
    assert all(array.dtype == spec.dtype for array in inputs.values())


@given(body=st.binary(max_size=100))
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    try:
        assert isinstance(parse_body(body), dict)
    except InvalidArgument:
        return


def test_the_damage_is_the_same_in_every_run() -> None:
    assert list(damaged(b"request", seed=3, rounds=ROUNDS)) == list(
        damaged(b"request", seed=3, rounds=ROUNDS)
    )
    assert len(set(damaged(b"request", seed=3, rounds=ROUNDS))) > ROUNDS / 2
