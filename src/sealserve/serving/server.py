"""The whole server, put together from what was prepared: started, watched, stopped.

1. Prepare (`preparing`). Blocks.
2. Start: load the models, and only then listen, so that whoever connects is served.
3. Run until told to end (`process`); poll for versions and, if asked, for the model configuration.
4. Stop: say that the server is not ready, and serve on for a while, so that whoever sends requests
   turns to others; then take nothing new, let what runs finish within a deadline, unload.

Whatever fails in 1 and 2 is raised; nothing that fails later ends the server.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sealserve.attester.source import is_simulated
from sealserve.errors import ModelsUnavailable, SealServeError
from sealserve.hosts import Address
from sealserve.http_server import HttpServer
from sealserve.logline import line
from sealserve.serving import settings
from sealserve.serving.calls import Call
from sealserve.serving.dataplane import DataPlane
from sealserve.serving.faces.examples_grpc import ExamplesServing
from sealserve.serving.faces.grpc import GrpcServer, Methods
from sealserve.serving.faces.health import HealthService
from sealserve.serving.faces.openapi import openapi_route
from sealserve.serving.faces.reflection import ReflectionService
from sealserve.serving.faces.reload_grpc import ReloadConfig
from sealserve.serving.faces.rest import Answer, Asked, RestApplication, Route
from sealserve.serving.faces.tensorflow_grpc import TensorFlowServing
from sealserve.serving.faces.tensorflow_rest import ExamplesRest, TensorFlowRest
from sealserve.serving.faces.v2_grpc import OpenInference
from sealserve.serving.faces.v2_rest import OpenInferenceRest
from sealserve.serving.flags import Flags
from sealserve.serving.inference import Inference
from sealserve.serving.life.lifecycle import ModelManager
from sealserve.serving.life.servable import Loader
from sealserve.serving.preparing import Prepared, read_models
from sealserve.serving.readiness import Readiness
from sealserve.serving.watching.metrics import CONTENT_TYPE
from sealserve.serving.watching.observing import Observing

log = logging.getLogger(__name__)

UNINTERRUPTED_SECONDS = 1.0  # for runs and loads, which nothing can interrupt, at the very end


@dataclass(frozen=True)
class Listening:
    """Where a started server is reached, and the versions that it serves, by model."""

    grpc: Address
    rest: Address | None
    models: Mapping[str, Sequence[int]]


class ModelServer:
    """A prepared server in a running event loop."""

    def __init__(self, prepared: Prepared, observing: Observing | None = None) -> None:
        flags = prepared.flags
        self._prepared = prepared
        self._grace = flags.shutdown_timeout_seconds
        self.readiness = Readiness()
        self._observing = observing or Observing(flags, trace_ca=prepared.trace_ca)
        self._metrics, watch = self._observing.metrics, self._observing.watch
        loader = Loader(
            prepared.engine,
            prepared.vault,
            settings.tags(flags),
            settings.warm_up(flags),
            self._metrics,
        )
        self._models = ModelManager(
            loader,
            settings.pace(flags),
            self._metrics,
            early_labels=flags.allow_version_labels_for_unavailable_models,
        )
        self._plane = DataPlane(
            self._models,
            concurrency=prepared.engine.concurrency,
            batching=prepared.batching,
            observer=self._metrics,
        )
        self._inference = Inference(
            self._plane,
            limit_bytes=flags.max_request_bytes,
            check_method_names=flags.enable_signature_method_name_check,
        )
        methods = self._methods()
        tls = prepared.credentials
        self._grpc = GrpcServer(
            methods, watch, settings.grpc_settings(flags), tls.grpc if tls else None
        )
        self._health = HealthService(self.readiness, {method.service for method in methods})
        self._reflection = ReflectionService(methods)
        self._grpc.add(self._health.register)
        self._grpc.add(self._reflection.register)
        self._rest = HttpServer(
            RestApplication(self._routes(), watch, settings.rest_settings(flags)),
            tls.rest if tls else None,
            purpose="REST",
            handshake=self._metrics.handshake,
            cancel_abandoned=True,
        )
        self._describe()
        self._watchers: list[asyncio.Task[None]] = []

    async def start(self) -> Listening:
        """Step 2. Raises why a model is not available, or that an address cannot be had."""
        await self._models.start(self._prepared.models)
        flags, host = self._prepared.flags, settings.host(self._prepared.flags)
        grpc_address = Address(host, await self._grpc.start(host, flags.port))
        rest_address = None
        if flags.rest_api_port is not None:
            rest_address = Address(host, await self._start_rest(host, flags))
        self._watchers.append(asyncio.create_task(self._models.watch()))
        if flags.model_config_file and flags.model_config_file_poll_wait_seconds:
            self._watchers.append(asyncio.create_task(self._watch_configuration()))
        self.readiness.turn_on()
        self._metrics.ready(True)
        return Listening(grpc_address, rest_address, self._models.available())

    def leave(self) -> None:
        """Step 4's first part: still serving, but no longer ready."""
        self.readiness.turn_off()
        self._metrics.ready(False)

    async def stop(self) -> bool:
        """Step 4's last part. May be called at any time after construction, once.

        Whether nothing is left behind: a run of the engine, or a load, that goes on, or a client's
        connection that gRPC does not let go of.
        """
        self.leave()
        for watcher in self._watchers:
            watcher.cancel()
        self._health.close()
        self._reflection.close()
        alone, _ = await asyncio.gather(self._grpc.stop(self._grace), self._rest.stop(self._grace))
        await self._observing.close()
        ended = await self._plane.ended(UNINTERRUPTED_SECONDS)
        return await self._models.close(UNINTERRUPTED_SECONDS) and ended and alone

    async def _start_rest(self, host: str, flags: Flags) -> int:
        assert flags.rest_api_port is not None
        tls = self._prepared.credentials
        assert tls is None or tls.rest is not None  # never in plaintext where TLS was asked for
        return await self._rest.start(host, flags.rest_api_port, reuse_port=flags.processes > 1)

    def _describe(self) -> None:
        """What the metrics say of a server for as long as it runs."""
        flags = self._prepared.flags
        self._metrics.protections(
            simulated=flags.attest and is_simulated(flags.evidence_source),
            unattested=not flags.attest,
            unsealed=flags.dangerously_serve_unsealed_models,
            plaintext=flags.dangerously_serve_plaintext,
        )
        self._metrics.engine(self._prepared.engine.name)
        if self._prepared.tls_expires is not None:
            self._metrics.certificate(self._prepared.tls_expires)

    def _methods(self) -> Methods:
        """What gRPC serves, by every face."""
        flags, engine = self._prepared.flags, self._prepared.engine.name
        return {
            **TensorFlowServing(self._plane, limit_bytes=flags.max_request_bytes).methods(),
            **ExamplesServing(self._inference).methods(),
            **ReloadConfig(self._models, allowed=flags.dangerously_allow_reload_config).methods(),
            **OpenInference(self._plane, self.readiness, engine=engine).methods(),
        }

    def _routes(self) -> list[Route]:
        """What REST serves, by every face."""
        engine = self._prepared.engine.name
        return [
            *TensorFlowRest(self._plane).routes(),
            *ExamplesRest(self._inference).routes(),
            *OpenInferenceRest(self._plane, self.readiness, engine=engine).routes(),
            openapi_route(),
            *self._metrics_routes(),
        ]

    def _metrics_routes(self) -> list[Route]:
        path = self._prepared.metrics_path
        if path is None:
            return []

        async def show(_asked: Asked, _call: Call) -> Answer:
            text = await asyncio.to_thread(self._metrics.render)
            return Answer(text.encode(), CONTENT_TYPE)

        return [Route("GET", re.compile(re.escape(path)), show, None)]

    async def _watch_configuration(self) -> None:
        flags, vault = self._prepared.flags, self._prepared.vault
        known, name = self._prepared.models, flags.model_config_file
        while True:
            await asyncio.sleep(flags.model_config_file_poll_wait_seconds)
            try:
                found = await asyncio.to_thread(read_models, flags, vault)
                if found != known:
                    await self._models.reload(found)
                    known = found
                    log.info(line("models_read_again", file=name, models=len(found)))
            except ModelsUnavailable as error:
                known = found  # it is in force, and polling goes on trying
                log.error(line("models_unavailable", file=name, reason=error.message))
            except SealServeError as error:
                log.error(line("models_not_read", file=name, code=error.code, reason=error.message))
