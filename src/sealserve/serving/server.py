"""The whole server: prepared from flags, started, watched, stopped.

1. Prepare, in order of trust: the key; with it, every file; the engine. Blocks.
2. Start: load the models, and only then listen, so that whoever connects is served.
3. Run until SIGTERM or SIGINT; poll for versions and, if asked, for the model configuration.
4. Stop: take nothing new, let what runs finish within a deadline, unload.

Whatever fails in 1 and 2 is raised; nothing that fails later ends the server.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc

from sealserve.errors import ConfigError, SealServeError
from sealserve.hosts import Address
from sealserve.http_server import HttpServer
from sealserve.sealing import ModelRecord
from sealserve.serving import settings
from sealserve.serving.batching import BatchSettings
from sealserve.serving.dataplane import DataPlane
from sealserve.serving.engine import Engine
from sealserve.serving.flags import Flags
from sealserve.serving.grpc_server import GrpcServer
from sealserve.serving.keys import HeldKeys, key_from_file, keys_again, keys_by_attestation
from sealserve.serving.lifecycle import ModelManager
from sealserve.serving.models import ModelSettings
from sealserve.serving.openvino_engine import OpenVinoEngine
from sealserve.serving.renewal import RenewingVault
from sealserve.serving.rest import RestApplication
from sealserve.serving.servable import Files, Loader
from sealserve.serving.textconfig import (
    CONFIG_LIMIT,
    parse_batching,
    parse_models,
    parse_monitoring,
    parse_tls,
)
from sealserve.serving.tls import fingerprint, grpc_credentials, ssl_context
from sealserve.serving.vault import Vault

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """The TLS of both faces."""

    grpc: grpc.ServerCredentials
    rest: ssl.SSLContext


@dataclass(frozen=True)
class Prepared:
    """Everything that could be decided before anything is served."""

    flags: Flags
    vault: Files
    credentials: Credentials | None
    models: Sequence[ModelSettings]
    batching: BatchSettings | None
    metrics_path: str | None
    engine: Engine


@dataclass(frozen=True)
class Listening:
    """Where a started server is reached, and the versions that it serves, by model."""

    grpc: Address
    rest: Address | None
    models: Mapping[str, Sequence[int]]


def prepare(flags: Flags) -> Prepared:
    """Step 1. Raises UsageError, ConfigError, IntegrityError, and what getting the key raises."""
    settings.check(flags)
    vault = _vault(flags)
    batching = None
    if flags.enable_batching:
        name = flags.batching_parameters_file
        batching = parse_batching(_config(vault, name), name) if name else BatchSettings()
    return Prepared(
        flags=flags,
        vault=vault,
        credentials=_credentials(flags, vault),
        models=read_models(flags, vault),
        batching=batching,
        metrics_path=_metrics_path(flags, vault),
        engine=OpenVinoEngine(settings.capacity(flags)),
    )


def read_models(flags: Flags, vault: Files) -> Sequence[ModelSettings]:
    """The models that the flags or the file they name configure."""
    if flags.model_config_file:
        name = flags.model_config_file
        return parse_models(_config(vault, name), name)
    return [ModelSettings(name=flags.model_name, base_path=flags.model_base_path)]


class ModelServer:
    """A prepared server in a running event loop."""

    def __init__(self, prepared: Prepared) -> None:
        flags = prepared.flags
        self._prepared = prepared
        self._grace = flags.shutdown_timeout_seconds
        loader = Loader(prepared.engine, prepared.vault, settings.tags(flags))
        self._models = ModelManager(loader, settings.pace(flags))
        self._plane = DataPlane(
            self._models, concurrency=prepared.engine.concurrency, batching=prepared.batching
        )
        tls = prepared.credentials
        self._grpc = GrpcServer(
            self._plane, settings.grpc_settings(flags), tls.grpc if tls else None
        )
        application = RestApplication(
            self._plane, settings.rest_settings(flags, prepared.metrics_path)
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


def _vault(flags: Flags) -> Files:
    if flags.attest:
        attestation = settings.attestation(flags)
        return RenewingVault(
            keys_by_attestation(attestation),
            renew=partial(keys_again, attestation),
            open_vault=partial(_open_vault, flags),
        )
    if flags.dangerously_use_key_file:
        key = key_from_file(Path(flags.dangerously_use_key_file))
        return _open_vault(flags, HeldKeys((key,)))
    log.warning(
        "DANGEROUS: models are served unsealed; whoever owns the disk can read and swap them"
    )
    return Vault(None, flush_caches=flags.flush_filesystem_caches)


def _open_vault(flags: Flags, held: HeldKeys) -> Vault:
    """The vault under these keys; with a record, of the model whose folder the flags name."""
    vault = Vault(held.keys, flush_caches=flags.flush_filesystem_caches)
    if held.record is None:
        return vault
    return Vault(
        held.keys,
        flush_caches=flags.flush_filesystem_caches,
        record=held.record,
        record_root=_record_root(flags, vault, held.record),
    )


def _record_root(flags: Flags, vault: Vault, record: ModelRecord) -> str:
    if not flags.model_config_file:
        return flags.model_base_path
    for model in read_models(flags, vault):
        if model.name == record.model:
            return model.base_path
    raise ConfigError(
        f"the key came with the record of model {record.model!r}, and {flags.model_config_file} "
        "configures no model of that name",
        hint="give the model that name, or the secret another record",
    )


def _credentials(flags: Flags, vault: Files) -> Credentials | None:
    if not flags.ssl_config_file:
        log.warning("DANGEROUS: requests and answers travel in plaintext")
        return None
    tls = parse_tls(_config(vault, flags.ssl_config_file), flags.ssl_config_file)
    credentials = Credentials(grpc=grpc_credentials(tls), rest=ssl_context(tls))
    clients = "clients need a certificate" if tls.client_ca else "clients need no certificate"
    log.info("TLS certificate SHA-256 %s; %s", fingerprint(tls), clients)
    return credentials


def _metrics_path(flags: Flags, vault: Files) -> str | None:
    name = flags.monitoring_config_file
    return parse_monitoring(_config(vault, name), name) if name else None


def _config(vault: Files, path: str) -> bytearray:
    return vault.read(path, limit=CONFIG_LIMIT)
