"""A small model server of the tests: real gRPC over real TLS, the stock method names."""

from __future__ import annotations

import time
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
from sealserve.messages.inference_pb2 import (
    ClassificationRequest,
    ClassificationResponse,
    RegressionRequest,
    RegressionResponse,
)
from sealserve.messages.metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse
from sealserve.messages.services import (
    CLASSIFY,
    GET_MODEL_METADATA,
    GET_MODEL_STATUS,
    PREDICT,
    REGRESS,
)
from sealserve.messages.status_pb2 import GetModelStatusRequest, GetModelStatusResponse
from sealserve.messages.tensors import dtype_of, from_proto, to_proto
from sealserve.models.digits import export_digits
from served_site import Site, served

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
    """One server: where it listens, which predictions reached it, and from which connections.

    From number `fails_from` on, counted from 0, every prediction fails. The model `slow` takes
    `pause` seconds, for four requests at a time.
    """

    port: int = 0
    requests: list[PredictRequest] = field(default_factory=list)
    peers: set[str] = field(default_factory=set)
    fails_from: int | None = None
    pause: float = 1.0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class Behaviour:
    """The model `double`: twice its input; other names fail as a server would let them."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica

    def predict(self, request: PredictRequest, context: grpc.ServicerContext) -> PredictResponse:
        replica = self.replica
        replica.peers.add(context.peer())
        replica.requests.append(request)
        if replica.fails_from is not None and len(replica.requests) > replica.fails_from:
            context.abort(grpc.StatusCode.INTERNAL, "as asked")
        name = request.model_spec.name
        if name.startswith("fails-"):
            context.abort(grpc.StatusCode[name.removeprefix("fails-")], "as asked\x1b[31m")
        if name == "malformed":
            response = PredictResponse()
            response.outputs["predict"].dtype = 99
            return response
        if name == "slow":
            time.sleep(replica.pause)
        doubled = from_proto(request.inputs["input"], limit_bytes=1 << 24) * 2
        if name == "widen":
            doubled = doubled.astype(np.float64)
        response = PredictResponse(model_spec=request.model_spec)
        response.outputs["predict"].CopyFrom(to_proto(doubled))
        return response

    def classify(self, request: ClassificationRequest, context: object) -> ClassificationResponse:
        """A class of each label in the feature `label`."""
        response = ClassificationResponse()
        for example in request.input.example_list.examples:
            classes = response.result.classifications.add().classes
            for label in example.features.feature["label"].bytes_list.value:
                classes.add(label=label.decode(), score=0.5)
        if request.model_spec.name == "forgetful":
            del response.result.classifications[0]
        return response

    def regress(self, request: RegressionRequest, context: object) -> RegressionResponse:
        """The sum of the feature `x`."""
        response = RegressionResponse()
        for example in request.input.example_list.examples:
            x = example.features.feature["x"]
            numbers = [*x.float_list.value, *x.int64_list.value]
            response.result.regressions.add(value=sum(numbers))
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

    def status(
        self, request: GetModelStatusRequest, context: grpc.ServicerContext
    ) -> GetModelStatusResponse:
        if request.model_spec.name == "absent":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        response = GetModelStatusResponse()
        if request.model_spec.name == "loading":
            response.model_version_status.add(version=2, state="LOADING")
            return response
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
    """Start a server by its certificate (None: plaintext); `mutual` demands one of `client_ca`."""
    with ExitStack() as stack:

        def start(
            server: Pair | None = world.server,
            *,
            mutual: bool = True,
            client_ca: bytes = world.authority.certificate_pem,
        ) -> Replica:
            running = grpc.server(ThreadPoolExecutor(4))
            replica = Replica()
            _add_handlers(running, Behaviour(replica))
            if server is None:
                replica.port = running.add_insecure_port("127.0.0.1:0")
            else:
                credentials = grpc.ssl_server_credentials(
                    [(server.key_pem, server.certificate_pem)],
                    root_certificates=client_ca if mutual else None,
                    require_client_auth=mutual,
                )
                replica.port = running.add_secure_port("127.0.0.1:0", credentials)
            running.start()
            stack.callback(lambda: running.stop(None).wait())
            return replica

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


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`sealserve serve` with the digits model, over mutual TLS."""
    folder = tmp_path_factory.mktemp("site")
    export_digits(folder / "models")
    with served(folder, "--model_name=digits", "--model_base_path=models") as running:
        yield running


def _add_handlers(server: grpc.Server, behaviour: Behaviour) -> None:
    implemented = {
        PREDICT: behaviour.predict,
        CLASSIFY: behaviour.classify,
        REGRESS: behaviour.regress,
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
