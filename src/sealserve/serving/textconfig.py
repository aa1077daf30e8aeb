"""The text-format files of tensorflow_model_server, into plain values.

Format: protobuf's text format over the messages of TensorFlow Serving 2.21 (ssl_config.proto,
model_server_config.proto, session_bundle_config.proto, monitoring_config.proto). Unknown fields are
errors, and so is what the format can say and this server cannot do: silently serving something else
would be worse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from sealserve.errors import ConfigError
from sealserve.messages.config_pb2 import (
    BatchingParameters,
    FileSystemStoragePathSourceConfig,
    ModelConfig,
    ModelConfigList,
    ModelServerConfig,
    MonitoringConfig,
    SSLConfig,
)
from sealserve.serving.life.models import All, Latest, ModelSettings, Policy, Specific
from sealserve.serving.running.batching import BatchSettings
from sealserve.serving.watching.metrics import DEFAULT_PATH

CONFIG_LIMIT = 1 << 20  # bytes of any of these files
PLATFORMS = ("", "tensorflow")

Config = TypeVar("Config", bound=Message)
ServableVersionPolicy = FileSystemStoragePathSourceConfig.ServableVersionPolicy


@dataclass(frozen=True)
class TlsSettings:
    """ssl.cfg, all in PEM. `client_ca` is set exactly when clients must show a certificate."""

    private_key: bytes = field(repr=False)
    certificates: bytes
    client_ca: bytes | None


def parse_tls(data: bytes | bytearray, name: str) -> TlsSettings:
    """`ssl_config_file`; `name` is what errors call it. Raises ConfigError."""
    config = _parse(data, name, SSLConfig())
    if not config.server_key or not config.server_cert:
        raise ConfigError(f"{name}: server_key and server_cert must both be there")
    if config.client_verify and not config.custom_ca:
        # gRPC would then accept whatever the system's public authorities have signed.
        raise ConfigError(
            f"{name}: client_verify needs custom_ca, the authority that signs your clients"
        )
    return TlsSettings(
        private_key=config.server_key.encode(),
        certificates=config.server_cert.encode(),
        client_ca=config.custom_ca.encode() if config.client_verify else None,
    )


def parse_models(data: bytes | bytearray, name: str) -> tuple[ModelSettings, ...]:
    """`model_config_file`, at least one model. Raises ConfigError."""
    config = _parse(data, name, ModelServerConfig())
    if config.WhichOneof("config") != "model_config_list" or not config.model_config_list.config:
        raise ConfigError(f"{name}: expected model_config_list with at least one config")
    return models_in(config.model_config_list, name)


def models_in(models: ModelConfigList, name: str) -> tuple[ModelSettings, ...]:
    """The models of a list, which `name` is what errors call. Raises ConfigError."""
    return tuple(_model(entry, name) for entry in models.config)


def parse_batching(data: bytes | bytearray, name: str) -> BatchSettings:
    """`batching_parameters_file`. Raises ConfigError."""
    config = _parse(data, name, BatchingParameters())
    default = BatchSettings()
    max_size = _value(config, "max_batch_size", default.max_size)
    max_execution = None
    if config.enable_large_batch_splitting.value:
        max_execution = _value(config, "max_execution_batch_size", max_size)
    settings = BatchSettings(
        max_size=max_size,
        timeout=_value(config, "batch_timeout_micros", 0) / 1e6,
        max_waiting=_value(config, "max_enqueued_batches", default.max_waiting),
        parallel=_value(config, "num_batch_threads", default.parallel),
        allowed_sizes=tuple(config.allowed_batch_sizes),
        pad_lengths=config.pad_variable_length_inputs,
        max_execution=max_execution,
    )
    _check_batching(settings, name)
    return settings


def parse_monitoring(data: bytes | bytearray, name: str) -> str | None:
    """`monitoring_config_file`: the path of the metrics, None if they are off; ConfigError."""
    config = _parse(data, name, MonitoringConfig()).prometheus_config
    if not config.enable:
        return None
    path = config.path or DEFAULT_PATH
    if not path.startswith("/") or path.lower().startswith("/v1/"):
        raise ConfigError(f"{name}: path {path!r} must begin with / and not with /v1/")
    return path


def _parse(data: bytes | bytearray, name: str, message: Config) -> Config:
    try:
        return text_format.Parse(data.decode("utf-8"), message)
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8 text") from None
    except text_format.ParseError as error:
        # Line and column only: the parser quotes what it read, and that may be a private key.
        where = f"line {error.GetLine()}, column {error.GetColumn()}"
        raise ConfigError(
            f"{name}: {where}: not a {message.DESCRIPTOR.name} in protobuf's text format"
        ) from None


def _model(entry: ModelConfig, name: str) -> ModelSettings:
    if not entry.name or not entry.base_path:
        raise ConfigError(f"{name}: every model needs name and base_path")
    if entry.model_platform not in PLATFORMS or entry.model_type > 1:
        raise ConfigError(
            f"{name}: model {entry.name!r} has platform {entry.model_platform!r}; "
            "expected 'tensorflow'"
        )
    if entry.HasField("logging_config"):
        raise ConfigError(
            f"{name}: model {entry.name!r} has a logging_config; payloads are never logged",
            hint="take it out; --access_log logs requests without what they hold",
        )
    return ModelSettings(
        name=entry.name,
        base_path=entry.base_path,
        policy=_policy(entry.model_version_policy, f"{name}: model {entry.name!r}"),
        labels=dict(entry.version_labels),
    )


def _policy(policy: ServableVersionPolicy, name: str) -> Policy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return All()
    if choice == "specific":
        if not policy.specific.versions:
            raise ConfigError(f"{name}: a specific version policy names no version")
        return Specific(frozenset(policy.specific.versions))
    return Latest(max(policy.latest.num_versions, 1))


def _value(config: BatchingParameters, name: str, default: int) -> int:
    return int(getattr(config, name).value) if config.HasField(name) else default


def _check_batching(settings: BatchSettings, name: str) -> None:
    if settings.max_size < 1 or settings.max_waiting < 1:
        raise ConfigError(f"{name}: max_batch_size and max_enqueued_batches are at least 1")
    if settings.timeout < 0 or settings.parallel < 0:
        raise ConfigError(f"{name}: batch_timeout_micros and num_batch_threads are not below 0")
    if not 1 <= settings.batch_size <= settings.max_size:
        raise ConfigError(f"{name}: max_execution_batch_size is from 1 to max_batch_size")
    sizes = list(settings.allowed_sizes)
    if sizes and (sizes != sorted(set(sizes)) or sizes[0] < 1):
        raise ConfigError(f"{name}: allowed_batch_sizes must increase, from 1 or more")
    if sizes and sizes[-1] not in (settings.max_size, settings.batch_size):
        raise ConfigError(
            f"{name}: Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
            f"{sizes[-1]}; expected {settings.max_size}"
        )
