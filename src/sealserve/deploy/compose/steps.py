"""The plain processes of a composition: what each is started with, and how it says it is ready.

All servers of the lab have one quoting enclave, as on one machine of hardware. Servers behind nginx
listen on loopback, at ports that were free when they were chosen.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sealserve.deploy.compose.plan import (
    COLLATERAL,
    KEY_SERVICE,
    PROXY,
    QUOTING_ENCLAVE,
    Composition,
    serve_arguments,
)
from sealserve.deploy.compose.probe import Kind
from sealserve.deploy.gramine.servers import program
from sealserve.deploy.nginx import Edge, Nginx, Route, find_nginx, render, require_stream
from sealserve.errors import ConfigError
from sealserve.hosts import Address, parse_address

COMMAND: Final = (sys.executable, "-m", "sealserve")
SERVER_READY: Final = "Entering the event loop"  # the stock server's words, and ours


@dataclass(frozen=True, slots=True)
class Step:
    """One process; those of a lower `phase` are ready before it is started.

    `ready` is what it prints then; empty where an answer at `address` says so. `config` is the text
    of the file that it reads again when it is told by SIGHUP. It ends with the process that it is
    `bound_to`.
    """

    name: str
    phase: int
    command: tuple[str, ...]
    folder: str
    ready: str
    address: str
    probe: Kind
    config: str = ""
    bound_to: str = ""

    @property
    def digest(self) -> str:
        """Of what cannot be changed while it runs."""
        text = json.dumps([self.command, self.folder])
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Step:
        """What `to_json` gave."""
        return cls(**{**values, "command": tuple(values["command"])})


def steps(composition: Composition, state: Path, port_of: Callable[[str], int]) -> tuple[Step, ...]:
    """All processes, in the order of their start; `port_of` gives a server behind nginx its port.

    Raises ConfigError where nginx is needed and not to be had.
    """
    nginx = _nginx() if composition.has_proxy else None
    servers = _servers(composition, state, port_of)
    found = [*_lab(composition, state), *_key_service(composition), *servers]
    if nginx is not None:
        found.append(_proxy(composition, state, nginx, servers))
    return tuple(found)


def _lab(composition: Composition, state: Path) -> list[Step]:
    """The quoting enclave, and the collateral that a key service here fetches from the lab."""
    if composition.lab is None:
        return []
    lab = str(composition.lab)
    quoting = Step(
        QUOTING_ENCLAVE,
        phase=0,
        command=(*COMMAND, "lab", "qe", lab, "--run", _run(composition, state)),
        folder=str(composition.folder),
        ready="listens at",
        address=str(state / "qe.sock"),
        probe="unix",
    )
    service = composition.key_service
    if service is None or service.pccs is None:
        return [quoting]
    address = str(service.pccs)
    collateral = Step(
        COLLATERAL,
        phase=0,
        command=(*COMMAND, "lab", "pccs", lab, "--listen", address),
        folder=str(composition.folder),
        ready="listens at http",
        address=address,
        probe="tcp",
    )
    return [quoting, collateral]


def _key_service(composition: Composition) -> list[Step]:
    service = composition.key_service
    if service is None:
        return []
    step = Step(
        KEY_SERVICE,
        phase=1,
        command=(*COMMAND, "keyservice", "run", "--config", service.config),
        folder=str(service.folder),
        ready="sealserve keyservice: ready on",
        address=str(_reached(service.listen)),
        probe="tcp",
    )
    return [step]


def _servers(composition: Composition, state: Path, port_of: Callable[[str], int]) -> list[Step]:
    found = []
    for name in composition.servers:
        address = composition.listen
        if composition.has_proxy:
            address = Address("127.0.0.1", port_of(name))
        found.append(
            Step(
                name,
                phase=2,
                command=_server(composition, state, address),
                folder=str(composition.folder),
                ready=SERVER_READY,
                address=str(_reached(address)),
                probe="tls",
                bound_to=QUOTING_ENCLAVE if composition.simulated else "",
            )
        )
    return found


def _server(composition: Composition, state: Path, listen: Address) -> tuple[str, ...]:
    if composition.lab is None:
        enclave = composition.enclave or composition.folder
        return ("gramine-sgx", str(enclave / program(composition.description).name))
    run = _run(composition, state)
    words = serve_arguments(
        composition.description, listen=listen, evidence_source=f"lab:{run}/qe.sock"
    )
    return (*COMMAND, "lab", "enclave", str(composition.lab), "--run", run, "--", *words)


def _run(composition: Composition, state: Path) -> str:
    """From the enclave's folder, for a socket's path has at most 107 bytes."""
    return str(state.relative_to(composition.folder))


def _proxy(composition: Composition, state: Path, nginx: Nginx, servers: Sequence[Step]) -> Step:
    replicas = tuple(parse_address(each.address) for each in servers)
    edge = Edge(composition.listen, (Route(composition.description.domain, replicas),))
    return Step(
        PROXY,
        phase=3,
        command=tuple(nginx.command(state / "nginx")),
        folder=str(composition.folder),
        ready="",
        address=str(_reached(composition.listen)),
        probe="tls",
        config=render(edge, module=nginx.module, logs="output"),
    )


def _nginx() -> Nginx:
    nginx = find_nginx()
    if nginx is None:
        raise ConfigError(
            "more than one replica needs nginx before them, and there is none",
            hint="on Debian and Ubuntu: apt-get install nginx-light libnginx-mod-stream; "
            "or replicas = 1",
        )
    require_stream(nginx)
    return nginx


def _reached(address: Address) -> Address:
    """Where one that listens on all addresses is reached from here."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    return Address(host, address.port)
