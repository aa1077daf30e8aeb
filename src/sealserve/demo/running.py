"""Steps 5 to 7 of the demo: the key service, two replicas in enclaves, and the edge before them.

Every step takes the stage and what earlier ones made, and returns what later ones need.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from sealserve.demo.edge import configure, find_edge
from sealserve.demo.logged import CONFIG, LOG_KEY, audit
from sealserve.demo.processes import Service
from sealserve.demo.stage import DOMAIN, MODEL, Stage
from sealserve.demo.tap import Tap
from sealserve.errors import NetworkError
from sealserve.hosts import Address, parse_address
from sealserve.ports import free_port

REPLICAS = 2
LISTEN_SECONDS = 10.0
READY = r"ready, gRPC (\S+), REST (\S+), model"


@dataclass(frozen=True)
class Replica:
    """A model server that runs, and where it answers."""

    service: Service
    grpc: Address
    rest: Address


@dataclass(frozen=True)
class Edge:
    """Where clients connect, and the tap through which one can look at what passes."""

    targets: str
    tap: Tap
    observer: str


def start_key_service(stage: Stage, pccs: str) -> int:
    """5: the key service, with a policy that names the server's measurement; its port."""
    stage.tell.step("The key service: its policy names what the server measures")
    stage.do(["tls", "oneway", "localhost", "--out", "key-service"], folder=stage.owner)
    authority = (stage.owner / "key-service" / "server" / "cert.pem").read_bytes()
    (stage.platform / "key-service-ca.pem").write_bytes(authority)
    port = free_port()
    shown = stage.do(on_hardware(stage, "measure", port, "--json"), folder=stage.platform)
    identity = _identity(json.loads(shown))
    stage.tell.say(identity)
    root = _fingerprint(stage.platform / "lab" / "root_ca.pem")
    (stage.owner / "policy.toml").write_text(
        "version = 2\n"
        f'trust_root = "{root}"  # the lab\'s own: SIMULATED\n'
        "[[identities]]\n"
        'name = "the digit server"\n'
        f"{identity}\n"
        "[[rules]]\n"
        'name = "digits"\n'
        'identities = ["the digit server"]\n'
        'secret = "digits"\n'
    )
    (stage.owner / CONFIG).write_text(
        f'listen = "127.0.0.1:{port}"\n'
        'database = "keyservice.db"\n'
        'state = "state"\n'
        "[wrapping]\n"
        'kind = "file"\n'
        'key = "kek"\n'
        "[tls]\n"
        'certificate = "key-service/server/cert.pem"\n'
        'private_key = "key-service/server/key.pem"\n'
        "[attestation]\n"
        'trust_root = "../platform/lab/root_ca.pem"\n'
        f'collateral_service = "{pccs}"\n'
    )
    words = ["keyservice", "init", "--config", CONFIG, "--policy", "policy.toml", "--json"]
    made = json.loads(stage.do(words, folder=stage.owner))
    (stage.owner / LOG_KEY).write_text(made["log_key"] + "\n")
    stage.tell.say(f"the key of its audit log, kept in {stage.path(stage.owner / LOG_KEY)}")
    words = ["secret", "add", "digits", "--from", "wrap.key", "--config", CONFIG]
    stage.do(words, folder=stage.owner)
    words = ["keyservice", "run", "--config", CONFIG]
    service = stage.start("keyservice", words, folder=stage.owner)
    stage.tell.say(service.wait_ready(r"ready on \S+").group(0))
    stage.tell.check(
        "SIMULATED" in service.text, "it says that its trust root is not Intel's: SIMULATED"
    )
    return port


def _identity(measured: dict[str, str]) -> str:
    """What a policy says of this measurement, line by line."""
    if "mr_enclave" in measured:
        return f'mr_enclave = ["{measured["mr_enclave"]}"]'
    names = ("mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
    return "\n".join(['tee = "TDX"', *(f'{name} = ["{measured[name]}"]' for name in names)])


def _fingerprint(certificate: Path) -> str:
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    return hashlib.sha256(der).hexdigest()


def start_replicas(stage: Stage, key_service_port: int) -> list[Replica]:
    """6: two enclaves or trust domains attest, get the key, open the model in memory, serve."""
    stage.tell.step(
        "Two replicas: each attests with its own key, gets the wrap key, opens the model"
    )
    words = on_hardware(stage, "enclave", key_service_port)
    services = [
        stage.start(f"replica-{number}", words, folder=stage.platform)
        for number in range(1, REPLICAS + 1)
    ]
    replicas = []
    for service in services:
        ready = service.wait_ready(READY)
        replicas.append(
            Replica(service, parse_address(ready.group(1)), parse_address(ready.group(2)))
        )
        stage.tell.say(f"{service.name}: {ready.group(0)}")
    released = {record.evidence for record in audit(stage) if record.outcome == "released"}
    stage.tell.check(
        len(released) == REPLICAS,
        f"the audit log has {len(released)} releases, each to evidence of its own",
    )
    return replicas


def start_edge(stage: Stage, replicas: list[Replica]) -> Edge:
    """7: nginx in front of both, or gRPC's round-robin where there is no nginx."""
    stage.tell.step("The edge: TLS passes through; it ends in the enclaves")
    nginx = find_edge(stage.tell.say)
    addresses = [replica.grpc for replica in replicas]
    if nginx is None:
        tap = stage.tap(addresses[0])
        return Edge(",".join(map(str, addresses)), tap, "the network")
    folder = stage.platform / "nginx"
    folder.mkdir()
    listen = configure(folder, nginx, DOMAIN, addresses)
    stage.start_program("nginx", nginx.command(folder), folder=folder)
    wait_listening(listen)
    tap = stage.tap(listen)
    stage.tell.say(f"nginx listens on {listen}; configuration and logs in {stage.path(folder)}")
    stage.tell.say(f"clients come by port {tap.port}, a relay that records what nginx is given")
    text = (folder / "nginx.conf").read_text()
    stage.tell.check(
        "ssl_certificate" not in text and not list(folder.rglob("*.pem")),
        "nginx has no certificate and no key",
    )
    return Edge(f"127.0.0.1:{tap.port}", tap, "nginx")


def wait_listening(address: Address) -> None:
    """Return when somebody accepts connections there; raises NetworkError at the deadline."""
    deadline = time.monotonic() + LISTEN_SECONDS
    while True:
        try:
            socket.create_connection((address.host, address.port), timeout=1.0).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise NetworkError(f"nobody listens on {address}") from error
            time.sleep(0.05)
        else:
            return


def on_hardware(stage: Stage, command: str, key_service_port: int, *options: str) -> list[str]:
    """`sealserve lab COMMAND` with the server as the platform starts it.

    All but where it listens is measured.
    """
    kind = [] if stage.tee == "SGX" else ["--tee", stage.tee.lower()]
    return [
        *("lab", command, "lab", *kind, *options, "--"),
        "serve",
        "--host=127.0.0.1",
        "--port=0",
        "--rest_api_port=0",
        f"--model_name={MODEL}",
        f"--model_base_path=models/{MODEL}",
        "--ssl_config_file=ssl.cfg",
        "--attest",
        "--evidence_source=lab:lab/qe.sock",
        f"--key_service=localhost:{key_service_port}",
        "--key_service_ca=key-service-ca.pem",
        "--monitoring_config_file=monitoring.cfg",
    ]


def client_words(targets: str, *, mutual: bool, npy: str) -> list[str]:
    """`sealserve predict` as the data owner types it, with the certificates of its folder."""
    words = ["predict", "--target", targets, "--server-name", DOMAIN, "--model", MODEL]
    words += ["--npy", npy]
    if not mutual:
        return [*words, "--ca", "server/cert.pem"]
    return [*words, "--ca", "ca_cert.pem", "--cert", "client/cert.pem", "--key", "client/key.pem"]
