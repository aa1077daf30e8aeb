"""Our client in one process with TensorFlow, against a server of TensorFlow Serving's own stubs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from sealserve.client import Client, predict_request
from sealserve.client.answers import as_dict
from sealserve.deploy.certificates import Validity, make_server

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

NAME = "models.example.com"
IMAGES = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(scope="module")
def stock() -> SimpleNamespace:
    """TensorFlow and the stock stubs, loaded after our own messages."""
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    pytest.importorskip("tensorflow_serving", reason="tensorflow-serving-api is not installed")
    apis = "tensorflow_serving.apis"
    return SimpleNamespace(
        tf=tensorflow,
        predict=importlib.import_module(f"{apis}.predict_pb2"),
        metadata=importlib.import_module(f"{apis}.get_model_metadata_pb2"),
        status=importlib.import_module(f"{apis}.get_model_status_pb2"),
        prediction_grpc=importlib.import_module(f"{apis}.prediction_service_pb2_grpc"),
        model_grpc=importlib.import_module(f"{apis}.model_service_pb2_grpc"),
    )


@pytest.fixture(scope="module")
def client(stock: SimpleNamespace) -> Iterator[Client]:
    """Our client, connected over TLS to a server that is TensorFlow's but for its model."""
    pair = make_server([NAME], Validity(datetime.now(UTC), 1), issuer=None)
    server = grpc.server(ThreadPoolExecutor(2))
    stock.prediction_grpc.add_PredictionServiceServicer_to_server(_prediction(stock), server)
    stock.model_grpc.add_ModelServiceServicer_to_server(_models(stock), server)
    credentials = grpc.ssl_server_credentials([(pair.key_pem, pair.certificate_pem)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    with Client(f"127.0.0.1:{port}", ca=pair.certificate_pem, server_name=NAME) as connected:
        yield connected
    server.stop(None).wait()


def _prediction(stock: SimpleNamespace) -> Any:
    class Prediction(stock.prediction_grpc.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:
            """Every input once as it came, once in the typed field that TensorFlow prefers."""
            response = stock.predict.PredictResponse(model_spec=request.model_spec)
            for name, tensor in request.inputs.items():
                array = stock.tf.make_ndarray(tensor)
                response.outputs[f"{name}_content"].CopyFrom(tensor)
                response.outputs[f"{name}_typed"].CopyFrom(
                    stock.tf.make_tensor_proto(array.tolist(), tensor.dtype, array.shape)
                )
            return response

        def GetModelMetadata(self, request: Any, context: Any) -> Any:
            signatures = stock.metadata.SignatureDefMap()
            image = signatures.signature_def["serving_default"].inputs["input"]
            image.dtype = stock.tf.float32.as_datatype_enum
            for size in (-1, 3):
                image.tensor_shape.dim.add(size=size)
            response = stock.metadata.GetModelMetadataResponse()
            response.metadata["signature_def"].Pack(signatures)
            return response

    return Prediction()


def _models(stock: SimpleNamespace) -> Any:
    class Models(stock.model_grpc.ModelServiceServicer):
        def GetModelStatus(self, request: Any, context: Any) -> Any:
            version = stock.status.ModelVersionStatus(version=4, state="AVAILABLE")
            return stock.status.GetModelStatusResponse(model_version_status=[version])

    return Models()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int64", "bool"])
def test_arrays_survive_the_way_through_tensorflows_own_messages(
    dtype: str, client: Client
) -> None:
    sent = IMAGES.astype(dtype)
    outputs = client.predict("any", {"input": sent}, version=4)
    for name in ("input_content", "input_typed"):
        assert outputs[name].dtype == sent.dtype
        assert np.array_equal(outputs[name], sent)


def test_strings_survive_the_way_through_tensorflows_own_messages(client: Client) -> None:
    sent = np.array([b"a", b"\xff\x00"], object)
    assert client.predict("any", {"input": sent})["input_content"].tolist() == sent.tolist()


def test_both_forms_of_an_answer_print_alike(client: Client) -> None:
    printed = as_dict(client.predict_message(predict_request("any", {"input": IMAGES})))
    assert printed["outputs"]["input_content"] == printed["outputs"]["input_typed"]


def test_metadata_and_status_of_the_stock_messages_are_read(client: Client) -> None:
    assert client.metadata("any")["serving_default"].inputs["input"].shape == (None, 3)
    assert [(entry.version, entry.state) for entry in client.status("any")] == [(4, "AVAILABLE")]
