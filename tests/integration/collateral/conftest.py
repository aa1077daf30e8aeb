"""A collateral service that can be made to misbehave, and a key service that depends on it.

Both over real sockets. The key service's clock is the test's, so that collateral can reach its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from sealserve.attester.ratls import make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.collateral.cached import CachedCollateral
from sealserve.collateral.disk import CacheFolder
from sealserve.collateral.shared import SharedCollateral
from sealserve.collateral.source import CollateralService
from sealserve.deploy.certificates import Validity, make_authority, make_server
from sealserve.evidence.report import SgxReport
from sealserve.files import write_file
from sealserve.hosts import ListenAddress
from sealserve.keyservice import application
from sealserve.keyservice.audit import AuditLog
from sealserve.keyservice.config import load_config
from sealserve.keyservice.server import KeyServer
from sealserve.keyservice.service import KeyService
from sealserve.keyservice.verifiers import OwnVerifier
from sealserve.lab.faults import Faults
from sealserve.lab.world import World
from sealserve.verifier import TrustRoot, load_trust_root

MEASUREMENT = sha256(b"the server that the policy names").digest()
REPORT = SgxReport(
    cpu_svn=bytes(16),
    misc_select=0,
    isv_ext_prod_id=bytes(16),
    attributes=bytes.fromhex("0500000000000000e700000000000000"),
    mr_enclave=MEASUREMENT,
    mr_signer=sha256(b"whoever signed it").digest(),
    config_id=bytes(64),
    isv_prod_id=7,
    isv_svn=3,
    config_svn=0,
    isv_family_id=bytes(16),
    report_data=bytes(64),
)
SECRET = bytes.fromhex("5ea15e4ce0ff1cea5ea15e4ce0ff1cea")
TIMEOUT = 1.5  # seconds that the collateral service is given
CONFIG = """
listen = "127.0.0.1:0"
policy = "policy.toml"
audit = "audit.jsonl"
[tls]
certificate = "server.pem"
private_key = "server.key"
[attestation]
trust_root = "root_ca.pem"
collateral_service = "{url}"
[secrets]
digits = "digits.key"
[limits]
handshake_seconds = 60
idle_seconds = 60
session_seconds = 100
"""
POLICY = """
version = 2
trust_root = "{root}"
[[identities]]
name = "digit server"
mr_enclave = ["{measurement}"]
[[rules]]
name = "digits"
identities = ["digit server"]
secret = "digits"
{exception}
"""


@dataclass(frozen=True)
class Answer:
    """What the service says to one request."""

    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


Spoil = Callable[[str, Answer], Answer | None]


@dataclass
class Pccs:
    """The service: what it serves, and how it spoils it. `None` for an answer is silence."""

    world: World
    edition: str | None = None
    """The edition that it serves whatever is asked for."""
    spoil: Spoil = lambda path, answer: answer
    url: str = ""
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    """Ends every silence."""
    stop: Callable[[], None] = lambda: None

    def answer(self, target: str) -> Answer | None:
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        _, tee, _, _, path = parts.path.split("/", 4)
        self.asked.append(path)
        edition = self.edition or query.get("update", ["standard"])[0]
        collateral = self.world.collateral(tee.upper(), edition)
        served = {
            "tcb": (collateral.tcb_info, "TCB-Info-Issuer-Chain", collateral.tcb_info_issuer_chain),
            "qe/identity": (
                collateral.qe_identity,
                "SGX-Enclave-Identity-Issuer-Chain",
                collateral.qe_identity_issuer_chain,
            ),
            "pckcrl": (
                collateral.pck_crl,
                "SGX-PCK-CRL-Issuer-Chain",
                collateral.pck_crl_issuer_chain,
            ),
            "rootcacrl": (collateral.root_ca_crl.hex().encode(), "X-None", b""),
        }
        if path not in served:
            return Answer(status=404)
        body, header, chain = served[path]
        return self.spoil(path, Answer(body, {header: quote(chain)}))

    def spoil_only(self, path: str, change: Callable[[Answer], Answer | None]) -> None:
        self.spoil = lambda asked, answer: change(answer) if asked == path else answer

    def misissue(self, faults: Faults) -> None:
        """Serve what the same authorities sign when they, or whoever copies, go wrong."""
        self.world = replace(self.world, faults=faults).renew(now=datetime.now(UTC))

    def behave(self) -> None:
        self.spoil = lambda path, answer: answer


@contextlib.contextmanager
def serving(pccs: Pccs) -> Iterator[Pccs]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = pccs.answer(self.path)
            if answer is None:
                pccs.released.wait(30)
                self.close_connection = True
                return
            self.send_response(answer.status)
            length = {"Content-Length": str(len(answer.body))}
            for name, value in (length | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # the client has read enough
                self.wfile.write(answer.body)
            if "Content-Length" in answer.headers:  # it lied: nobody knows what comes next
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that closing waits for them

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is what some of these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def stop() -> None:
        pccs.released.set()
        server.shutdown()
        thread.join()
        server.server_close()

    pccs.url, pccs.stop = f"http://127.0.0.1:{server.server_port}", stop
    try:
        yield pccs
    finally:
        stop()


@dataclass
class Clock:
    """Real time, and as much later as a test wants."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Site:
    """The folder of a key service, and what happens around it."""

    folder: Path
    world: World
    pccs: Pccs
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        validity = Validity(datetime.now(UTC), 2)
        authority = make_authority(validity)
        server = make_server(["localhost"], validity, issuer=authority)
        write_file(self.folder / "ca.pem", authority.certificate_pem)
        write_file(self.folder / "server.pem", server.certificate_pem)
        write_file(self.folder / "server.key", server.key_pem)
        write_file(self.folder / "digits.key", SECRET)
        write_file(self.folder / "root_ca.pem", self.world.root_ca_pem)
        (self.folder / "keyservice.toml").write_text(CONFIG.format(url=self.pccs.url))
        self.write_policy()

    @property
    def root(self) -> TrustRoot:
        return load_trust_root(self.world.root_ca_pem)

    @property
    def cache(self) -> CacheFolder:
        return CacheFolder(self.folder / "collateral-cache", self.root.sha256)

    def write_policy(self, exception: str = "") -> None:
        if exception:
            exception = (
                '[[exceptions]]\nname = "for a test"\nexpires = 2999-12-31\n'
                f'reason = "the collateral service misbehaves here"\n{exception}\n'
            )
        text = POLICY.format(
            root=self.root.sha256.hex(), measurement=MEASUREMENT.hex(), exception=exception
        )
        (self.folder / "policy.toml").write_text(text)

    def records(self) -> list[dict]:
        return [json.loads(row) for row in (self.folder / "audit.jsonl").read_bytes().splitlines()]

    @property
    def last(self) -> tuple[str, str]:
        """Outcome and code of the last decision on record."""
        record = self.records()[-1]
        return record["outcome"], record["code"]


@dataclass(frozen=True)
class Enclave:
    """The enclave that the policy names."""

    world: World

    def quote(self, report_data: bytes) -> bytes:
        return self.world.quote(replace(REPORT, report_data=report_data))


@dataclass(frozen=True)
class Running:
    """A key service that listens."""

    site: Site
    address: ListenAddress

    def ask(self) -> bytes:
        """The secret, as an enclave of the world asks for it; raises what that ends in."""
        return fetch_secret(
            f"localhost:{self.address.port}",
            ca_file=self.site.folder / "ca.pem",
            identity=make_certificate(Enclave(self.site.world)),
            timeout=30,
        )


@contextlib.contextmanager
def running(site: Site) -> Iterator[Running]:
    """The service in an event loop of its own thread, until the block ends."""
    ready: list[Running] = []
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        config = load_config(site.folder / "keyservice.toml")
        loaded = application.load(config)
        site.cache.make()
        source = CollateralService(site.pccs.url, timeout=TIMEOUT)
        shared = SharedCollateral(source, site.root, site.cache, max_age=timedelta(hours=1))
        verifier = OwnVerifier(site.root, CachedCollateral(shared), clock=site.clock)
        with AuditLog.open(config.audit, now=datetime.now(UTC)) as audit:
            service = KeyService(
                rules=loaded.rules, verifier=verifier, audit=audit, clock=site.clock
            )
            server = KeyServer(service, loaded.context, config.limits)
            ready.append(Running(site, await server.start(config.listen)))
            started.set()
            await stop.wait()
            await server.stop()
            service.close()
            verifier.close()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(main())
        finally:
            started.set()

    thread = threading.Thread(target=run, name="key service")
    thread.start()
    started.wait()
    try:
        assert ready, "the key service did not start"
        yield ready[0]
    finally:
        site.pccs.released.set()
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture(scope="session")
def world() -> World:
    return World.create(now=datetime.now(UTC))


@pytest.fixture
def pccs(world) -> Iterator[Pccs]:
    with serving(Pccs(world)) as served:
        yield served


@pytest.fixture
def site(tmp_path, world, pccs) -> Site:
    return Site(tmp_path, world, pccs)


@pytest.fixture
def enclave(world) -> Enclave:
    return Enclave(world)


@pytest.fixture
def start() -> Callable[[Site], contextlib.AbstractContextManager[Running]]:
    return running
