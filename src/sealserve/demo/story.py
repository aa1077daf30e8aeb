"""The story of the demo: nine steps, each made of the commands that a person would type.

Every step is a function that takes the stage and what earlier steps made, and returns what later
ones need. Nothing here decides: a command does, and a check says whether it did what it must.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sealserve.demo.edge import configure, find_edge, free_port
from sealserve.demo.processes import Service
from sealserve.demo.stage import CLIENT, DOMAIN, Stage
from sealserve.demo.tap import Tap
from sealserve.endorsements.collateral import Collateral
from sealserve.errors import NetworkError, VerificationError
from sealserve.hosts import Address, parse_address
from sealserve.verifier import verify
from sealserve.verifier.roots import INTEL_SGX_ROOT_CA

MODEL = "digits"
REPLICAS = 2
LISTEN_SECONDS = 10.0
READY = r"ready, gRPC (\S+), REST (\S+), model"
MAGIC = b"GRAFS_PF"


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


def make_lab(stage: Stage) -> str:
    """1: the simulated world, its collateral service and its quoting enclave; the PCCS's URL."""
    stage.tell.step("The lab: a small Intel-shaped world stands in for SGX hardware (SIMULATED)")
    stage.do(["lab", "init", "lab"], folder=stage.platform)
    pccs = stage.start(
        "pccs", ["lab", "pccs", "lab", "--listen", "127.0.0.1:0"], folder=stage.platform
    )
    url = pccs.wait_ready(r"listens at (\S+)").group(1)
    stage.start("qe", ["lab", "qe", "lab"], folder=stage.platform).wait_ready(
        r"listens at \S+|ready"
    )
    made = sorted(file.name for file in (stage.platform / "lab").iterdir() if file.is_file())
    stage.tell.say(f"collateral service at {url}; in platform/lab: {', '.join(made)}")
    sample = ["lab", "quote", "lab", "--mr-enclave", "00" * 32, "--out", "sample.quote"]
    stage.do(sample, folder=stage.platform, quiet=True)
    own = (stage.platform / "lab" / "root_ca.pem").read_bytes()
    stage.tell.check(
        _holds(stage, own) and not _holds(stage, INTEL_SGX_ROOT_CA),
        "a quote of the lab verifies under the lab's own root CA, and not under Intel's",
    )
    return url


def _holds(stage: Stage, trust_root: bytes) -> bool:
    """Whether the lab's sample quote verifies under this root."""
    folder = stage.platform / "lab" / "collateral"
    collateral = Collateral.from_files({file.name: file.read_bytes() for file in folder.iterdir()})
    quote = (stage.platform / "sample.quote").read_bytes()
    try:
        verify(quote, collateral, trust_root=trust_root, now=datetime.now(UTC))
    except VerificationError:
        return False
    return True


def make_model(stage: Stage) -> None:
    """2: the digit classifier as a SavedModel."""
    stage.tell.step("The model: a classifier of handwritten digits, as a TensorFlow SavedModel")
    stage.do(["model", "digits", "--out", f"plain/models/{MODEL}"], folder=stage.owner)
    shown = stage.do(["model", "inspect", f"plain/models/{MODEL}", "--json"], folder=stage.owner)
    file = stage.owner / "plain" / "models" / MODEL / "1" / "saved_model.pb"
    stage.tell.say(f"{stage.path(file)}: {file.stat().st_size} bytes")
    stage.tell.check(
        "serving_default" in shown, "its signature serving_default takes `input`, gives `predict`"
    )


def make_tls(stage: Stage, *, mutual: bool) -> None:
    """3: the service's certificates and ssl.cfg; the client gets its part."""
    kind = "mutual TLS" if mutual else "one-way TLS"
    stage.tell.step(f"TLS: certificates and ssl.cfg of the service ({kind})")
    words = ["tls", "twoway", DOMAIN, CLIENT] if mutual else ["tls", "oneway", DOMAIN]
    stage.do(words, folder=stage.owner)
    made = stage.owner / "ssl_configure"
    wanted = ["ca_cert.pem", "client/cert.pem", "client/key.pem"] if mutual else ["server/cert.pem"]
    for name in wanted:
        target = stage.client / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((made / name).read_bytes())
        target.chmod(0o600)
    stage.tell.say(f"the client is given {', '.join(wanted)}")
    verify = "client_verify: true" in (made / "ssl.cfg").read_text()
    stage.tell.check(verify == mutual, f"ssl.cfg says client_verify: {str(mutual).lower()}")


def seal(stage: Stage) -> None:
    """4: model and ssl.cfg become protected files on the platform."""
    stage.tell.step("Seal: model and ssl.cfg become Gramine protected files")
    stage.do(["key", "new", "wrap.key"], folder=stage.owner)
    (stage.owner / "plain" / "monitoring.cfg").write_text("prometheus_config { enable: true }\n")
    for source, target in (
        ("plain/models", "models"),
        ("ssl_configure/ssl.cfg", "ssl.cfg"),
        ("plain/monitoring.cfg", "monitoring.cfg"),
    ):
        stage.do(
            ["seal", "-w", "../owner/wrap.key", "-i", f"../owner/{source}", "-o", target],
            folder=stage.platform,
        )
    sealed = [
        stage.platform / "models" / MODEL / "1" / "saved_model.pb",
        stage.platform / "ssl.cfg",
    ]
    for file in sealed:
        stage.tell.say(f"{stage.path(file)}: {file.stat().st_size} bytes")
        stage.tell.check(
            file.read_bytes().startswith(MAGIC), f"{stage.path(file)} is a protected file"
        )


def serve_words(key_service_port: int) -> list[str]:
    """The server as the platform starts it; all but where it listens is measured."""
    return [
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


def start_key_service(stage: Stage, pccs: str) -> int:
    """5: the key service, with a policy that names the server's measurement; its port."""
    stage.tell.step("The key service: its policy names what the server measures")
    stage.do(["tls", "oneway", "localhost", "--out", "key-service"], folder=stage.owner)
    authority = (stage.owner / "key-service" / "server" / "cert.pem").read_bytes()
    (stage.platform / "key-service-ca.pem").write_bytes(authority)
    port = free_port()
    shown = stage.do(
        ["lab", "measure", "lab", "--json", "--", *serve_words(port)], folder=stage.platform
    )
    measured = json.loads(shown)
    stage.tell.say(f"mr_enclave: {measured['mr_enclave']}")
    root = _fingerprint(stage.platform / "lab" / "root_ca.pem")
    (stage.owner / "policy.toml").write_text(
        f'trust_root = "{root}"  # the lab\'s own: SIMULATED\n'
        "[[rules]]\n"
        'name = "the digit server"\n'
        'secret = "digits"\n'
        f'mr_enclave = ["{measured["mr_enclave"]}"]\n'
    )
    (stage.owner / "keyservice.toml").write_text(
        f'listen = "127.0.0.1:{port}"\n'
        'policy = "policy.toml"\n'
        'audit = "audit.jsonl"\n'
        "[tls]\n"
        'certificate = "key-service/server/cert.pem"\n'
        'private_key = "key-service/server/key.pem"\n'
        "[attestation]\n"
        'trust_root = "../platform/lab/root_ca.pem"\n'
        f'collateral_url = "{pccs}"\n'
        "[secrets]\n"
        'digits = "wrap.key"\n'
    )
    words = ["keyservice", "run", "--config", "keyservice.toml"]
    service = stage.start("keyservice", words, folder=stage.owner)
    stage.tell.say(service.wait_ready(r"ready on \S+").group(0))
    stage.tell.check(
        "SIMULATED" in service.text, "it says that its trust root is not Intel's: SIMULATED"
    )
    return port


def _fingerprint(certificate: Path) -> str:
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    return hashlib.sha256(der).hexdigest()


def start_replicas(stage: Stage, key_service_port: int) -> list[Replica]:
    """6: two enclaves attest, get the key, open the model in memory, and serve."""
    stage.tell.step(
        "Two replicas: each attests with its own key, gets the wrap key, opens the model"
    )
    words = ["lab", "enclave", "lab", "--", *serve_words(key_service_port)]
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


def start_edge(stage: Stage, replicas: list[Replica]) -> Edge:
    """7: nginx in front of both, or gRPC's round-robin where there is no nginx."""
    stage.tell.step("The edge: TLS passes through; it ends in the enclaves")
    nginx, sentence = find_edge()
    stage.tell.say(sentence)
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
    text = (folder / "nginx.conf").read_text()
    stage.tell.check(
        "ssl_certificate" not in text and not list(folder.rglob("*.pem")),
        "nginx has no certificate and no key",
    )
    return Edge(f"127.0.0.1:{tap.port}", tap, "nginx")


def client_words(targets: str, *, mutual: bool, npy: str) -> list[str]:
    """`sealserve predict` as the data owner types it, with the certificates of its folder."""
    words = ["predict", "--target", targets, "--server-name", DOMAIN, "--model", MODEL]
    words += ["--npy", npy]
    if not mutual:
        return [*words, "--ca", "server/cert.pem"]
    return [*words, "--ca", "ca_cert.pem", "--cert", "client/cert.pem", "--key", "client/key.pem"]


@dataclass(frozen=True)
class Record:
    """What the demo reads of one decision in the audit log."""

    outcome: str
    evidence: str
    explanation: tuple[str, ...]


def audit(stage: Stage) -> list[Record]:
    """The decisions in the key service's audit log."""
    lines = map(json.loads, (stage.owner / "audit.jsonl").read_text().splitlines())
    return [
        Record(line["outcome"], line["evidence_sha256"], tuple(line["explanation"]))
        for line in lines
        if line["kind"] == "decision"
    ]
