"""The command line of tensorflow_model_server, and a few flags of our own.

Every flag is `--name=value` or `--name value`; a boolean also `--name`. Dashes may stand for the
underscores. Given twice, the last counts, as in TensorFlow. Flags of TensorFlow Serving that mean
nothing to this server are accepted and told; those that would change what is served, or to whom,
are refused with the reason. Source: TensorFlow Serving 2.21, model_servers/main.cc.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from sealserve.errors import UsageError


def _flag(default: Any, help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class Flags:
    """Every flag that does something here, with its default."""

    # TensorFlow Serving's own
    port: int = _flag(8500, "port for gRPC; 0: a free one")
    rest_api_port: int | None = _flag(None, "port for REST; 0: a free one; left out: no REST")
    rest_api_timeout_in_ms: int = _flag(30_000, "deadline of a REST request")
    model_name: str = _flag("default", "name of the model in --model_base_path")
    model_base_path: str = _flag("", "folder of versions: PATH/1/saved_model.pb")
    model_config_file: str = _flag("", "several models, in text format; wins over the two above")
    model_config_file_poll_wait_seconds: int = _flag(0, "read that file again so often; 0: never")
    file_system_poll_wait_seconds: int = _flag(1, "look for new versions so often; 0: never")
    max_num_load_retries: int = _flag(5, "how often a new version that fails is tried again")
    load_retry_interval_micros: int = _flag(60_000_000, "time between such tries")
    enable_batching: bool = _flag(False, "run requests that wait at the same time as one")
    batching_parameters_file: str = _flag("", "how, in text format; needs --enable_batching")
    ssl_config_file: str = _flag("", "TLS of gRPC and REST: ssl.cfg, in text format")
    monitoring_config_file: str = _flag("", "metrics for Prometheus on the REST port: where")
    saved_model_tags: str = _flag("serve", "the meta graph to serve: its tags, with commas")
    enable_model_warmup: bool = _flag(True, "replay a version's own requests before it serves")
    num_request_iterations_for_warmup: int = _flag(1, "how often each of them is replayed")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "let a new label name a version that is not available yet"
    )
    enable_signature_method_name_check: bool = _flag(
        False, "Classify and Regress: only signatures that were exported for them"
    )
    mixed_precision: str = _flag("", "bfloat16: the same as --precision=bf16")
    tensorflow_session_parallelism: int = _flag(0, "threads and streams; 0: automatic")
    tensorflow_intra_op_parallelism: int = _flag(0, "threads of the engine; 0: all processors")
    tensorflow_inter_op_parallelism: int = _flag(0, "requests computed side by side; 0: one")
    flush_filesystem_caches: bool = _flag(True, "drop what was read from the page cache")
    grpc_channel_arguments: str = _flag("", "options of gRPC: grpc.NAME=VALUE, with commas")
    version: bool = _flag(False, "print the version and leave")
    # SealServe's
    engine: str = _flag("openvino", "what computes: openvino, or tensorflow (an extra)")
    precision: str = _flag("f32", "f32; bf16, f16 and auto are faster and change answers")
    optimize_for: str = _flag("latency", "latency: one stream; throughput: one for each thread")
    processes: int = _flag(1, "processes that share the ports, each with its own models")
    tls_mode: str = _flag("", "what --ssl_config_file is to be for: oneway, mutual")
    log_format: str = _flag("", "text or json, a line for each event; text at a terminal alone")
    access_log: bool = _flag(False, "log every request, without what it holds")
    trace_endpoint: str = _flag("", "OTLP/HTTP collector for traces (an extra): https://HOST:PORT")
    trace_ca: str = _flag("", "the authority that signed its certificate, if no public one")
    shutdown_delay_seconds: int = _flag(0, "after SIGTERM: not ready, but serving, for so long")
    host: str = _flag("", "address to listen on; all, but loopback for plaintext")
    attest: bool = _flag(False, "get the wrap key by attestation")
    evidence_source: str = _flag(
        "gramine", "where quotes come from: gramine, tsm (a TDX guest), lab:SOCKET"
    )
    key_service: str = _flag("", "key service: HOST:PORT, or several with `;` between them")
    key_service_ca: str = _flag("", "the authority that signed the key service's certificate")
    key_service_name: str = _flag("", "the name to ask under, if not the host's")
    secret_name: str = _flag("", "the key by its name, in all its versions, with its record")
    key_service_timeout_seconds: int = _flag(120, "how long to ask for the key, over all tries")
    max_request_bytes: int = _flag(64 << 20, "largest request, and largest tensor in one")
    max_concurrent_requests: int = _flag(256, "requests at a time, on each of gRPC and REST")
    shutdown_timeout_seconds: int = _flag(20, "how long running requests may take after SIGTERM")
    dangerously_use_key_file: str = _flag("", "the wrap key from a file, attested by nothing")
    dangerously_serve_unsealed_models: bool = _flag(False, "serve without any key")
    dangerously_serve_plaintext: bool = _flag(False, "serve without TLS")
    dangerously_allow_reload_config: bool = _flag(False, "let clients replace the models served")


# Name, whether it takes a value, and why it means nothing here.
ACCEPTED: dict[str, tuple[type[object], str]] = {
    "rest_api_num_threads": (str, "REST runs in one event loop"),
    "grpc_max_threads": (str, "gRPC runs in one event loop"),
    "num_load_threads": (str, "versions are loaded one at a time, beside the event loop"),
    "num_unload_threads": (str, "versions are unloaded without a thread"),
    "per_process_gpu_memory_fraction": (str, "engines run on the CPU alone"),
    "remove_unused_fields_from_bundle_metagraph": (bool, "only signatures are kept"),
    "enable_serialization_as_tensor_content": (bool, "tensors are always sent so"),
    "enable_grpc_healthcheck_service": (bool, "the health service is always there"),
    "enable_profiler": (bool, "there is no profiler service"),
    "num_tflite_pools": (str, "there is no TensorFlow Lite"),
    "num_tflite_interpreters_per_pool": (str, "there is no TensorFlow Lite"),
    "xla_cpu_compilation_enabled": (
        bool,
        "OpenVINO compiles by itself, TensorFlow runs without XLA",
    ),
    "xla_gpu_compilation_enabled": (bool, "engines run on the CPU alone"),
    "skip_initialize_tpu": (bool, "there is no TPU"),
}
REFUSED: dict[str, str] = {
    "grpc_socket_path": "gRPC is served on a port alone",
    "rest_api_enable_cors_support": "browsers of other origins are not served",
    "use_alts_credentials": "TLS is configured by --ssl_config_file",
    "platform_config_file": "what computes is chosen by --engine",
    "tensorflow_session_config_file": (
        "sessions are set by --tensorflow_*_parallelism and --precision"
    ),
    "enable_per_model_batching_parameters": "--batching_parameters_file holds for all models",
    "prefer_tflite_model": "there is no TensorFlow Lite",
    "thread_pool_factory_config_file": "threads are set by --tensorflow_*_parallelism",
}

_TYPES: dict[str, Any] = get_type_hints(Flags)
_TRUE, _FALSE = ("true", "1"), ("false", "0")
_SMALLEST = {
    "rest_api_timeout_in_ms": 1,
    "max_request_bytes": 1,
    "max_concurrent_requests": 1,
    "processes": 1,
    "num_request_iterations_for_warmup": 1,
    "load_retry_interval_micros": -(2**63),  # below zero: no wait
}


def parse_flags(arguments: Sequence[str]) -> tuple[Flags, list[str]]:
    """The flags in `arguments`, and a sentence for each that is accepted without effect.

    Raises UsageError for what is unknown, malformed, refused or out of range.
    """
    values: dict[str, Any] = {}
    notes: list[str] = []
    waiting = list(arguments)
    while waiting:
        name, text = _split(waiting.pop(0))
        kind = _TYPES.get(name) or ACCEPTED.get(name, (str,))[0]
        if text is None and kind is not bool and waiting:
            text = waiting.pop(0)
        if name in REFUSED:
            _refuse(name, text)
        elif name in ACCEPTED:
            notes.append(f"--{name} has no effect: {ACCEPTED[name][1]}")
        elif name in _TYPES:
            values[name] = _value(name, kind, text)
        else:
            raise _unknown(name)
    return Flags(**values), list(dict.fromkeys(notes))


def flag_table() -> list[tuple[str, str, str]]:
    """Name, default and meaning of every flag that does something, for help and documentation."""
    return [
        (f.name, "" if f.default in ("", None) else str(f.default).lower(), f.metadata["help"])
        for f in dataclasses.fields(Flags)
    ]


def _split(argument: str) -> tuple[str, str | None]:
    if not argument.startswith("--") or argument == "--":
        raise UsageError(f"{argument!r} is no flag", hint="flags look like --name=value")
    name, equals, text = argument[2:].partition("=")
    return name.replace("-", "_"), text if equals else None


def _value(name: str, kind: Any, text: str | None) -> bool | int | str:
    if kind is bool:
        if text is None or text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise UsageError(f"--{name} is true or false, not {text!r}")
    if text is None:
        raise UsageError(f"--{name} needs a value", hint=f"--{name}=VALUE")
    return text if kind is str else _number(name, text)


def _number(name: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise UsageError(f"--{name} is a number, not {text!r}") from None
    if value < _SMALLEST.get(name, 0):
        raise UsageError(f"--{name} is at least {_SMALLEST.get(name, 0)}, not {value}")
    if name.endswith("port") and value > 0xFFFF:
        raise UsageError(f"--{name} is a port, not {value}")
    return value


def _refuse(name: str, text: str | None) -> None:
    if text is None or text.lower() not in ("", *_FALSE):  # switching off what is not there is fine
        raise UsageError(f"--{name} is not served: {REFUSED[name]}", hint="leave it out")


def _unknown(name: str) -> UsageError:
    near = difflib.get_close_matches(name, [*_TYPES, *ACCEPTED], n=1)
    return UsageError(
        f"there is no flag --{name}",
        hint=f"did you mean --{near[0]}?" if near else "see `sealserve serve --help`",
    )
