"""The plain processes of a composition: what each is started with, and how it says it is ready.

All servers of the lab have one quoting enclave, as on one machine of hardware. Servers behind nginx
listen on loopback, at ports that were free when they were chosen.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
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
    of the file that it reads again when it is told by SIGHUP.
    """

    name: str
    phase: int
    command: tuple[str, ...]
    folder: str
    ready: str
    address: str
    probe: Kind
    config: str = ""

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
    found = [*_lab(composition, state), *_owners(composition)]
    found += _servers(composition, state, port_of)
    if nginx is not None:
        found.append(
            _proxy(
                composition,
                state,
                nginx,
                [each.address for each in found[-composition.description.replicas :]],
            )
        )
    return tuple(found)


def _lab(composition: Composition, state: Path) -> list[Step]:
    """The quoting enclave, whose socket is in the state's folder."""
    if composition.lab is None:
        return []
    words = ("lab", "qe", str(composition.lab), "--run", _run(composition, state))
    folder = str(composition.folder)
    socket = str(state / "qe.sock")
    return [Step(QUOTING_ENCLAVE, 0, (*COMMAND, *words), folder, "listens at", socket, "unix")]


def _run(composition: Composition, state: Path) -> str:
    """From the enclave's folder, for a socket's path has at most 107 bytes."""
    return str(state.relative_to(composition.folder))


def _owners(composition: Composition) -> list[Step]:
    """The key service, and the collateral that it fetches from the lab."""
    service = composition.key_service
    if service is None:
        return []
    found = []
    if composition.lab is not None and service.pccs is not None:
        words = ("lab", "pccs", str(composition.lab), "--listen", str(service.pccs))
        folder = str(composition.folder)
        ready = "listens at http"
        address = str(service.pccs)
        found.append(Step(COLLATERAL, 0, (*COMMAND, *words), folder, ready, address, "tcp"))
    run = ("keyservice", "run", "--config", service.config)
    found.append(
        Step(
            KEY_SERVICE,
            1,
            (*COMMAND, *run),
            str(service.folder),
            "sealserve keyservice: ready on",
            str(_reached(service.listen)),
            "tcp",
        )
    )
    return found


def _servers(composition: Composition, state: Path, port_of: Callable[[str], int]) -> list[Step]:
    found = []
    for name in composition.servers:
        if composition.lab is None:
            server = program(composition.description)
            enclave = composition.enclave or composition.folder
            command: tuple[str, ...] = ("gramine-sgx", str(enclave / server.name))
            address = Address("127.0.0.1", composition.description.server.port)
        else:
            address = composition.listen
            if composition.has_proxy:
                address = Address("127.0.0.1", port_of(name))
            command = (*COMMAND, *_in_lab(composition, composition.lab, state, address))
        found.append(
            Step(
                name,
                2,
                command,
                str(composition.folder),
                SERVER_READY,
                str(_reached(address)),
                "tls",
            )
        )
    return found


def _in_lab(composition: Composition, lab: Path, state: Path, listen: Address) -> tuple[str, ...]:
    run = _run(composition, state)
    words = serve_arguments(
        composition.description, listen=listen, evidence_source=f"lab:{run}/qe.sock"
    )
    return ("lab", "enclave", str(lab), "--run", run, "--", *words)


def _proxy(composition: Composition, state: Path, nginx: Nginx, servers: list[str]) -> Step:
    replicas = tuple(map(parse_address, servers))
    edge = Edge(composition.listen, (Route(composition.description.domain, replicas),))
    folder = state / "nginx"
    return Step(
        PROXY,
        3,
        tuple(nginx.command(folder)),
        str(composition.folder),
        "",
        str(_reached(composition.listen)),
        "tls",
        render(edge, module=nginx.module, logs="output"),
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
