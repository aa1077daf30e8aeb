"""From flags to what the parts of the server take; and which flags do not go together.

Fail closed: TLS, a sealed model and an attested key are the normal case, and leaving one out takes
a flag that says so. Nothing here opens a file.
"""

from __future__ import annotations

from pathlib import Path

from sealserve.attester.messages import NAME
from sealserve.errors import UsageError
from sealserve.hosts import parse_host
from sealserve.logline import LogForm
from sealserve.serving.capacity import Capacity, available_processors, plan
from sealserve.serving.engine import Precision
from sealserve.serving.faces.grpc import GrpcSettings
from sealserve.serving.faces.rest import RestSettings
from sealserve.serving.flags import Flags
from sealserve.serving.life.lifecycle import Pace
from sealserve.serving.life.warmup import WarmUp
from sealserve.serving.opening.keys import Attestation
from sealserve.serving.watching.collector import collector_url
from sealserve.serving.watching.tracing import require_packages

ALL_ADDRESSES = "0.0.0.0"  # noqa: S104  # TensorFlow Serving's; TLS is on
LOOPBACK = "127.0.0.1"
ENGINES = ("openvino", "tensorflow")
TLS_MODES = ("oneway", "mutual")


def check(flags: Flags) -> None:
    """UsageError for flags that contradict each other, or leave open what must be decided."""
    if not flags.model_base_path and not flags.model_config_file:
        raise UsageError("which model? name --model_base_path or --model_config_file")
    if flags.batching_parameters_file and not flags.enable_batching:
        raise UsageError("--batching_parameters_file is set without --enable_batching")
    if flags.monitoring_config_file and flags.rest_api_port is None:
        raise UsageError("--monitoring_config_file needs --rest_api_port: metrics are told there")
    if flags.port and flags.port == flags.rest_api_port:
        raise UsageError("--port and --rest_api_port are the same")
    if flags.dangerously_allow_reload_config and flags.processes > 1:
        raise UsageError(
            "--dangerously_allow_reload_config needs --processes=1: a request reaches one of them"
        )
    _check_key(flags)
    _check_transport(flags)
    _check_tls_mode(flags)
    # What these raise is known now, not after a key has been asked for.
    host(flags)
    engine(flags)
    precision(flags)
    capacity(flags)
    grpc_settings(flags)
    log_form(flags)
    _check_tracing(flags)


def log_form(flags: Flags) -> LogForm | None:
    """How the log is written; None: as fits who reads it."""
    try:
        return LogForm(flags.log_format) if flags.log_format else None
    except ValueError:
        known = " or ".join(LogForm)
        raise UsageError(f"--log_format is {known}, not {flags.log_format!r}") from None


def attestation(flags: Flags) -> Attestation:
    """How to get keys, for flags with --attest."""
    return Attestation(
        evidence_source=flags.evidence_source,
        key_service=flags.key_service,
        ca_file=Path(flags.key_service_ca),
        server_name=flags.key_service_name or None,
        secret_name=flags.secret_name or None,
        timeout=flags.key_service_timeout_seconds,
    )


def host(flags: Flags) -> str:
    """Where to listen, in canonical form: plaintext on loopback unless a host is named."""
    automatic = LOOPBACK if flags.dangerously_serve_plaintext else ALL_ADDRESSES
    return parse_host(flags.host) if flags.host else automatic


def engine(flags: Flags) -> str:
    """The engine's name; UsageError for one that there is not."""
    if flags.engine not in ENGINES:
        raise UsageError(f"--engine is one of {', '.join(ENGINES)}, not {flags.engine!r}")
    return flags.engine


def precision(flags: Flags) -> Precision:
    """What to compute in; UsageError for what there is not, or for two that contradict."""
    if flags.mixed_precision not in ("", "bfloat16"):
        raise UsageError(f"--mixed_precision is bfloat16, not {flags.mixed_precision!r}")
    asked = "bf16" if flags.mixed_precision and flags.precision == "f32" else flags.precision
    if flags.mixed_precision and asked != "bf16":
        raise UsageError("--precision and --mixed_precision contradict each other")
    try:
        return Precision(asked)
    except ValueError:
        known = ", ".join(Precision)
        raise UsageError(f"--precision is one of {known}, not {asked!r}") from None


def capacity(flags: Flags) -> Capacity:
    """Threads and streams of the engine on this machine."""
    return plan(
        max(1, available_processors() // flags.processes),  # that every process may have
        session=flags.tensorflow_session_parallelism,
        intra_op=flags.tensorflow_intra_op_parallelism,
        inter_op=flags.tensorflow_inter_op_parallelism,
        optimize_for=flags.optimize_for,
    )


def pace(flags: Flags) -> Pace:
    """How often to look for versions and to try again."""
    return Pace(
        poll=flags.file_system_poll_wait_seconds,
        retries=flags.max_num_load_retries,
        retry_interval=max(flags.load_retry_interval_micros, 0) / 1e6,
    )


def warm_up(flags: Flags) -> WarmUp | None:
    """How versions are warmed up; None: they are not."""
    if not flags.enable_model_warmup:
        return None
    return WarmUp(flags.num_request_iterations_for_warmup, flags.max_request_bytes)


def tags(flags: Flags) -> list[str]:
    """The tags of the meta graph to serve."""
    return [tag for tag in flags.saved_model_tags.split(",") if tag]


def rest_settings(flags: Flags) -> RestSettings:
    """Limits of the REST server."""
    return RestSettings(
        max_body_bytes=flags.max_request_bytes,
        max_concurrent=flags.max_concurrent_requests,
        timeout=flags.rest_api_timeout_in_ms / 1e3,
    )


def grpc_settings(flags: Flags) -> GrpcSettings:
    """Limits of the gRPC face and its channel arguments; UsageError for malformed ones."""
    return GrpcSettings(
        max_request_bytes=flags.max_request_bytes,
        max_concurrent=flags.max_concurrent_requests,
        shared_port=flags.processes > 1,
        options=[_channel_argument(a) for a in flags.grpc_channel_arguments.split(",") if a],
    )


def _check_key(flags: Flags) -> None:
    sources = {
        "--attest": flags.attest,
        "--dangerously_use_key_file": bool(flags.dangerously_use_key_file),
        "--dangerously_serve_unsealed_models": flags.dangerously_serve_unsealed_models,
    }
    chosen = [name for name, given in sources.items() if given]
    if len(chosen) != 1:
        raise UsageError(
            f"{' and '.join(chosen)} contradict each other" if chosen else "where is the key?",
            hint="one of --attest (with --key_service and --key_service_ca), "
            "--dangerously_use_key_file FILE, --dangerously_serve_unsealed_models",
        )
    service = (flags.key_service, flags.key_service_ca, flags.key_service_name, flags.secret_name)
    if flags.attest and not (flags.key_service and flags.key_service_ca):
        raise UsageError("--attest needs --key_service and --key_service_ca")
    if any(service) and not flags.attest:
        raise UsageError("a key service is named, but --attest is not given")
    if flags.secret_name and not NAME.fullmatch(flags.secret_name):
        raise UsageError(f"--secret_name: {flags.secret_name!r} is no name of a secret")


def _check_tracing(flags: Flags) -> None:
    if flags.trace_endpoint:
        collector_url(flags.trace_endpoint)
        require_packages()
    elif flags.trace_ca:
        raise UsageError("--trace_ca is set without --trace_endpoint")


def _check_transport(flags: Flags) -> None:
    plaintext = flags.dangerously_serve_plaintext
    if bool(flags.ssl_config_file) == plaintext:
        raise UsageError(
            "--ssl_config_file and --dangerously_serve_plaintext contradict each other"
            if plaintext
            else "no --ssl_config_file: requests and answers would be open to the network",
            hint="`sealserve tls twoway DOMAIN CLIENT` makes ssl.cfg; "
            "for trying out: --dangerously_serve_plaintext, on loopback",
        )
    if plaintext and flags.attest:
        raise UsageError("an attested server does not serve plaintext: name --ssl_config_file")


def _check_tls_mode(flags: Flags) -> None:
    if flags.tls_mode and flags.tls_mode not in TLS_MODES:
        known = " or ".join(TLS_MODES)
        raise UsageError(f"--tls_mode is {known}, not {flags.tls_mode!r}")
    if flags.tls_mode and flags.dangerously_serve_plaintext:
        raise UsageError("--tls_mode and --dangerously_serve_plaintext contradict each other")


def _channel_argument(text: str) -> tuple[str, int | str]:
    name, equals, value = text.partition("=")
    if not equals or not name.startswith("grpc."):
        raise UsageError(
            f"--grpc_channel_arguments: {text!r} is no argument of gRPC",
            hint="grpc.NAME=VALUE, with commas in between",
        )
    return name, int(value) if value.lstrip("-").isdecimal() else value
