"""Triton's clients, gRPC and HTTP, unchanged, against the Open Inference Protocol over mutual TLS.

Each has a process of its own: the HTTP client brings an event loop of another kind (gevent). Its
gRPC client runs on the gRPC and protobuf that are here: what its own extra asks for is older.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.messages import open_inference_pb2
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.tensor_pb2 import DT_STRING
from sealserve.models.digits import export_digits, held_out
from sealserve.models.graph import shape_proto
from sealserve.models.saved_model import make_saved_model, tensor_info
from served_site import PATIENCE, Site, served

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

SAMPLE = held_out()[0][:20]
METADATA = {
    "name": "digits",
    "versions": ["1"],
    "platform": "tensorflow_savedmodel",
    "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 8, 8, 1]}],
    "outputs": [{"name": "predict", "datatype": "FP32", "shape": [-1, 10]}],
}

GRPC_CLIENT = """
import json, sys, numpy
import tritonclient.grpc as triton
url, ca, certificate, key = sys.argv[1:]
client = triton.InferenceServerClient(
    url, ssl=True, root_certificates=ca, private_key=key, certificate_chain=certificate
)
as_json = {"as_json": True}
"""
HTTP_CLIENT = """
import json, ssl, sys, numpy
import tritonclient.http as triton
url, ca, certificate, key = sys.argv[1:]
def context():
    made = ssl.create_default_context(cafile=ca)
    made.load_cert_chain(certificate, key)
    return made
client = triton.InferenceServerClient(url, ssl=True, ssl_context_factory=context)
as_json = {}
"""
ASK = """
def given(form):
    tensor = triton.InferInput("input", sample.shape, "FP32")
    tensor.set_data_from_numpy(sample, **form)
    return [tensor]
def asked(name, form):
    return [triton.InferRequestedOutput(name, **form)]
def refusal(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except triton.InferenceServerException as error:
        return [error.status(), error.message()]
sample = numpy.array(json.load(sys.stdin), numpy.float32)
forms = [{"binary_data": True}, {"binary_data": False}] if "http" in triton.__name__ else [{}]
answers = [client.infer("digits", given(form)) for form in forms]
answers += [
    client.infer("digits", given(form), model_version="1", outputs=asked("predict", form),
                 request_id="seven", parameters={"signature_name": "serving_default"})
    for form in forms
]
compressed = {"request_compression_algorithm": "gzip"} if "http" in triton.__name__ else {}
json.dump({
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "models": [client.is_model_ready(*which) for which in (("digits",), ("digits", "1"),
                                                           ("digits", "2"), ("other",))],
    "server": client.get_server_metadata(**as_json),
    "model": client.get_model_metadata("digits", **as_json),
    "answers": [answer.as_numpy("predict").tolist() for answer in answers],
    "id": answers[-1].get_response(**as_json)["id"],
    "no such model": refusal(client.infer, "other", given(forms[0])),
    "no such output": refusal(client.infer, "digits", given({}), outputs=asked("other", {})),
    "a sequence": refusal(client.infer, "digits", given({}), sequence_id=1),
    "compressed": refusal(client.infer, "digits", given({}), **compressed),
    "classes": refusal(
        client.infer, "digits", given({}), outputs=asked("predict", {"class_count": 1})
    ),
}, sys.stdout)
client.close()
"""
IDENTITY = """
import json, sys
from tritonclient.grpc import service_pb2
names = json.load(sys.stdin)
types = service_pb2.DESCRIPTOR.message_types_by_name
service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
json.dump({
    "service": service.full_name,
    "methods": [method.name for method in service.methods],
    "messages": {name: described(types[name]) for name in names},
}, sys.stdout)
"""


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


def run(script: str, given: Any, *arguments: str) -> dict[str, Any]:
    pytest.importorskip("tritonclient", reason="tritonclient is not installed")
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def ask(script: str, site: Site, address: str) -> dict[str, Any]:
    files = ("ca_cert.pem", "client/cert.pem", "client/key.pem")
    paths = [str(site.folder / "tls" / name) for name in files]
    return run(script + ASK, SAMPLE.tolist(), address, *paths)


def check(found: dict[str, Any], ours: np.ndarray) -> None:
    assert (found["live"], found["ready"]) == (True, True)
    assert found["models"] == [True, True, False, False]
    assert found["server"]["name"] == "sealserve"
    assert found["server"]["extensions"] == ["binary_tensor_data"]
    assert found["id"] == "seven"
    for answer in found["answers"]:
        assert np.array_equal(np.array(answer, np.float32), ours)


def test_tritons_grpc_client_gets_our_clients_answer(site: Site, ours: np.ndarray) -> None:
    found = ask(GRPC_CLIENT, site, site.grpc)
    check(found, ours)
    for tensor in (*found["model"]["inputs"], *found["model"]["outputs"]):
        tensor["shape"] = list(map(int, tensor["shape"]))  # it tells them as JSON's int64: strings
    assert found["model"] == METADATA
    assert found["no such model"][0] == "StatusCode.NOT_FOUND"
    assert found["no such output"][0] == "StatusCode.INVALID_ARGUMENT"
    assert found["a sequence"][0] == found["classes"][0] == "StatusCode.UNIMPLEMENTED"


def test_tritons_http_client_gets_our_clients_answer(site: Site, ours: np.ndarray) -> None:
    found = ask(HTTP_CLIENT, site, site.rest)
    check(found, ours)
    engine = found["model"].pop("properties")["engine"]
    assert engine.startswith("OpenVINO ")
    assert found["model"] == METADATA
    assert found["no such model"] == ["404", "Servable not found for request: Latest(other)"]
    assert found["no such output"][0] == "400"
    assert found["a sequence"][0] == found["classes"][0] == "501"
    assert found["compressed"][0] == "415"


def described(message: Any) -> dict[str, Any]:
    return {
        "fields": {
            f.name: [f.number, f.type, f.is_repeated, f.message_type and f.message_type.name]
            for f in message.fields
        },
        "nested": {
            n.name: described(n) for n in message.nested_types if not n.GetOptions().map_entry
        },
    }


def test_our_messages_have_the_names_and_numbers_of_tritons() -> None:
    ours = {
        name: described(message)
        for name, message in open_inference_pb2.DESCRIPTOR.message_types_by_name.items()
    }
    theirs = run("from typing import Any\n" + inspect.getsource(described) + IDENTITY, list(ours))
    assert theirs["service"] == "inference.GRPCInferenceService"
    # KServe's own field: Triton's message is without it.
    assert ours["ModelMetadataResponse"]["fields"].pop("properties")[0] == 6
    assert ours == theirs["messages"]


UPPER = """
sample = numpy.array([text.encode() for text in json.load(sys.stdin)], object)
def given(form):
    tensor = triton.InferInput("text", sample.shape, "BYTES")
    tensor.set_data_from_numpy(sample, **form)
    return [tensor]
forms = [{"binary_data": True}, {"binary_data": False}] if "http" in triton.__name__ else [{}]
answers = []
for form in forms:
    outputs = [triton.InferRequestedOutput("upper", **form)]
    found = client.infer("texts", given(form), outputs=outputs).as_numpy("upper").tolist()
    answers.append([t.decode() if isinstance(t, bytes) else t for t in found])
json.dump({"answers": answers}, sys.stdout)
client.close()
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A model of strings, which TensorFlow alone computes."""
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    graph = GraphDef()
    graph.versions.producer = 1882
    node = graph.node.add(name="text", op="Placeholder")
    node.attr["dtype"].type = DT_STRING
    node.attr["shape"].shape.CopyFrom(shape_proto((None,)))
    graph.node.add(name="upper", op="StringUpper", input=["text"]).attr["encoding"].s = b"utf-8"
    model = make_saved_model(
        graph,
        inputs={"text": tensor_info("text:0", DT_STRING, (None,))},
        outputs={"upper": tensor_info("upper:0", DT_STRING, (None,))},
    )
    folder = tmp_path_factory.mktemp("texts")
    (folder / "texts" / "1").mkdir(parents=True)
    (folder / "texts" / "1" / "saved_model.pb").write_bytes(model.SerializeToString())
    flags = ("--engine=tensorflow", "--model_name=texts", "--model_base_path=texts")
    with served(folder, *flags) as site:
        yield site


@pytest.mark.parametrize("client", [GRPC_CLIENT, HTTP_CLIENT], ids=["grpc", "http"])
def test_tritons_clients_send_and_get_bytes(texts: Site, client: str) -> None:
    files = ("ca_cert.pem", "client/cert.pem", "client/key.pem")
    paths = [str(texts.folder / "tls" / name) for name in files]
    address = texts.grpc if client is GRPC_CLIENT else texts.rest
    found = run(client + UPPER, ["äö", "", "a" * 300], address, *paths)
    assert found["answers"]
    assert all(answer == ["ÄÖ", "", "A" * 300] for answer in found["answers"])
