"""A whole service in containers: the lab's hardware, a key service, two servers, nginx, clients.

What the owner does is done on this host by the real commands; everything else runs in the images,
on a network that leads nowhere. Each server's container is a machine of its own: it brings the
quoting enclave along that launches the one enclave in it, and reads the lab's world alone. The
collateral service stands beside the key service, on the loopback address that both share, since it
speaks plain HTTP.
"""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from podman_host import LIMITS, RUN_SECONDS, STRICT, Podman
from sealserve.deploy.images.roles import CONFIG_FOLDER, STATE_FOLDER, WORK_FOLDER
from sealserve.deploy.nginx import Edge, Route, render
from sealserve.hosts import Address
from sealserve.models.digits import held_out

DOMAIN = "grpc.tf-serving.service.com"
KEY_SERVICE = "keys.sealserve.test"
MODEL = "digits"
NETWORK = "sealserve-test"
EDGE_PORT = 8443
LAB = f"{CONFIG_FOLDER}/lab"
QE = "/tmp/qe"
MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")  # Debian's and Ubuntu's place
READY_SECONDS = 120.0
# The key service and its collateral service, the edge, two servers, and who else asks.
PLACES = {"keys": 10, "edge": 11, "server-1": 21, "server-2": 22, "other": 29}

SERVER = (
    "serve",
    *("--host=0.0.0.0", "--port=8500", "--rest_api_port=8501"),
    *(f"--model_name={MODEL}", f"--model_base_path=models/{MODEL}", "--ssl_config_file=ssl.cfg"),
    *("--attest", f"--evidence_source=lab:{QE}/qe.sock"),
    *(f"--key_service={KEY_SERVICE}:4433", "--key_service_ca=key-service-ca.pem"),
)


@dataclass
class Site:
    """The folders of the parties, and the images by role."""

    podman: Podman
    images: Mapping[str, str]
    folder: Path
    network: IPv4Network | None = None
    started: list[str] = field(default_factory=list)

    @property
    def owner(self) -> Path:
        return self.folder / "owner"

    @property
    def keys(self) -> Path:
        """What is mounted into the key service's container as its configuration."""
        return self.folder / "keys"

    @property
    def platform(self) -> Path:
        """The enclave's folder, which every server's container mounts."""
        return self.folder / "platform"

    @property
    def client(self) -> Path:
        return self.folder / "client"

    @property
    def world(self) -> Path:
        """The lab's, as the images' user may read it."""
        return self.folder / "world"

    def address(self, place: str) -> str:
        assert self.network is not None
        return str(IPv4Address(int(self.network.network_address) + PLACES[place]))

    def do(self, *words: str, folder: Path) -> str:
        """A command of the owner's, on this host."""
        command = [sys.executable, "-m", "sealserve", *words]
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
        assert ended.returncode == 0, f"sealserve {' '.join(words)}\n{ended.stderr}"
        return ended.stdout

    def container(self, place: str, *, name: str | None = None) -> list[str]:
        """The options of every container that is on the network."""
        at = ["--network", NETWORK, "--ip", self.address(place)]
        hosts = ["--add-host", f"{KEY_SERVICE}:{self.address('keys')}"]
        named = ["--name", name, "--detach"] if name else ["--rm"]
        return ["run", *named, *STRICT, *LIMITS, *at, *hosts]

    def start(self, name: str, words: list[str], ready: str) -> None:
        """Start a container that goes on, and wait for `ready` in what it prints."""
        self.podman.run(*words)
        self.started.append(name)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            told = self.podman.run("logs", name, check=False)
            text = told.stdout + told.stderr
            if ready in text:
                return
            state = self.podman.run("inspect", "--format", "{{.State.Status}}", name).stdout
            assert state.strip() == "running", f"{name} ended:\n{text}"
            assert time.monotonic() < deadline, f"{name} is not ready:\n{text}"
            time.sleep(0.2)

    def serve(self, name: str, *more: str) -> list[str]:
        """The command line of a server's machine; `more` are arguments of its enclave's."""
        place = name if name in PLACES else "other"
        return [
            *self.container(place, name=name),
            *("--volume", f"{self.platform}:{WORK_FOLDER}:ro"),
            *("--volume", f"{self.world}:{LAB}:ro", self.images["server"]),
            *("lab", "enclave", LAB, "--qe", QE, "--", *SERVER, *more),
        ]

    def ask(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command in a client's container, which has the client's folder alone."""
        mount = ["--volume", f"{self.client}:{CONFIG_FOLDER}:ro", "--workdir", CONFIG_FOLDER]
        command = [*self.container("other"), *mount, self.images["client"], *words]
        return self.podman.run(*command, check=check)

    def keyservice(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of the owner's in the key service's container, beside the service."""
        command = ["exec", "keyservice", "sealserve", *words]
        return self.podman.run(
            *command, "--config", f"{CONFIG_FOLDER}/keyservice.toml", check=check
        )


def prepare(site: Site) -> None:
    """The owner's work: model, TLS, keys, sealed files; and the lab's world."""
    for folder in (site.owner, site.keys, site.platform, site.client):
        folder.mkdir()
    site.do("lab", "init", "lab", folder=site.folder)
    site.do("model", "digits", "--out", f"models/{MODEL}", folder=site.owner)
    site.do("tls", "oneway", DOMAIN, folder=site.owner)
    site.do("tls", "oneway", KEY_SERVICE, "--out", "key-service", folder=site.owner)
    site.do("key", "new", "wrap.key", folder=site.owner)
    for source, target in (("models", "models"), ("ssl_configure/ssl.cfg", "ssl.cfg")):
        words = ("seal", "-w", "../owner/wrap.key", "-i", f"../owner/{source}", "-o", target)
        site.do(*words, folder=site.platform)
    served = site.owner / "key-service" / "server"
    shutil.copy(served / "cert.pem", site.platform / "key-service-ca.pem")
    shutil.copy(site.owner / "ssl_configure" / "server" / "cert.pem", site.client / "ca.pem")
    shutil.copytree(site.folder / "lab" / "collateral", site.client / "collateral")
    shutil.copy(site.folder / "lab" / "root_ca.pem", site.client / "root_ca.pem")
    shutil.copytree(served, site.keys / "tls")
    shutil.copy(site.folder / "lab" / "root_ca.pem", site.keys / "root_ca.pem")
    shutil.copy(site.owner / "wrap.key", site.keys / "digits.key")
    images, labels = held_out()
    (site.client / "images.json").write_text(json.dumps(images.tolist()))
    (site.client / "labels.json").write_text(json.dumps(labels.tolist()))
    shutil.copytree(site.folder / "lab", site.world)
    site.podman.give(site.world)


def make_network(site: Site) -> None:
    """A network of the containers' own, from which no way leads out."""
    site.podman.run("network", "create", "--internal", "--disable-dns", NETWORK)
    found = json.loads(site.podman.run("network", "inspect", NETWORK).stdout)[0]
    site.network = IPv4Network(found["subnets"][0]["subnet"])


def measure(site: Site) -> str:
    """What the server in its image measures, in hex."""
    told = site.podman.run(
        *("run", "--rm", *STRICT, *LIMITS, "--network", "none"),
        *("--volume", f"{site.platform}:{WORK_FOLDER}:ro"),
        *("--volume", f"{site.world}:{LAB}:ro", site.images["server"]),
        *("lab", "measure", LAB, "--json", "--", *SERVER),
    )
    return str(json.loads(told.stdout)["mr_enclave"])


def start_key_service(site: Site, mr_enclave: str) -> None:
    """The key service, whose policy names that measurement, and its collateral service."""
    root = ssl.PEM_cert_to_DER_cert((site.folder / "lab" / "root_ca.pem").read_text())
    (site.keys / "policy.toml").write_text(
        f'version = 2\ntrust_root = "{sha256(root).hexdigest()}"\n'
        f'[[identities]]\nname = "the digit server"\nmr_enclave = ["{mr_enclave}"]\n'
        '[[rules]]\nname = "digits"\nidentities = ["the digit server"]\nsecret = "digits"\n'
    )
    (site.keys / "keyservice.toml").write_text(
        'listen = "0.0.0.0:4433"\n'
        f'database = "{STATE_FOLDER}/keyservice.db"\nstate = "{STATE_FOLDER}/state"\n'
        f'[wrapping]\nkind = "file"\nkey = "{STATE_FOLDER}/kek"\n'
        '[tls]\ncertificate = "tls/cert.pem"\nprivate_key = "tls/key.pem"\n'
        '[attestation]\ntrust_root = "root_ca.pem"\n'
        'collateral_service = "http://127.0.0.1:8081/sgx/certification/v4"\n'
    )
    state = site.folder / "state"
    state.mkdir(mode=0o700)
    for folder in (state, site.keys):
        site.podman.give(folder)
    image = site.images["keyservice"]
    pccs = [*site.container("keys", name="pccs"), "--volume", f"{site.world}:{LAB}:ro", image]
    site.start("pccs", [*pccs, "lab", "pccs", LAB, "--listen", "127.0.0.1:8081"], "listens at")
    mounts = ["--volume", f"{site.keys}:{CONFIG_FOLDER}:ro", "--volume", f"{state}:{STATE_FOLDER}"]
    beside = ["--network", "container:pccs", *STRICT, *LIMITS, *mounts]
    config = ["--config", f"{CONFIG_FOLDER}/keyservice.toml"]
    once = ["run", "--rm", *beside, image]
    policy = ["--policy", f"{CONFIG_FOLDER}/policy.toml"]
    site.podman.run(*once, "keyservice", "init", *config, *policy)
    site.podman.run(
        *once, "secret", "add", "digits", "--from", f"{CONFIG_FOLDER}/digits.key", *config
    )
    run = ["run", "--name", "keyservice", "--detach", *beside, image, "keyservice", "run", *config]
    site.start("keyservice", run, "ready on")


def edge(site: Site) -> Edge:
    """What nginx is told."""
    replicas = tuple(Address(site.address(name), 8500) for name in ("server-1", "server-2"))
    return Edge(Address("0.0.0.0", EDGE_PORT), (Route(DOMAIN, replicas),), balance="round_robin")


def start_edge(site: Site) -> None:
    """nginx before both servers."""
    folder = site.folder / "edge"
    folder.mkdir()
    (folder / "nginx.conf").write_text(render(edge(site), module=MODULE))
    mount = ["--volume", f"{folder}:{CONFIG_FOLDER}:ro"]
    site.podman.run(*site.container("edge", name="edge"), *mount, site.images["proxy"])
    site.started.append("edge")
