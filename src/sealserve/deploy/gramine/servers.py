"""What each server is told in its enclave: arguments, environment, files.

All of it is measured, so the host can choose none. The stock server is given its key before it
starts, by Gramine's library (`secret_prov_attest.c`), and Gramine opens sealed files for it. Ours
asks for the key itself and opens sealed files in memory, so what Gramine sees of them is the sealed
bytes, which are measured like the rest. Flags: docs/serving.md; TensorFlow Serving 2.20, `main.cc`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sealserve.deploy.description.model import Description, Model
from sealserve.deploy.gramine.sizing import grpc_threads

BINARY: Final = "/usr/bin/tensorflow_model_server"
MODELS_CONFIG: Final = "config/models.config"
BATCHING_CONFIG: Final = "config/batching.config"
ATTESTING: Final = (
    "--attest",
    "--evidence_source",
    "--key_service",
    "--key_service_ca",
    "--secret_name",
)
"""The flags by which our server gets its key."""
PROVISIONING: Final = (
    "LD_PRELOAD",
    "SECRET_PROVISION_CONSTRUCTOR",
    "SECRET_PROVISION_SET_KEY",
    "SECRET_PROVISION_SERVERS",
    "SECRET_PROVISION_CA_CHAIN_PATH",
)
"""The variables by which Gramine's library gets the stock server's key."""
GRACE_MS: Final = 30_000  # for calls of a connection that has become too old
_LIBRARIES: Final = "/lib:{{ arch_libdir }}:/usr{{ arch_libdir }}"


@dataclass(frozen=True, slots=True)
class Program:
    """A program in an enclave; values may hold Jinja's tags, and paths are relative to its folder.

    `encrypted` and `trusted` are files or, with a slash at the end, folders; `texts` are the files
    to write for it, by name, and `to_seal` those of them that it takes sealed alone.
    """

    name: str
    entrypoint: str
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    encrypted: tuple[str, ...]
    trusted: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]
    to_seal: tuple[str, ...] = ()


def program(description: Description) -> Program:
    """The program of the description's kind."""
    stock = description.server.kind == "tensorflow-serving"
    return _stock(description) if stock else _ours(description)


def seal_format(description: Description) -> str:
    """The format of sealed files that will be opened: Gramine before 1.9 reads the first alone."""
    stock = description.server.kind == "tensorflow-serving"
    return "v1" if stock and description.gramine.version != "1.9" else "v2"


def _stock(description: Description) -> Program:
    threads = description.server.threads
    service = description.key_service
    texts = []
    arguments = [f"--port={description.server.port}", "--rest_api_port=0"]
    if len(description.models) > 1:
        texts.append((MODELS_CONFIG, _models_config(description, "/")))
        arguments.append(f"--model_config_file=/{MODELS_CONFIG}")
    else:
        arguments += _one_model(description.models[0], "/")
    if description.server.batching:
        texts.append((BATCHING_CONFIG, f"num_batch_threads {{ value: {threads} }}\n"))
        arguments += ["--enable_batching=true", f"--batching_parameters_file=/{BATCHING_CONFIG}"]
    return Program(
        name="tensorflow_model_server",
        entrypoint=BINARY,
        arguments=(
            "tensorflow_model_server",
            *arguments,
            f"--ssl_config_file=/{description.tls.config}",
            f"--tensorflow_intra_op_parallelism={threads}",
            f"--tensorflow_inter_op_parallelism={threads}",
            f"--grpc_max_threads={grpc_threads(description)}",
            "--flush_filesystem_caches=false",
            *_connections(description),
        ),
        environment=(
            ("LD_LIBRARY_PATH", _LIBRARIES),
            ("LD_PRELOAD", "libsecret_prov_attest.so"),
            ("SECRET_PROVISION_CONSTRUCTOR", "1"),
            ("SECRET_PROVISION_SET_KEY", description.key),
            ("SECRET_PROVISION_SERVERS", service.address),
            ("SECRET_PROVISION_CA_CHAIN_PATH", f"/{service.ca}"),
            ("MALLOC_ARENA_MAX", "1"),
        ),
        encrypted=(*_folders(description), description.tls.config),
        trusted=(service.ca, *(name for name, _ in texts)),
        texts=tuple(texts),
    )


def _ours(description: Description) -> Program:
    threads = description.server.threads
    service = description.key_service
    texts = []
    arguments = [f"--port={description.server.port}"]
    if len(description.models) > 1:
        texts.append((MODELS_CONFIG, _models_config(description, "")))
        arguments.append(f"--model_config_file={MODELS_CONFIG}")
    else:
        arguments += _one_model(description.models[0], "")
    if description.server.batching:
        arguments.append("--enable_batching")
    names = tuple(name for name, _ in texts)
    return Program(
        name="sealserve",
        entrypoint="{{ entrypoint }}",
        arguments=(
            *("{{ entrypoint }}", "-s", "-P", "-B", "-m", "sealserve", "serve"),
            *arguments,
            f"--ssl_config_file={description.tls.config}",
            f"--tls_mode={description.tls.mode}",
            "--attest",
            "--evidence_source=gramine",
            f"--key_service={service.address}",
            f"--key_service_ca={service.ca}",
            f"--secret_name={description.key}",
            f"--tensorflow_intra_op_parallelism={threads}",
            "--tensorflow_inter_op_parallelism=1",
            "--file_system_poll_wait_seconds=0",
            *_connections(description),
        ),
        environment=(
            ("LD_LIBRARY_PATH", _LIBRARIES),
            ("PYTHONPATH", "{{ packages | default('') }}"),
            ("HOME", "/tmp"),  # noqa: S108  # the enclave's own memory
            ("MALLOC_ARENA_MAX", "1"),
        ),
        encrypted=(),
        trusted=(service.ca, *_folders(description), description.tls.config, *names),
        texts=tuple(texts),
        to_seal=names,
    )


def _connections(description: Description) -> list[str]:
    """A bound on connections' age, by which balancers get to choose again; calls may still end."""
    age = description.server.connection_age
    arguments = (
        f"grpc.max_connection_age_ms={1000 * age},grpc.max_connection_age_grace_ms={GRACE_MS}"
    )
    return [f"--grpc_channel_arguments={arguments}"] if age else []


def _folders(description: Description) -> list[str]:
    return [f"{model.base_path}/" for model in description.models]


def _one_model(model: Model, root: str) -> list[str]:
    return [f"--model_name={model.name}", f"--model_base_path={root}{model.base_path}"]


def _models_config(description: Description, root: str) -> str:
    entries = "".join(
        f'  config {{ name: "{model.name}" base_path: "{root}{model.base_path}" '
        'model_platform: "tensorflow" }\n'
        for model in description.models
    )
    return f"model_config_list {{\n{entries}}}\n"
