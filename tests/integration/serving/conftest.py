"""Real servers on real sockets: models that scale by their version, TLS both ways."""

from __future__ import annotations

import asyncio
import queue
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import uvloop

from sealserve.client import Client
from sealserve.deploy.certificates import Pair, Validity, make_authority, make_client, make_server
from sealserve.deploy.tls_folder import render_ssl_config
from sealserve.errors import SealServeError, Unimplemented
from sealserve.messages import tensor_pb2
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.messages.tensors import to_proto
from sealserve.models.graph import shape_proto
from sealserve.models.saved_model import make_saved_model, tensor_info
from sealserve.serving.engine import Executable, Loaded, VersionFiles
from sealserve.serving.flags import Flags
from sealserve.serving.preparing import prepare
from sealserve.serving.server import Listening, ModelServer
from sealserve.serving.signature import Signature

FLOAT = tensor_pb2.DT_FLOAT
PATIENCE = 30.0


@dataclass(frozen=True)
class World:
    """One authority, a server and a client of it, and a client of somebody else's."""

    authority: Pair
    server: Pair
    client: Pair
    stranger: Pair

    def ssl_config(self, *, mutual: bool) -> bytes:
        ca = self.authority.certificate_pem if mutual else None
        return render_ssl_config(self.server, client_ca=ca)


@pytest.fixture(scope="session")
def world() -> World:
    validity = Validity(datetime.now(UTC).replace(microsecond=0), 1)
    authority, other = make_authority(validity), make_authority(validity)
    return World(
        authority=authority,
        server=make_server(["localhost", "127.0.0.1"], validity, issuer=authority),
        client=make_client("client", validity, issuer=authority),
        stranger=make_client("client", validity, issuer=other),
    )


def scaling_model(factor: float) -> SavedModel:
    """`y` = `x` times a factor, float32 [n,2], and `sum`, over each row."""
    graph = GraphDef()
    graph.versions.producer = 1882
    node = graph.node.add(name="x", op="Placeholder")
    node.attr["dtype"].type = FLOAT
    node.attr["shape"].shape.CopyFrom(shape_proto((None, 2)))
    for name, value in (("factor", np.float32([factor])), ("axis", np.int32([1]))):
        node = graph.node.add(name=name, op="Const")
        node.attr["value"].tensor.CopyFrom(to_proto(value))
        node.attr["dtype"].type = node.attr["value"].tensor.dtype
    graph.node.add(name="y", op="Mul", input=["x", "factor"]).attr["T"].type = FLOAT
    node = graph.node.add(name="sum", op="Sum", input=["y", "axis"])
    node.attr["T"].type = FLOAT
    node.attr["Tidx"].type = tensor_pb2.DT_INT32
    return make_saved_model(
        graph,
        inputs={"x": tensor_info("x:0", FLOAT, (None, 2))},
        outputs={
            "y": tensor_info("y:0", FLOAT, (None, 2)),
            "sum": tensor_info("sum:0", FLOAT, (None,)),
        },
    )


Publish = Callable[..., Path]


@pytest.fixture(scope="session")
def publish() -> Publish:
    """Write a version of the scaling model into a base folder, whole or not at all."""

    def write(base: Path, version: int, factor: float | None = None) -> Path:
        partial = base / f".{version}"
        partial.mkdir(parents=True)
        data = scaling_model(version if factor is None else factor).SerializeToString()
        (partial / "saved_model.pb").write_bytes(data)
        return partial.rename(base / str(version))

    return write


class GatedEngine:
    """The real engine behind a gate: runs wait while it is closed. Counts the rows it was given."""

    name = "gated"
    concurrency = 1

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.gate = threading.Event()
        self.gate.set()
        self.seen: list[int] = []

    def load(self, files: VersionFiles, tags: Sequence[str]) -> Loaded:
        loaded = self._engine.load(files, tags)
        gated = {
            name: found if isinstance(found, Unimplemented) else GatedExecutable(self, found)
            for name, found in loaded.executables.items()
        }
        return Loaded(loaded.definitions, gated)


@dataclass(eq=False)
class GatedExecutable:
    engine: GatedEngine
    inner: Executable

    @property
    def signature(self) -> Signature:
        return self.inner.signature

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.engine.seen.append(len(inputs["x"]))
        assert self.engine.gate.wait(PATIENCE)
        return self.inner.run(inputs)


@dataclass
class Running:
    """A server in a thread of its own, and ways to reach it."""

    world: World
    plaintext: bool = False
    listening: Listening = field(init=False)
    engine: GatedEngine = field(init=False)
    stop: Callable[[], None] = field(init=False)

    def client(self, pair: Pair | None = None, **options: Any) -> Client:
        """Our client, showing the certificate of `pair`."""
        return Client(
            str(self.listening.grpc),
            ca=self.world.authority.certificate_pem,
            certificate=pair.certificate_pem if pair else None,
            private_key=pair.key_pem if pair else None,
            **options,
        )

    def channel(self) -> grpc.Channel:
        """A bare channel with a client certificate."""
        credentials = grpc.ssl_channel_credentials(
            self.world.authority.certificate_pem,
            self.world.client.key_pem,
            self.world.client.certificate_pem,
        )
        return grpc.secure_channel(str(self.listening.grpc), credentials)

    def http(self, folder: Path, pair: Pair | None = None) -> httpx.Client:
        """An HTTP client; `folder` is for the certificate that the library wants as a file."""
        context = ssl.create_default_context(
            cadata=self.world.authority.certificate_pem.decode("ascii")
        )
        if pair is not None:
            both = folder / f"client-{id(pair)}.pem"
            both.write_bytes(pair.key_pem + pair.certificate_pem)
            context.load_cert_chain(both)
        return httpx.Client(
            base_url=f"https://{self.listening.rest}", verify=context, timeout=PATIENCE
        )


Start = Callable[..., Running]


def run_in_thread(running: Running, flags: Flags) -> None:
    """Prepare and start a server; `running.stop` ends it and waits for that."""
    prepared = prepare(flags)
    running.engine = GatedEngine(prepared.engine)
    gated = replace(prepared, engine=running.engine)
    outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    async def serve() -> None:
        server = ModelServer(gated)
        try:
            listening = await server.start()
        except SealServeError as error:
            await server.stop()
            outcome.put(error)
            return
        stopping = asyncio.Event()
        outcome.put((listening, asyncio.get_running_loop(), stopping))
        await stopping.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: uvloop.run(serve()), daemon=True)
    thread.start()
    started = outcome.get(timeout=PATIENCE)
    if isinstance(started, Exception):
        thread.join(PATIENCE)
        raise started
    running.listening, loop, stopping = started

    def stop() -> None:
        if thread.is_alive():
            running.engine.gate.set()
            loop.call_soon_threadsafe(stopping.set)
            thread.join(PATIENCE)
        assert not thread.is_alive()

    running.stop = stop


@pytest.fixture(scope="module")
def start(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start servers of unsealed models over TLS; flags as keyword arguments."""
    servers: list[Running] = []

    def begin(base: Path, *, mutual: bool = True, **flags: Any) -> Running:
        configuration = tmp_path_factory.mktemp("tls") / "ssl.cfg"
        configuration.write_bytes(world.ssl_config(mutual=mutual))
        running = Running(world)
        defaults: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": 0,
            "rest_api_port": 0,
            "model_name": "scale",
            "model_base_path": str(base),
            "ssl_config_file": str(configuration),
            "file_system_poll_wait_seconds": 0,
            "shutdown_timeout_seconds": 10,
            "dangerously_serve_unsealed_models": True,
        }
        run_in_thread(running, Flags(**{**defaults, **flags}))
        servers.append(running)
        return running

    yield begin
    for running in servers:
        running.stop()


@pytest.fixture(scope="module")
def server(
    start: Start, publish: Publish, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """One server over mutual TLS with the model `scale`, version 3."""
    base = tmp_path_factory.mktemp("models") / "scale"
    publish(base, 3)
    running = start(base, max_request_bytes=1 << 20)
    yield running
    running.engine.gate.set()
