"""A large model that was unloaded gives its memory back, time after time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.tensors import to_proto
from sealserve.models.graph import shape_proto
from sealserve.models.saved_model import make_saved_model, tensor_info

FLOAT = tensor_pb2.DT_FLOAT
SIDE, LAYERS = 1_000, 25  # 100 MB of weights, in pieces that glibc would keep on its heap
ROUNDS = 4

# In a process of its own: what the tests before have left would blur the numbers.
PROGRAM = """
import asyncio, pathlib, sys
import numpy as np
from sealserve.serving.running.batching import BatchSettings
from sealserve.serving.calls import Call
from sealserve.serving.capacity import plan
from sealserve.serving.dataplane import DataPlane, ModelQuery
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.life.lifecycle import ModelManager, Pace
from sealserve.serving.life.versions import END
from sealserve.serving.life.models import ModelSettings
from sealserve.serving.life.servable import Loader
from sealserve.serving.opening.vault import Vault
from sealserve.serving.life.warmup import WarmUp

def resident():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) >> 10

async def main(base, side, rounds, batching):
    loader = Loader(OpenVinoEngine(plan(2)), Vault(None), ["serve"], WarmUp())
    manager = ModelManager(loader, Pace(poll=0))
    plane = DataPlane(manager, concurrency=1, batching=batching)
    await manager.start([])
    first = 0
    async def decode(signature):
        return {"x": np.ones((1, side), "f4")}
    for _ in range(rounds):
        await manager.reload([ModelSettings("large", base)])
        await plane.predict(ModelQuery("large"), decode, Call("Predict", "GRPC"))
        loaded = resident()
        record = manager.versions("large")[1]
        await manager.reload([])
        while record.state != END:
            await asyncio.sleep(0.01)
        for _ in range(100):  # 10 s, for threads that end after the version has
            after = resident()
            if loaded - after > 250 and (not first or after < first + 30):
                break
            await asyncio.sleep(0.1)
        first = first or after
        print(loaded, after, flush=True)
    plane.close()
    await manager.close()

batching = BatchSettings() if sys.argv[4] == "batching" else None
asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), batching))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base folder of a model that multiplies by 100 MB of random weights, layer by layer."""
    graph = GraphDef()
    graph.versions.producer = 1882
    node = graph.node.add(name="x", op="Placeholder")
    node.attr["dtype"].type = FLOAT
    node.attr["shape"].shape.CopyFrom(shape_proto((None, SIDE)))
    random, last = np.random.default_rng(1), "x"
    for layer in range(LAYERS):
        node = graph.node.add(name=f"weights{layer}", op="Const")
        node.attr["value"].tensor.CopyFrom(to_proto(random.random((SIDE, SIDE), np.float32)))
        node.attr["dtype"].type = FLOAT
        product = graph.node.add(name=f"y{layer}", op="MatMul", input=[last, node.name])
        product.attr["T"].type = FLOAT
        last = product.name
    model = make_saved_model(
        graph,
        inputs={"x": tensor_info("x:0", FLOAT, (None, SIDE))},
        outputs={"y": tensor_info(f"{last}:0", FLOAT, (None, SIDE))},
    )
    base = tmp_path_factory.mktemp("large")
    (base / "1").mkdir()
    (base / "1" / "saved_model.pb").write_bytes(model.SerializeToString())
    return base


@pytest.mark.parametrize("batching", ["alone", "batching"])
def test_an_unloaded_models_memory_comes_back(large: Path, batching: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(large), str(SIDE), str(ROUNDS), batching]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    told = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(told) == ROUNDS
    assert all(loaded - after > 250 for loaded, after in told), told  # MB, of about 290
    first, *others = [after for _, after in told]
    assert all(after < first + 30 for after in others), told  # and nothing adds up
