"""What every part of the serving benchmark stands on: models, TLS, keys, servers of ours.

Servers are `sealserve serve` as it is started everywhere, each with a folder of its own for its
log, on loopback. Nothing here is anybody's secret.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench._process import TICKS, Server, command
from bench._serving_load import Http, Predict
from bench.measure import Result
from sealserve.client import predict_request
from sealserve.deploy.certificates import Validity
from sealserve.deploy.tls_folder import write_twoway
from sealserve.messages import tensor_pb2
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.models.graph import GraphBuilder
from sealserve.models.saved_model import make_saved_model, tensor_info, write_saved_model
from sealserve.models.synth import RESNET50, resnet50, resnet50_model

RESNET, TWICE, MEAN = RESNET50, "twice", "mean"
INPUT, OUTPUT = "input", "predict"
COLUMNS, NUMBERS = 1024, 64
Shape = Sequence[int | None]
UNSEALED, PLAINTEXT = "--dangerously_serve_unsealed_models", "--dangerously_serve_plaintext"


@dataclass(frozen=True)
class Ours:
    """A server of ours that runs, and how a client reaches it."""

    server: Server
    grpc: Predict
    rest: Http | None

    @property
    def pid(self) -> int:
        return self.server.pid


@dataclass(frozen=True)
class Site:
    """The folder of a run; it can be pickled."""

    folder: Path

    @property
    def tls(self) -> Path:
        """Certificates of the server and of a client, and ssl.cfg."""
        return self.folder / "tls"

    def model(self, name: str) -> Path:
        """The base folder of a model."""
        return self.folder / "models" / name

    def body(self, name: str) -> Path:
        """The file with the bytes of a request."""
        return self.folder / "bodies" / name

    @contextmanager
    def serve(
        self, model: str, *flags: str, tls: bool = True, rest: bool = False
    ) -> Iterator[Ours]:
        """Ours with one model, over mutual TLS unless told otherwise."""
        rest_port = free_ports(1)[0] if rest else None
        words = [
            *("serve", "--host=127.0.0.1", "--port=0", f"--model_name={model}"),
            *(f"--model_base_path={self.model(model)}", UNSEALED, *flags),
            f"--ssl_config_file={self.tls / 'ssl.cfg'}" if tls else PLAINTEXT,
            *([] if rest_port is None else [f"--rest_api_port={rest_port}"]),
        ]
        folder = Path(self.folder, f"serve-{len(list(self.folder.glob('serve-*')))}")
        folder.mkdir()
        with command(*words, folder=folder) as server:
            used = self.tls if tls else None
            path = f"/v1/models/{model}:predict"
            yield Ours(
                server,
                Predict(server.port, used),
                None if rest_port is None else Http(rest_port, path, tls=used),
            )


def make_site(folder: Path) -> Site:
    """Everything but servers, in an empty folder."""
    site = Site(folder)
    write_twoway(site.tls, ["localhost"], "client", Validity(datetime.now(UTC), 1))
    write_saved_model(resnet50_model(resnet50(0)), site.model(RESNET), 1)
    write_saved_model(_twice_model(), site.model(TWICE), 1)
    write_saved_model(_mean_model(), site.model(MEAN), 1)
    (folder / "bodies").mkdir()
    for name, array in ((RESNET, resnet_image()), (TWICE, small_input())):
        request = predict_request(name, {INPUT: array})
        site.body(name).write_bytes(request.SerializeToString())
    return site


def resnet_image() -> np.ndarray:
    """The image of all requests to ResNet-50, float32 [1,224,224,3]."""
    return np.random.default_rng(0).random((1, 224, 224, 3), np.float32)


def small_input() -> np.ndarray:
    """The input of all small requests, float32 [1,64]."""
    return np.random.default_rng(0).random((1, NUMBERS), np.float32)


def large_input(size: int) -> np.ndarray:
    """An input of the model `mean` with about `size` bytes, float32 [n,1024]."""
    return np.ones((size // COLUMNS // 4, COLUMNS), np.float32)


def run_command(*words: str, folder: Path) -> str:
    """What a `sealserve` command prints, run in `folder`; RuntimeError with its log if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "sealserve", *words], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"sealserve {' '.join(words[:2])}: {done.stderr[-2000:]}")
    return done.stdout


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def started_stages(log: Path) -> dict[str, float]:
    """The seconds of each stage in the event `started` of a server's log, in either form of it."""
    for text in log.read_text().splitlines():
        if found := re.search(r"\bevent=started (.+)", text):
            pairs = (word.split("=") for word in found[1].split())
            return {name: float(value) for name, value in pairs}
        if text.startswith("{") and (facts := json.loads(text)).get("event") == "started":
            return {name: value for name, value in facts.items() if isinstance(value, float)}
    raise RuntimeError(f"{log} has no event of the start: {log.read_text()[-2000:]}")


def family(pid: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    return found


def family_seconds(pid: int) -> float:
    """Processor time of a process and all below it that live (proc(5), stat)."""
    total = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def not_measured(name: str, reason: str) -> Result:
    """The line of what could not be measured here, and why."""
    return Result(name, 0.0, "(not measured)", reason, None, None, None)


def bf16_instructions() -> bool:
    """Whether the processor computes in bfloat16 by itself (proc(5), cpuinfo)."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return bool({"avx512_bf16", "amx_bf16"} & set(flags))


def cores() -> int:
    """The processors that this run may use."""
    return len(os.sched_getaffinity(0))


def _twice_model() -> SavedModel:
    """`predict` float32 [n,64]: `input`, float32 [n,64], and `input` once more."""
    builder = GraphBuilder()
    numbers = builder.placeholder(INPUT, [None, NUMBERS])
    builder.add(OUTPUT, numbers, numbers)
    return _exported(builder, [None, NUMBERS], [None, NUMBERS])


def _mean_model() -> SavedModel:
    """`predict` float32 [n]: the mean of each row of `input`, float32 [n,1024].

    A request is large then, while its answer is not, and nothing is computed to speak of.
    """
    builder = GraphBuilder()
    builder.mean(OUTPUT, builder.placeholder(INPUT, [None, COLUMNS]), [1])
    return _exported(builder, [None, COLUMNS], [None])


def _exported(builder: GraphBuilder, taken: Shape, given: Shape) -> SavedModel:
    return make_saved_model(
        builder.graph,
        inputs={INPUT: tensor_info(f"{INPUT}:0", tensor_pb2.DT_FLOAT, taken)},
        outputs={OUTPUT: tensor_info(f"{OUTPUT}:0", tensor_pb2.DT_FLOAT, given)},
    )
