"""Everything that can be decided before anything is served, in order of trust.

1. Gather: the key; with it, every file. This may be done once for several processes, so it starts
   no thread, no event loop and no library that does: a fork copies none of them.
2. Equip: the engine, gRPC's credentials. Every process does so for itself.

Whatever fails is raised, and nothing has listened yet.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
from cryptography import x509

from sealserve.errors import ConfigError
from sealserve.logline import line
from sealserve.sealing import ModelRecord
from sealserve.serving import settings
from sealserve.serving.engine import Engine
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.engines.tensorflow import TensorFlowEngine, require_tensorflow
from sealserve.serving.flags import Flags
from sealserve.serving.life.models import ModelSettings
from sealserve.serving.opening.keys import HeldKeys, key_from_file, keys_again, keys_by_attestation
from sealserve.serving.opening.renewal import RenewingVault
from sealserve.serving.opening.vault import Files, Vault
from sealserve.serving.running.batching import BatchSettings
from sealserve.serving.textconfig import (
    CONFIG_LIMIT,
    TlsSettings,
    parse_batching,
    parse_models,
    parse_monitoring,
    parse_tls,
)
from sealserve.serving.tls import fingerprint, grpc_credentials, require_usable, ssl_context
from sealserve.serving.watching.stages import STARTING

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """The TLS of both faces; none for REST where it is not served."""

    grpc: grpc.ServerCredentials
    rest: ssl.SSLContext | None


@dataclass(frozen=True)
class Tls:
    """What credentials are made of. `expires`: the end of the certificate, seconds of the epoch."""

    settings: TlsSettings
    rest: ssl.SSLContext | None
    expires: float


@dataclass(frozen=True)
class Gathered:
    """The key, and what was read with it."""

    flags: Flags
    vault: Files
    tls: Tls | None
    models: Sequence[ModelSettings]
    batching: BatchSettings | None
    metrics_path: str | None
    trace_ca: bytes | None


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
    tls_expires: float | None = None
    trace_ca: bytes | None = None


def prepare(flags: Flags) -> Prepared:
    """Both steps, for a server of one process. Blocks; raises what they do."""
    return equip(gather(flags))


def gather(flags: Flags) -> Gathered:
    """Step 1. Blocks. Raises UsageError, ConfigError, IntegrityError, and what getting the key
    raises."""
    settings.check(flags)
    if settings.engine(flags) == "tensorflow":
        require_tensorflow(settings.precision(flags))
    if flags.dangerously_allow_reload_config:
        log.warning(line("DANGEROUS", reason="every client can replace the models that are served"))
    vault = _vault(flags)
    batching = None
    if flags.enable_batching:
        name = flags.batching_parameters_file
        batching = parse_batching(_config(vault, name), name) if name else BatchSettings()
    return Gathered(
        flags=flags,
        vault=vault,
        tls=_tls(flags, vault),
        models=read_models(flags, vault),
        batching=batching,
        metrics_path=_metrics_path(flags, vault),
        trace_ca=bytes(_config(vault, flags.trace_ca)) if flags.trace_ca else None,
    )


def equip(gathered: Gathered) -> Prepared:
    """Step 2. Raises what the engine does."""
    tls = gathered.tls
    return Prepared(
        flags=gathered.flags,
        vault=gathered.vault,
        credentials=Credentials(grpc_credentials(tls.settings), tls.rest) if tls else None,
        models=gathered.models,
        batching=gathered.batching,
        metrics_path=gathered.metrics_path,
        engine=_engine(gathered.flags),
        tls_expires=tls.expires if tls else None,
        trace_ca=gathered.trace_ca,
    )


def read_models(flags: Flags, vault: Files) -> Sequence[ModelSettings]:
    """The models that the flags or the file they name configure."""
    if flags.model_config_file:
        name = flags.model_config_file
        return parse_models(_config(vault, name), name)
    return [ModelSettings(name=flags.model_name, base_path=flags.model_base_path)]


def _engine(flags: Flags) -> Engine:
    create = TensorFlowEngine if settings.engine(flags) == "tensorflow" else OpenVinoEngine
    with STARTING.stage("engine"):
        return create(settings.capacity(flags), settings.precision(flags))


def _vault(flags: Flags) -> Files:
    if flags.attest:
        attestation = settings.attestation(flags)
        with STARTING.stage("key"):
            held = keys_by_attestation(attestation)
        return RenewingVault(
            held,
            renew=partial(keys_again, attestation),
            open_vault=partial(_open_vault, flags),
        )
    if flags.dangerously_use_key_file:
        key = key_from_file(Path(flags.dangerously_use_key_file))
        return _open_vault(flags, HeldKeys((key,)))
    log.warning(
        line(
            "DANGEROUS",
            reason="models are served unsealed; whoever owns the disk can read and swap them",
        )
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


def _tls(flags: Flags, vault: Files) -> Tls | None:
    if not flags.ssl_config_file:
        log.warning(line("DANGEROUS", reason="requests and answers travel in plaintext"))
        return None
    tls = parse_tls(_config(vault, flags.ssl_config_file), flags.ssl_config_file)
    require_usable(tls)
    _check_tls_mode(flags, tls)
    context = ssl_context(tls) if flags.rest_api_port is not None else None
    first = x509.load_pem_x509_certificates(tls.certificates)[0]
    if flags.dangerously_allow_reload_config and not tls.client_ca:
        raise ConfigError(
            f"--dangerously_allow_reload_config, and {flags.ssl_config_file} has no client_verify: "
            "anybody who can connect could take every model away",
            hint="let clients need a certificate: client_verify and custom_ca",
        )
    log.info(
        line(
            "tls",
            certificate_sha256=fingerprint(tls),
            until=first.not_valid_after_utc.isoformat(),
            clients_need_a_certificate=tls.client_ca is not None,
        )
    )
    return Tls(tls, context, first.not_valid_after_utc.timestamp())


def _check_tls_mode(flags: Flags, tls: TlsSettings) -> None:
    """ConfigError where the file, which may be sealed, is not what whoever set the flags meant."""
    found = "oneway" if tls.client_ca is None else "mutual"
    if flags.tls_mode in ("", found):
        return
    holds = {
        "oneway": "no client_verify: every client would be let in",
        "mutual": "client_verify: clients without a certificate would be refused",
    }
    command = {"oneway": "oneway DOMAIN", "mutual": "twoway DOMAIN CLIENT"}[flags.tls_mode]
    raise ConfigError(
        f"--tls_mode={flags.tls_mode}, and {flags.ssl_config_file} has {holds[found]}",
        hint=f"seal the ssl.cfg that `sealserve tls {command}` makes; if {found} is meant, "
        f"--tls_mode={found}, which is mode in [tls] of a description",
    )


def _metrics_path(flags: Flags, vault: Files) -> str | None:
    name = flags.monitoring_config_file
    return parse_monitoring(_config(vault, name), name) if name else None


def _config(vault: Files, path: str) -> bytearray:
    return vault.read(path, limit=CONFIG_LIMIT)
