"""`compose.yaml` of a composition: the same description, choices and machine give the same bytes.

Every container has a read-only root, user 10001, no capability, no way to new privileges, bounds of
memory, processes and logs, a health check and a restart policy. What it publishes is on loopback
but for the one address that clients are given. Only the files that it needs are mounted, read-only
but for the key service's own folder; nothing is in its environment. Images are never pulled unless
a registry is named: a public registry would serve these names to whoever took them.

Written for Docker's compose, the older docker-compose from 1.29, which knows no `name`, and for
podman-compose from 1.0.3, which knows no aliases (so the key service goes by the name that the
description asks), no mapping in `depends_on`, and not `pids_limit`, which `engine.py` sets for it.
Source: compose-spec, `spec.md`; docker-compose 1.29.2, compose_spec.json; podman_compose.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sealserve.deploy.compose.hardware import Sgx
from sealserve.deploy.compose.plan import (
    KEY_SERVICE,
    PROXY,
    Composition,
    KeyServiceFolder,
    needed_files,
    serve_arguments,
)
from sealserve.deploy.description.model import size_in_mib
from sealserve.deploy.gramine.sizing import sizing
from sealserve.deploy.images import roles
from sealserve.deploy.images.roles import Role
from sealserve.deploy.nginx import Edge, render
from sealserve.deploy.nginx import Route as Edged
from sealserve.deploy.yaml_text import to_yaml
from sealserve.errors import UsageError
from sealserve.hosts import Address, parse_address

NAME_LABEL: Final = "io.sealserve.service"
PROJECT_LABEL: Final = "io.sealserve.project"
DIGEST_LABEL: Final = "io.sealserve.service-sha256"
STOP_SECONDS: Final = 45  # longer than a server takes to drain

_LAB_FOLDER: Final = f"{roles.CONFIG_FOLDER}/lab"
_LAB_RUN: Final = f"{roles.TEMPORARY_FOLDER}/qe"
_NGINX_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_stream_module.so")  # Debian's package
_OUTSIDE_MIB: Final = 1024  # beside the enclave: Gramine's host side, or in the lab the packages
_PATH: Final = re.compile(r"/[A-Za-z0-9/._+@=-]*")


def render_nginx(composition: Composition) -> str:
    """`nginx.conf` of the proxy's container."""
    port = composition.description.server.port
    replicas = tuple(Address(name, port) for name in composition.servers)
    route = Edged(composition.description.domain, replicas)
    edge = Edge(Address("0.0.0.0", port), (route,))  # noqa: S104  # of the container alone
    return render(edge, module=_NGINX_MODULE, logs="output")


def compose_document(composition: Composition, sgx: Sgx | None, *, state: Path) -> dict[str, Any]:
    """What `compose.yaml` says; `state` is the folder of what is written beside it.

    `sgx` is None where the composition has a lab. Raises UsageError for paths that a compose file
    cannot name, ConfigError for an enclave that is too large.
    """
    services: dict[str, Any] = {}
    depends: list[str] = []
    if (service := composition.key_service) is not None:
        name = parse_address(composition.description.key_service.address).host
        services[name] = _key_service(composition, service)
        depends = [name]
    for name in composition.servers:
        services[name] = _server(composition, sgx, name, depends)
    if composition.has_proxy:
        services[PROXY] = _proxy(composition, state)
    network = {"name": composition.project, "labels": {PROJECT_LABEL: composition.project}}
    return {
        "services": {
            name: _sealed(each, composition.description.digest) for name, each in services.items()
        },
        "networks": {"inner": network},
        "x-podman": {"in_pod": False},
    }


def compose_text(composition: Composition, document: Mapping[str, Any]) -> str:
    """The text of `compose.yaml`."""
    return f"{_head(composition)}{to_yaml(document)}"


def _head(composition: Composition) -> str:
    lines = [
        f"# {composition.description.cluster}, made by SealServe; edit the description instead.",
        f"# Description: sha256 {composition.description.digest}",
    ]
    if composition.simulated:
        lines.append("# SIMULATED: a lab stands in for SGX; nobody vouches for any enclave here.")
    return "".join(f"{line}\n" for line in lines)


def _server(
    composition: Composition, sgx: Sgx | None, name: str, depends: list[str]
) -> dict[str, Any]:
    description = composition.description
    port = description.server.port
    mounts = [
        _mount(composition.folder / each, f"{roles.WORK_FOLDER}/{each}")
        for each in needed_files(description)
    ]
    service: dict[str, Any] = {}
    if composition.lab is not None:
        listen = Address("0.0.0.0", port)  # noqa: S104  # of the container alone
        source = f"lab:{_LAB_RUN}/qe.sock"
        words = serve_arguments(description, listen=listen, evidence_source=source)
        mounts.append(_mount(composition.lab, _LAB_FOLDER))
        service["command"] = ["lab", "enclave", _LAB_FOLDER, "--qe", _LAB_RUN, "--", *words]
    else:
        sgx = sgx or Sgx()
        service["entrypoint"] = list(composition.role.gramine_entrypoint)
        service["devices"] = [f"{device}:{device}" for device in sgx.devices]
        service["group_add"] = [str(group) for group in sgx.groups]
        mounts.append(_mount(Path(sgx.aesm), sgx.aesm))
        if composition.enclave is not None:
            mounts.append(_mount(composition.enclave, roles.ENCLAVE_FOLDER))
    size = sizing(description)
    return {
        **_common(composition, composition.role, name),
        **service,
        "working_dir": roles.WORK_FOLDER,
        **_bounds(size_in_mib(size.size) + _OUTSIDE_MIB, size.threads + 256),
        "ports": [_own_port(port)] if composition.has_proxy else [_clients_port(composition)],
        "volumes": mounts,
        "healthcheck": _healthcheck(port, start_seconds=600),
        **({"depends_on": depends} if depends else {}),
    }


def _key_service(composition: Composition, service: KeyServiceFolder) -> dict[str, Any]:
    port = service.listen.port
    return {
        **_common(composition, roles.KEY_SERVICE, KEY_SERVICE),
        "command": ["keyservice", "run", "--config", f"{roles.STATE_FOLDER}/{service.config}"],
        "working_dir": roles.STATE_FOLDER,
        **_bounds(1024, 256),
        "ports": [_own_port(port)],
        "volumes": [_mount(service.folder, roles.STATE_FOLDER, read_only=False)],
        "healthcheck": _healthcheck(port, start_seconds=60),
    }


def _proxy(composition: Composition, state: Path) -> dict[str, Any]:
    port = composition.description.server.port
    service = _common(composition, roles.PROXY, PROXY)
    digest = hashlib.sha256(render_nginx(composition).encode()).hexdigest()
    service["labels"]["io.sealserve.nginx-sha256"] = digest
    return {
        **service,
        **_bounds(256, 64),
        "ports": [_clients_port(composition)],
        "volumes": [_mount(state / "nginx.conf", f"{roles.CONFIG_FOLDER}/nginx.conf")],
        "healthcheck": _healthcheck(port, start_seconds=60),
        "depends_on": list(composition.servers),
    }


def _common(composition: Composition, role: Role, name: str) -> dict[str, Any]:
    return {
        "image": f"{composition.registry}{role.reference()}",
        **({} if composition.registry else {"pull_policy": "never"}),
        "container_name": f"{composition.project}-{name}",
        "user": f"{roles.USER_ID}:{roles.USER_ID}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": [f"{roles.TEMPORARY_FOLDER}:rw,noexec,nosuid,nodev,size=256m,mode=1777"],
        "restart": "unless-stopped",
        "stop_grace_period": f"{STOP_SECONDS}s",
        "logging": {"driver": "json-file", "options": {"max-size": "10m"}},
        "networks": ["inner"],
        "labels": {
            NAME_LABEL: name,
            PROJECT_LABEL: composition.project,
            **({"io.sealserve.simulated": "true"} if composition.simulated else {}),
        },
    }


def _sealed(service: dict[str, Any], description_sha256: str) -> dict[str, Any]:
    """The service with its own digest, by which it is seen to be as it should.

    The description's is not part of it: what another service is described by changes nothing here.
    """
    digest = hashlib.sha256(json.dumps(service).encode()).hexdigest()
    labels = {roles.DESCRIPTION_LABEL: description_sha256, DIGEST_LABEL: digest}
    return {**service, "labels": {**service["labels"], **labels}}


def service_digests(document: Mapping[str, Any]) -> dict[str, str]:
    """Each service's digest by its container's name."""
    return {
        str(each["container_name"]): str(each["labels"][DIGEST_LABEL])
        for each in document["services"].values()
    }


def _bounds(mebibytes: int, processes: int) -> dict[str, Any]:
    return {"mem_limit": f"{mebibytes}m", "pids_limit": processes}


def _healthcheck(port: int, *, start_seconds: int) -> dict[str, Any]:
    """A connection: nothing listens before models are loaded. Whether it serves, `status` asks."""
    return {
        "test": ["CMD-SHELL", f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"],
        "interval": "10s",
        "timeout": "5s",
        "retries": 3,
        "start_period": f"{start_seconds}s",
    }


def _clients_port(composition: Composition) -> str:
    return f"{composition.listen}:{composition.description.server.port}"


def _own_port(port: int) -> str:
    """On loopback, at a port that the engine chooses, for `sealserve status`."""
    return f"127.0.0.1::{port}"


def _mount(source: Path, target: str, *, read_only: bool = True) -> str:
    if not _PATH.fullmatch(str(source)):
        raise UsageError(
            f"{str(source)!r} cannot be named in a compose file",
            hint="a path of letters, digits and ._+@=-",
        )
    return f"{source}:{target}" + (":ro" if read_only else "")
