"""What a large request and a large answer cost in memory, beside their own size.

Ours is one copy of each array, into the request, and none of an answer. gRPC for Python (1.85)
makes one of the request, for its core, and holds an answer three times for a moment: as it came,
put together in a bytearray, and as the bytes that it hands out, which the arrays are views of. The
client is a process of its own, so that the peak is its own; the server is in this one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from sealserve.messages.services import PREDICT
from sealserve.messages.wire import Spec, decode_predict_request, encode_predict_response

BYTES = 150_000_000

PROGRAM = """
import sys, numpy as np
from sealserve.client import Client

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

target, model, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
array = np.ones(size // 4 if model == "swallow" else 1, np.float32)
client = Client(target, dangerously_plaintext=True)
client.predict("swallow", {"input": array[:1]})
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")  # proc(5): the peak begins anew
before = status("VmRSS")
outputs = client.predict(model, {"input": array})
assert outputs["output"].nbytes == (size if model == "give" else 4)
print((status("VmHWM") - before) / size)
"""


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """A server of two models: `swallow` answers little to much, `give` much to little."""
    answers = {
        "swallow": encode_predict_response(Spec("swallow"), {"output": np.ones(1, np.float32)}),
        "give": encode_predict_response(Spec("give"), {"output": np.ones(BYTES // 4, np.float32)}),
    }

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        return answers[decode_predict_request(request).spec.name]

    unlimited = ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)
    server = grpc.server(ThreadPoolExecutor(1), options=unlimited)
    handlers = {PREDICT.name: grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(PREDICT.service, handlers)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("model", "times"),
    [pytest.param("swallow", 2, id="ours and gRPC's"), pytest.param("give", 3, id="gRPC's")],
)
def test_a_large_array_takes_no_memory_but_these_copies(
    model: str, times: int, target: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, target, model, str(BYTES)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) < times + 0.4
