"""The whole server: prepared from flags, started, watched, stopped.

1. Prepare (`preparing`). Blocks.
2. Start: load the models, and only then listen, so that whoever connects is served.
3. Run until SIGTERM or SIGINT; poll for versions and, if asked, for the model configuration.
4. Stop: take nothing new, let what runs finish within a deadline, unload.

Whatever fails in 1 and 2 is raised; nothing that fails later ends the server.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sealserve.errors import SealServeError
from sealserve.hosts import Address
from sealserve.http_server import HttpServer
from sealserve.serving import settings
from sealserve.serving.calls import Call, Watch
from sealserve.serving.dataplane import DataPlane
from sealserve.serving.faces.grpc import GrpcServer
from sealserve.serving.faces.openapi import openapi_route
from sealserve.serving.faces.rest import Answer, Asked, RestApplication, Route
from sealserve.serving.faces.tensorflow_grpc import TensorFlowServing
from sealserve.serving.faces.tensorflow_rest import TensorFlowRest
from sealserve.serving.lifecycle import ModelManager
from sealserve.serving.metrics import CONTENT_TYPE, Metrics
from sealserve.serving.preparing import Prepared, read_models
from sealserve.serving.servable import Loader

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listening:
    """Where a started server is reached, and the versions that it serves, by model."""

    grpc: Address
    rest: Address | None
    models: Mapping[str, Sequence[int]]


class ModelServer:
    """A prepared server in a running event loop."""

    def __init__(self, prepared: Prepared) -> None:
        flags = prepared.flags
        self._prepared = prepared
        self._grace = flags.shutdown_timeout_seconds
        self._metrics = Metrics()
        watch = Watch([self._metrics.observe])
        loader = Loader(prepared.engine, prepared.vault, settings.tags(flags))
        self._models = ModelManager(loader, settings.pace(flags))
        self._plane = DataPlane(
            self._models, concurrency=prepared.engine.concurrency, batching=prepared.batching
        )
        tls = prepared.credentials
        self._grpc = GrpcServer(
            TensorFlowServing(self._plane, limit_bytes=flags.max_request_bytes).methods(),
            watch,
            settings.grpc_settings(flags),
            tls.grpc if tls else None,
        )
        application = RestApplication(
            [*TensorFlowRest(self._plane).routes(), openapi_route(), *self._metrics_routes()],
            watch,
            settings.rest_settings(flags),
        )
        self._rest = HttpServer(application, tls.rest if tls else None, purpose="REST")
        self._watchers: list[asyncio.Task[None]] = []

    async def start(self) -> Listening:
        """Step 2. Raises why a model is not available, or that an address cannot be had."""
        await self._models.start(self._prepared.models)
        flags, host = self._prepared.flags, settings.host(self._prepared.flags)
        grpc_address = Address(host, await self._grpc.start(host, flags.port))
        rest_address = None
        if flags.rest_api_port is not None:
            rest_address = Address(host, await self._rest.start(host, flags.rest_api_port))
        self._watchers.append(asyncio.create_task(self._models.watch()))
        if flags.model_config_file and flags.model_config_file_poll_wait_seconds:
            self._watchers.append(asyncio.create_task(self._watch_configuration()))
        return Listening(grpc_address, rest_address, self._models.available())

    async def stop(self) -> None:
        """Step 4. May be called at any time after construction, once."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(self._grpc.stop(self._grace), self._rest.stop(self._grace))
        self._plane.close()
        await self._models.close()

    def _metrics_routes(self) -> list[Route]:
        path = self._prepared.metrics_path
        if path is None:
            return []

        async def show(_asked: Asked, _call: Call) -> Answer:
            return Answer(self._metrics.render().encode(), CONTENT_TYPE)

        return [Route("GET", re.compile(re.escape(path)), show, None)]

    async def _watch_configuration(self) -> None:
        flags, vault = self._prepared.flags, self._prepared.vault
        known = self._prepared.models
        while True:
            await asyncio.sleep(flags.model_config_file_poll_wait_seconds)
            try:
                found = await asyncio.to_thread(read_models, flags, vault)
                if found != known:
                    self._models.configure(found)
                    known = found
                    log.info("%s: read again, %d models", flags.model_config_file, len(found))
            except SealServeError as error:
                log.error("%s: not read again: %s", flags.model_config_file, error.message)


async def run(prepared: Prepared, announce: Callable[[Listening], None]) -> None:
    """Steps 2 to 4; `announce` is called once everything is loaded and listens."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = ModelServer(prepared)
    starting = asyncio.create_task(server.start())
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            announce(starting.result())
            await stopped
            log.info(
                "stopping: requests that run have %d s", prepared.flags.shutdown_timeout_seconds
            )
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)  # a second signal ends the process at once
        starting.cancel()
        stopped.cancel()
        await server.stop()
