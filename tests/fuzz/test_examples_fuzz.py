"""Damaged requests about examples, on both faces: clean codes alone, and then sound answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import httpx

from damage import damaged
from sealserve.messages import tensor_pb2
from sealserve.messages.inference_pb2 import (
    ClassificationRequest,
    ClassificationResponse,
    Input,
    MultiInferenceRequest,
    RegressionRequest,
)
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.messages.services import CLASSIFY, MULTI_INFERENCE, REGRESS
from sealserve.models.saved_model import tensor_info
from sealserve.serving.calls import Watch
from sealserve.serving.dataplane import DataPlane
from sealserve.serving.faces.examples_grpc import ExamplesServing
from sealserve.serving.faces.grpc import GrpcServer, GrpcSettings
from sealserve.serving.faces.rest import RestApplication, RestSettings
from sealserve.serving.faces.tensorflow_rest import ExamplesRest
from sealserve.serving.inference import Inference
from sealserve.serving.life.lifecycle import ModelManager, Pace
from sealserve.serving.life.models import ModelSettings
from sealserve.serving.life.servable import Loader
from sealserve.serving.opening.vault import Vault
from string_engine import LengthEngine

ROUNDS = 250
LIMIT = 1 << 20
CLEAN_CODES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"}
CLEAN_STATUSES = {200, 400, 404}


def export(folder: Path) -> None:
    model = SavedModel(saved_model_schema_version=1)
    meta_graph = model.meta_graphs.add()
    meta_graph.meta_info_def.tags.append("serve")
    for name, alias in (("classify", "scores"), ("regress", "outputs")):
        definition = meta_graph.signature_def[name]
        inputs = tensor_info("e:0", tensor_pb2.DT_STRING, (None,))
        definition.inputs["inputs"].CopyFrom(inputs)
        definition.outputs[alias].CopyFrom(tensor_info("s:0", tensor_pb2.DT_FLOAT, None))
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())


def with_inference(tmp_path: Path, scene: Callable[[Inference], Awaitable[None]]) -> None:
    export(tmp_path / "lengths" / "1")

    async def stage() -> None:
        manager = ModelManager(Loader(LengthEngine(), Vault(None), ["serve"]), Pace(poll=0))
        await manager.start([ModelSettings("lengths", str(tmp_path / "lengths"))])
        plane = DataPlane(manager, concurrency=1)
        try:
            await scene(Inference(plane, limit_bytes=LIMIT, check_method_names=False))
        finally:
            plane.close()
            await manager.close()

    asyncio.run(stage())


def two_examples() -> Input:
    asked = Input()
    both = asked.example_list_with_context
    both.context.features.feature["unit"].bytes_list.value.append(b"m")
    for n in (1, 2):
        both.examples.add().features.feature["n"].int64_list.value.append(n)
    return asked


async def code_of(call: Awaitable[bytes]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


def test_damaged_grpc_requests_have_clean_codes(tmp_path: Path) -> None:
    classify = ClassificationRequest(input=two_examples())
    regress = RegressionRequest(input=two_examples())
    several = MultiInferenceRequest(input=two_examples())
    task = several.tasks.add(method_name="tensorflow/serving/classify")
    for spec, signature in (
        (classify.model_spec, "classify"),
        (regress.model_spec, "regress"),
        (task.model_spec, "classify"),
    ):
        spec.name, spec.signature_name = "lengths", signature
    sound = {CLASSIFY: classify, REGRESS: regress, MULTI_INFERENCE: several}

    async def scene(inference: Inference) -> None:
        methods = ExamplesServing(inference).methods()
        server = GrpcServer(methods, Watch(), GrpcSettings(LIMIT, 10), None)
        port = await server.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for method, request in sound.items():
                ask = channel.unary_unary(method.path)
                data = request.SerializeToString()
                for wrong in damaged(data, seed=len(method.name), rounds=ROUNDS):
                    assert await code_of(ask(wrong, timeout=20)) in CLEAN_CODES
            data = await channel.unary_unary(CLASSIFY.path)(classify.SerializeToString())
            answer = ClassificationResponse.FromString(data).result
            scores = [[c.score for c in row.classes] for row in answer.classifications]
            assert scores == [[1, 0], [0, 1]]
        await server.stop(1)

    with_inference(tmp_path, scene)


def test_damaged_rest_requests_have_clean_codes(tmp_path: Path) -> None:
    sound = json.dumps(
        {
            "signature_name": "regress",
            "context": {"unit": {"b64": "bQ=="}},
            "examples": [{"n": 1, "x": [0.5, -1e3]}, {"n": 2, "words": ["a", "b"]}],
        }
    ).encode()
    path = "/v1/models/lengths/versions/1:regress"

    async def scene(inference: Inference) -> None:
        routes = ExamplesRest(inference).routes()
        application = RestApplication(routes, Watch(), RestSettings(LIMIT, 10, 20.0))
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            for body in damaged(sound, seed=1, rounds=2 * ROUNDS):
                answer = await http.post(path, content=body)
                assert answer.status_code in CLEAN_STATUSES, answer.text
                assert (answer.status_code == 200) == ("results" in answer.json())
            assert (await http.post(path, content=sound)).json() == {"results": [1.0, 2.0]}

    with_inference(tmp_path, scene)
