"""What one large request costs the server in memory, beside a server that parses it and no more."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.services import PREDICT
from sealserve.messages.tensors import to_proto
from sealserve.messages.wire import Spec, decode_predict_response, encode_predict_request
from sealserve.models.graph import shape_proto
from sealserve.models.saved_model import make_saved_model, tensor_info
from served_site import Site, served

FLOAT = tensor_pb2.DT_FLOAT
PAYLOAD = 150 << 20
PATIENCE = 60.0

PARSING = """
import asyncio, sys
import grpc, grpc.aio
from pathlib import Path
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse
from sealserve.messages.services import PREDICT
from sealserve.serving.textconfig import parse_tls
from sealserve.serving.tls import grpc_credentials

async def behaviour(data, _context):
    message = PredictRequest.FromString(data)
    assert message.inputs["x"].dtype
    return PredictResponse().SerializeToString()

async def main():
    method = grpc.unary_unary_rpc_method_handler(behaviour)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(PREDICT.service, {PREDICT.name: method}),)
    )
    tls = parse_tls(Path("tls/ssl.cfg").read_bytes(), "ssl.cfg")
    print(server.add_secure_port("127.0.0.1:0", grpc_credentials(tls)), flush=True)
    await server.start()
    await server.wait_for_termination()

asyncio.run(main())
"""


def summing_model() -> bytes:
    """`sum` over all of x, float32 [n,2]."""
    graph = GraphDef()
    graph.versions.producer = 1882
    node = graph.node.add(name="x", op="Placeholder")
    node.attr["dtype"].type = FLOAT
    node.attr["shape"].shape.CopyFrom(shape_proto((None, 2)))
    node = graph.node.add(name="axes", op="Const")
    node.attr["value"].tensor.CopyFrom(to_proto(np.int32([0, 1])))
    node.attr["dtype"].type = tensor_pb2.DT_INT32
    node = graph.node.add(name="sum", op="Sum", input=["x", "axes"])
    node.attr["T"].type = FLOAT
    node.attr["Tidx"].type = tensor_pb2.DT_INT32
    inputs = {"x": tensor_info("x:0", FLOAT, (None, 2))}
    outputs = {"sum": tensor_info("sum:0", FLOAT, ())}
    return make_saved_model(graph, inputs=inputs, outputs=outputs).SerializeToString()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "models" / "1"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(summing_model())
    flags = ("--model_name=sum", f"--model_base_path={tmp_path / 'models'}")
    with served(tmp_path, *flags, f"--max_request_bytes={2 * PAYLOAD}") as site:
        yield site


@contextmanager
def parsing_server(folder: Path) -> Iterator[tuple[int, int]]:
    """Its process and its port."""
    command = [sys.executable, "-c", PARSING]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def ask(site: Site, target: str, request: bytes) -> bytes:
    credentials = grpc.ssl_channel_credentials(
        site.pem("ca_cert.pem"), site.pem("client/key.pem"), site.pem("client/cert.pem")
    )
    with grpc.secure_channel(target, credentials) as channel:
        answer: bytes = channel.unary_unary(PREDICT.path)(request, timeout=PATIENCE)
    return answer


def memory(pid: int, kind: str) -> int:
    found = re.search(rf"^{kind}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found is not None
    return int(found[1]) << 10


def resting(site: Site, target: str, pid: int) -> int:
    """The memory of a process after a small request, before which all others have ended."""
    ask(site, target, encode_predict_request(Spec("sum"), {"x": np.ones((1, 2), np.float32)}))
    return memory(pid, "VmRSS")


def growth(site: Site, target: str, pid: int, request: bytes) -> tuple[float, bytes]:
    """How far the process's memory went up for this request, in payloads; and the answer."""
    before = resting(site, target, pid)
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): begins the peak anew
    answer = ask(site, target, request)
    return (memory(pid, "VmHWM") - before) / PAYLOAD, answer


def test_a_large_request_is_copied_once_more_than_protobuf_does_at_most(site: Site) -> None:
    request = encode_predict_request(Spec("sum"), {"x": np.ones((PAYLOAD // 8, 2), np.float32)})
    with parsing_server(site.folder) as (pid, port):
        parsing, _ = growth(site, f"localhost:{port}", pid, request)
    ours, answer = growth(site, site.grpc, site.process.pid, request)
    _, outputs = decode_predict_response(answer, limit_bytes=1024)
    assert outputs["sum"] == PAYLOAD // 4
    assert parsing > 1.9  # the bytes, and what was made of them
    assert ours < parsing + 1.1


def test_the_memory_of_large_requests_is_given_back(site: Site) -> None:
    request = encode_predict_request(Spec("sum"), {"x": np.ones((PAYLOAD // 8, 2), np.float32)})
    before = resting(site, site.grpc, site.process.pid)
    for _ in range(3):
        ask(site, site.grpc, request)
    assert resting(site, site.grpc, site.process.pid) < before + PAYLOAD
