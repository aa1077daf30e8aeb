"""A collateral service that can be made to misbehave, and a key service that depends on it.

Both over real sockets. The key service's clock is the test's, so that collateral can reach its end.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from key_site import Enclave, start_service
from key_site import Site as KeySite
from sealserve.attester.secrets import fetch_secret
from sealserve.collateral.cached import CachedCollateral
from sealserve.collateral.disk import CacheFolder
from sealserve.collateral.shared import SharedCollateral
from sealserve.collateral.source import CollateralService
from sealserve.keyservice.application import Loaded
from sealserve.keyservice.verifiers import OwnVerifier
from sealserve.lab.faults import Faults
from sealserve.lab.world import World
from sealserve.verifier import TrustRoot, load_trust_root

TIMEOUT = 1.5  # seconds that the collateral service is given


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
    """A key service that asks `pccs` for collateral, and what happens around it."""

    folder: Path
    world: World
    pccs: Pccs
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        attestation = f'trust_root = "lab/root_ca.pem"\ncollateral_service = "{self.pccs.url}"'
        self.keys = KeySite(self.folder, self.world, attestation=attestation)

    @property
    def root(self) -> TrustRoot:
        return load_trust_root(self.world.root_ca_pem)

    @property
    def cache(self) -> CacheFolder:
        return CacheFolder(self.folder / "state" / "collateral-cache", self.root.sha256)

    def write_policy(self, exception: str = "") -> None:
        self.keys.write_policy(exception=exception)

    def records(self) -> list[dict]:
        return self.keys.records()

    @property
    def last(self) -> tuple[str, str]:
        """Outcome and code of the last decision on record."""
        record = self.records()[-1]
        return record["outcome"], record["code"]


@dataclass(frozen=True)
class Running:
    """A key service that listens."""

    site: Site
    servers: str

    def ask(self) -> bytes:
        """The secret, as an enclave of the world asks for it; raises what that ends in."""
        return fetch_secret(
            self.servers,
            ca_file=self.site.keys.ca_file,
            identity=self.site.keys.identity(),
            timeout=30,
        )


@contextlib.contextmanager
def running(site: Site) -> Iterator[Running]:
    """The service, by the site's clock, until the block ends."""

    def verifier(_loaded: Loaded) -> OwnVerifier:
        site.cache.make()
        source = CollateralService(site.pccs.url, timeout=TIMEOUT)
        shared = SharedCollateral(source, site.root, site.cache, max_age=timedelta(hours=1))
        return OwnVerifier(site.root, CachedCollateral(shared), clock=site.clock)

    with start_service(site.keys, make_verifier=verifier, clock=site.clock) as service:
        try:
            yield Running(site, service.servers)
        finally:
            site.pccs.released.set()


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
