"""What is composed from one description: which services, with which arguments, in which order.

Servers' arguments are those of the manifest (`deploy.gramine.servers`), so that what runs in the
lab and what is measured on hardware cannot drift apart. Where to listen and where quotes come from
are the platform's choice and are put in here. The folder of the description's file is the enclave's
folder: all paths of the description count from there. Nothing here runs or writes anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sealserve.deploy.description.model import Description
from sealserve.deploy.gramine.servers import program
from sealserve.deploy.images.roles import SERVER, TENSORFLOW, Role
from sealserve.errors import ConfigError
from sealserve.hosts import Address, is_loopback, parse_address

Way = Literal["podman", "docker", "processes"]

PROXY: Final = "proxy"
KEY_SERVICE: Final = "keyservice"
QUOTING_ENCLAVE: Final = "qe"
COLLATERAL: Final = "pccs"
_CHOSEN_HERE: Final = ("--host=", "--port=", "--evidence_source=")


@dataclass(frozen=True, slots=True)
class KeyServiceFolder:
    """The folder of a key service that runs here too, and what its configuration says.

    `pccs` is where it fetches collateral, if that is to be served on this machine over HTTP.
    """

    folder: Path
    config: str
    listen: Address
    pccs: Address | None


@dataclass(frozen=True, slots=True)
class Composition:
    """A description, where it is, and what whoever runs it has chosen.

    `lab` is the folder of a simulated world, None on hardware; `enclave` the folder of a signed
    manifest, None where the image has it; `registry` stands before the images' names.
    """

    description: Description
    file: Path
    listen: Address
    lab: Path | None = None
    key_service: KeyServiceFolder | None = None
    enclave: Path | None = None
    registry: str = ""

    @property
    def folder(self) -> Path:
        """The enclave's folder."""
        return self.file.parent

    @property
    def project(self) -> str:
        """A name that no other description's on this machine has."""
        place = hashlib.sha256(str(self.file).encode()).hexdigest()[:8]
        return f"{self.description.cluster}-{place}"

    @property
    def simulated(self) -> bool:
        """Whether the lab stands in for the hardware."""
        return self.lab is not None

    @property
    def servers(self) -> tuple[str, ...]:
        """The names of the servers."""
        return tuple(f"server-{number}" for number in range(1, self.description.replicas + 1))

    @property
    def has_proxy(self) -> bool:
        """One server is reached itself."""
        return self.description.replicas > 1

    @property
    def role(self) -> Role:
        """What the servers are."""
        return SERVER if self.description.server.kind == "sealserve" else TENSORFLOW


def serve_arguments(
    description: Description, *, listen: Address, evidence_source: str
) -> tuple[str, ...]:
    """The words after `sealserve`, of our server outside Gramine."""
    words = program(description).arguments
    measured = [word for word in words[words.index("serve") :] if not word.startswith(_CHOSEN_HERE)]
    return (
        *measured,
        f"--host={listen.host}",
        f"--port={listen.port}",
        f"--evidence_source={evidence_source}",
    )


def needed_files(description: Description) -> tuple[str, ...]:
    """What a server reads, relative to the enclave's folder: folders of models, and files."""
    server = program(description)
    models = tuple(model.base_path for model in description.models)
    texts = tuple(name for name, _ in server.texts)
    return (*models, description.tls.config, description.key_service.ca, *texts)


def check(composition: Composition, way: Way) -> None:
    """Raise ConfigError for what cannot run so, with what to do."""
    _check_files(composition)
    if composition.simulated and composition.role is not SERVER:
        raise ConfigError(
            "the stock server runs in Gramine alone, and the lab has no Gramine",
            hint='kind = "sealserve" in [server], or run on SGX hardware without --lab',
        )
    if way == "processes" and not composition.simulated and composition.has_proxy:
        raise ConfigError(
            "the port of an enclave is measured, so two cannot listen on one machine as processes",
            hint="--with podman or docker, where each has a network of its own; or replicas = 1",
        )
    if way == "processes" and not composition.simulated:
        _check_enclave(composition)
    if composition.key_service is not None:
        _check_key_service(composition, composition.key_service, way)


def _check_files(composition: Composition) -> None:
    missing = [
        name
        for name in needed_files(composition.description)
        if not (composition.folder / name).exists()
    ]
    if missing:
        raise ConfigError(
            f"{composition.folder} has no {', '.join(missing)}",
            hint="the folder of the description is the enclave's: put the sealed models, the "
            "sealed ssl.cfg and the CA there; texts that are missing: sealserve gramine render",
        )


def _check_enclave(composition: Composition) -> None:
    """What Gramine starts on this very machine."""
    port = composition.description.server.port
    if composition.listen.port != port:
        raise ConfigError(
            f"the enclave listens on port {port}, which is measured, and not on "
            f"{composition.listen.port}",
            hint="leave --listen out, or describe another port",
        )
    name = program(composition.description).name
    folder = composition.enclave or composition.folder
    files = (f"{name}.manifest.sgx", f"{name}.sig")
    missing = [file for file in files if not (folder / file).exists()]
    if missing:
        raise ConfigError(
            f"{folder} has no {' and no '.join(missing)}",
            hint="sealserve gramine render, gramine-manifest, gramine-sgx-sign; then --enclave",
        )


def _check_key_service(composition: Composition, service: KeyServiceFolder, way: Way) -> None:
    asked = parse_address(composition.description.key_service.address)
    listen = service.listen
    if listen.port != asked.port:
        raise ConfigError(
            f"{service.folder / service.config} listens on port {listen.port}, and the "
            f"description asks {asked}",
            hint="the same port in both",
        )
    if way == "processes":
        return
    if is_loopback(listen.host) or is_loopback(asked.host):
        raise ConfigError(
            f"the key service listens on {listen} and is asked at {asked}: in containers, "
            "loopback is each container's own",
            hint='listen = "0.0.0.0:4433" in its configuration, and a name such as '
            "keys.example.com in the description, which the containers will know it by",
        )
    if asked.host in (*composition.servers, PROXY):
        raise ConfigError(f"{asked.host} is a name of another container", hint="another name")


def lines(composition: Composition) -> Iterable[tuple[str, str]]:
    """What a person is told of it, as names and values."""
    yield "project", composition.project
    yield "description", f"sha256 {composition.description.digest}"
    if composition.lab is not None:
        yield "hardware", f"SIMULATED by {composition.lab}"
    yield "clients connect to", f"{composition.listen}, as {composition.description.domain}"
