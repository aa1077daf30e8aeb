"""Other people's clients against `sealserve serve`, unchanged, over mutual TLS.

`tensorflow-serving-api` lives in this process, beside our own client. `ovmsclient` brings its own
copy of the messages under TensorFlow's names, so it has a process of its own; its REST client
knows no TLS, so a relay on loopback speaks it for it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from sealserve.models.digits import export_digits, held_out
from sealserve.models.saved_model import write_saved_model
from sealserve.models.synth import resnet50, resnet50_model
from served_site import PATIENCE, Site, served

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

SAMPLE = held_out()[0][:20]
SEED_FLAGS = (  # what the published start script passes beside model, port and TLS
    *("--enable_model_warmup=true", "--flush_filesystem_caches=false", "--enable_batching=false"),
    *("--tensorflow_session_parallelism=0", "--tensorflow_intra_op_parallelism=2"),
    *("--tensorflow_inter_op_parallelism=2", "--file_system_poll_wait_seconds=5"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    export_digits(folder / "models" / "digits")
    with served(folder, "--model_name=digits", "--model_base_path=models/digits") as site:
        yield site


@pytest.fixture(scope="module")
def ours(site: Site) -> np.ndarray:
    """What our own client is answered."""
    with site.client() as client:
        return client.predict("digits", {"input": SAMPLE})["predict"]


@pytest.fixture(scope="module")
def stock() -> SimpleNamespace:
    """TensorFlow and its stubs, in the process that has our messages."""
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    pytest.importorskip("tensorflow_serving", reason="tensorflow-serving-api is not installed")
    names = ("predict_pb2", "get_model_metadata_pb2", "get_model_status_pb2")
    names += ("prediction_service_pb2_grpc", "model_service_pb2_grpc")
    apis = {name: importlib.import_module(f"tensorflow_serving.apis.{name}") for name in names}
    return SimpleNamespace(tf=tensorflow, **apis)


@pytest.fixture
def channel(site: Site) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials(
        site.pem("ca_cert.pem"), site.pem("client/key.pem"), site.pem("client/cert.pem")
    )
    with grpc.secure_channel(site.grpc, credentials) as channel:
        yield channel


def test_the_request_of_the_published_benchmark_is_answered_in_its_form(
    stock: SimpleNamespace, tmp_path: Path
) -> None:
    write_saved_model(resnet50_model(resnet50(width=8)), tmp_path / "models", 1)
    image = np.random.default_rng(0).random((1, 224, 224, 3), np.float32)
    flags = (
        "--model_name=resnet50-v15-fp32",
        "--model_base_path=models",
        "--enable_batching=false",
    )
    with served(tmp_path, *flags, *SEED_FLAGS) as site:
        credentials = grpc.ssl_channel_credentials(
            site.pem("ca_cert.pem"), site.pem("client/key.pem"), site.pem("client/cert.pem")
        )
        with grpc.secure_channel(site.grpc, credentials) as channel:
            stub = stock.prediction_service_pb2_grpc.PredictionServiceStub(channel)
            request = stock.predict_pb2.PredictRequest()
            request.model_spec.name = "resnet50-v15-fp32"
            request.model_spec.signature_name = "serving_default"
            request.inputs["input"].CopyFrom(
                stock.tf.make_tensor_proto(image, shape=[1, 224, 224, 3])
            )
            response = stub.Predict(request, PATIENCE)
    json_format = importlib.import_module("google.protobuf.json_format")
    printed = str(json_format.MessageToDict(response))
    assert printed.startswith("{'outputs': {'predict': {'dtype': 'DT_FLOAT', 'tensorShape':")
    assert stock.tf.make_ndarray(response.outputs["predict"]).shape == (1, 1001)


def test_the_stock_stub_gets_our_clients_answer_in_the_guides_form(
    stock: SimpleNamespace, channel: grpc.Channel, ours: np.ndarray
) -> None:
    request = stock.predict_pb2.PredictRequest()
    request.model_spec.name = "digits"
    request.model_spec.signature_name = "serving_default"
    request.inputs["input"].CopyFrom(stock.tf.make_tensor_proto(SAMPLE, shape=SAMPLE.shape))
    stub = stock.prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, PATIENCE)
    assert np.array_equal(stock.tf.make_ndarray(response.outputs["predict"]), ours)
    json_format = importlib.import_module("google.protobuf.json_format")
    printed = str(json_format.MessageToDict(response))
    assert printed.startswith("{'outputs': {'predict': {'dtype': 'DT_FLOAT', 'tensorShape':")


def test_the_stock_stubs_read_metadata_and_status(
    stock: SimpleNamespace, channel: grpc.Channel
) -> None:
    asked = stock.get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "digits"
    stub = stock.prediction_service_pb2_grpc.PredictionServiceStub(channel)
    packed = stub.GetModelMetadata(asked, PATIENCE).metadata["signature_def"]
    signatures = stock.get_model_metadata_pb2.SignatureDefMap()
    assert packed.Unpack(signatures)
    assert set(signatures.signature_def["serving_default"].inputs) == {"input"}
    wanted = stock.get_model_status_pb2.GetModelStatusRequest()
    wanted.model_spec.name = "digits"
    models = stock.model_service_pb2_grpc.ModelServiceStub(channel)
    (version,) = models.GetModelStatus(wanted, PATIENCE).model_version_status
    assert version.state == stock.get_model_status_pb2.ModelVersionStatus.AVAILABLE


def test_tensorflow_itself_computes_the_same(
    stock: SimpleNamespace, site: Site, ours: np.ndarray
) -> None:
    loaded = stock.tf.saved_model.load(str(site.folder / "models" / "digits" / "1"))
    theirs = loaded.signatures["serving_default"](input=stock.tf.constant(SAMPLE))["predict"]
    assert np.allclose(theirs.numpy(), ours, atol=1e-6)
    assert np.array_equal(theirs.numpy().argmax(axis=1), ours.argmax(axis=1))


GRPC_SCRIPT = """
import json, sys, numpy, ovmsclient
url, ca, certificate, key = sys.argv[1:]
tls = {"server_cert_path": ca, "client_cert_path": certificate, "client_key_path": key}
client = ovmsclient.make_grpc_client(url, tls_config=tls)
"""
REST_SCRIPT = """
import json, sys, numpy, ovmsclient
client = ovmsclient.make_http_client(sys.argv[1])
"""
ASK = """
sample = numpy.array(json.load(sys.stdin), numpy.float32)
for version in (0, 1):
    answer = client.predict({"input": sample}, "digits", version)
status = client.get_model_status("digits")
metadata = client.get_model_metadata("digits")
json.dump({"answer": answer.tolist(), "status": status, "metadata": metadata}, sys.stdout)
"""


def ask_ovmsclient(script: str, *arguments: str) -> dict[str, Any]:
    pytest.importorskip("ovmsclient", reason="ovmsclient is not installed")
    done = subprocess.run(
        [sys.executable, "-c", script + ASK, *arguments],
        input=json.dumps(SAMPLE.tolist()),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def check(found: dict[str, Any], ours: np.ndarray) -> None:
    assert np.array_equal(np.array(found["answer"], np.float32), ours)
    assert found["status"]["1"]["state"] == "AVAILABLE"


def test_ovmsclient_gets_our_clients_answer_over_grpc(site: Site, ours: np.ndarray) -> None:
    files = ("ca_cert.pem", "client/cert.pem", "client/key.pem")
    paths = [str(site.folder / "tls" / name) for name in files]
    found = ask_ovmsclient(GRPC_SCRIPT, site.grpc, *paths)
    check(found, ours)
    assert found["metadata"]["inputs"]["input"]["shape"] == [-1, 8, 8, 1]


@pytest.fixture
def relay(site: Site) -> Iterator[str]:
    """A plaintext address on loopback whose connections reach the REST port over mutual TLS."""
    context = ssl.create_default_context(cafile=site.folder / "tls" / "ca_cert.pem")
    context.load_cert_chain(
        site.folder / "tls" / "client" / "cert.pem", site.folder / "tls" / "client" / "key.pem"
    )
    host, _, port = site.rest.partition(":")
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, int(port), ssl=context)
        await asyncio.gather(pump(reader, to_server), pump(from_server, writer))

    server = loop.run_until_complete(asyncio.start_server(connect, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE)
    loop.close()


def test_ovmsclient_gets_our_clients_answer_over_rest(relay: str, ours: np.ndarray) -> None:
    found = ask_ovmsclient(REST_SCRIPT, relay)
    check(found, ours)
    assert found["metadata"]["model_spec"] == {
        "name": "digits",
        "signature_name": "",
        "version": "1",
    }
