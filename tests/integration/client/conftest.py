"""A small model server of the tests: real gRPC over real TLS, the stock method names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest

from sealserve.deploy.certificates import Pair, Validity, make_authority, make_client, make_server
from sealserve.messages import SIGNATURE_DEF_MAP_TYPE_URL
from sealserve.messages.metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse
from sealserve.messages.services import GET_MODEL_METADATA, GET_MODEL_STATUS, PREDICT
from sealserve.messages.status_pb2 import GetModelStatusResponse
from sealserve.messages.tensors import dtype_of, from_proto, to_proto

NAME = "models.example.com"
DAY = timedelta(days=1)


@dataclass(frozen=True)
class World:
    """A CA and what it signed; `stranger` is another CA with a client of its own."""

    authority: Pair
    server: Pair
    client: Pair
    expired_server: Pair
    expired_client: Pair
    stranger: Pair
    stranger_client: Pair


@dataclass
class Replica:
    """One server: where it listens and which requests reached it."""

    port: int
    requests: list[PredictRequest] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class Behaviour:
    """The model `double`: twice its input; other names fail as a server would let them."""

    def __init__(self, requests: list[PredictRequest]) -> None:
        self.requests = requests

    def predict(self, request: PredictRequest, context: grpc.ServicerContext) -> PredictResponse:
        self.requests.append(request)
        name = request.model_spec.name
        if name.startswith("fails-"):
            context.abort(grpc.StatusCode[name.removeprefix("fails-")], "as asked\x1b[31m")
        if name == "malformed":
            response = PredictResponse()
            response.outputs["predict"].dtype = 99
            return response
        if name == "slow":
            context.add_callback(lambda: None)
            import time

            time.sleep(1.0)
        doubled = from_proto(request.inputs["input"], limit_bytes=1 << 24) * 2
        response = PredictResponse(model_spec=request.model_spec)
        response.outputs["predict"].CopyFrom(to_proto(doubled))
        return response

    def metadata(self, request: object, context: object) -> GetModelMetadataResponse:
        signatures = SignatureDefMap()
        definition = signatures.signature_def["serving_default"]
        definition.method_name = "tensorflow/serving/predict"
        for tensors, name in ((definition.inputs, "input"), (definition.outputs, "predict")):
            tensors[name].dtype = dtype_of(np.float32)
            for size in (-1, 4, 4, 1):
                tensors[name].tensor_shape.dim.add(size=size)
        response = GetModelMetadataResponse()
        response.metadata["signature_def"].type_url = SIGNATURE_DEF_MAP_TYPE_URL
        response.metadata["signature_def"].value = signatures.SerializeToString()
        return response

    def status(self, request: object, context: object) -> GetModelStatusResponse:
        response = GetModelStatusResponse()
        response.model_version_status.add(version=2, state="AVAILABLE")
        broken = response.model_version_status.add(version=3, state="END")
        broken.status.error_code = 5
        broken.status.error_message = "no such file"
        return response


StartReplica = Callable[..., Replica]


@pytest.fixture(scope="session")
def world() -> World:
    now = datetime.now(UTC).replace(microsecond=0)
    valid, past = Validity(now, 1), Validity(now - 10 * DAY, 1)
    authority, stranger = make_authority(valid), make_authority(valid)
    return World(
        authority=authority,
        server=make_server([NAME, "localhost"], valid, issuer=authority),
        client=make_client("client", valid, issuer=authority),
        expired_server=make_server([NAME], past, issuer=authority),
        expired_client=make_client("client", past, issuer=authority),
        stranger=stranger,
        stranger_client=make_client("stranger", valid, issuer=stranger),
    )


@pytest.fixture
def start_replica(world: World) -> Iterator[StartReplica]:
    """Start a server: `server` is its certificate (None: plaintext), `mutual` its demand."""
    with ExitStack() as stack:

        def start(server: Pair | None = world.server, *, mutual: bool = True) -> Replica:
            running = grpc.server(ThreadPoolExecutor(4))
            requests: list[PredictRequest] = []
            _add_handlers(running, Behaviour(requests))
            if server is None:
                port = running.add_insecure_port("127.0.0.1:0")
            else:
                port = running.add_secure_port("127.0.0.1:0", _credentials(world, server, mutual))
            running.start()
            stack.callback(lambda: running.stop(None).wait())
            return Replica(port, requests)

        yield start


@pytest.fixture
def client_files(world: World, tmp_path: Path) -> dict[str, Path]:
    """ca, certificate and private_key of the right client, as files."""
    files = {
        "ca": (world.authority.certificate_pem, 0o644),
        "certificate": (world.client.certificate_pem, 0o644),
        "private_key": (world.client.key_pem, 0o600),
    }
    paths = {}
    for name, (content, mode) in files.items():
        paths[name] = tmp_path / f"{name}.pem"
        paths[name].write_bytes(content)
        paths[name].chmod(mode)
    return paths


def _credentials(world: World, server: Pair, mutual: bool) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(server.key_pem, server.certificate_pem)],
        root_certificates=world.authority.certificate_pem if mutual else None,
        require_client_auth=mutual,
    )


def _add_handlers(server: grpc.Server, behaviour: Behaviour) -> None:
    implemented = {
        PREDICT: behaviour.predict,
        GET_MODEL_METADATA: behaviour.metadata,
        GET_MODEL_STATUS: behaviour.status,
    }
    for method, function in implemented.items():
        handler = grpc.unary_unary_rpc_method_handler(
            function, method.request.FromString, method.response.SerializeToString
        )
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(method.service, {method.name: handler})]
        )
