"""A key service with everything around it, over real sockets: a lab world, enclaves, a policy.

The world is the lab's, so nothing here is a mock: quotes are signed, verified and appraised as on
hardware, under a root that is not Intel's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.deploy.certificates import KeyType, Validity, make_authority, make_server
from sealserve.evidence.report import SgxReport
from sealserve.files import write_file
from sealserve.hosts import Address
from sealserve.keyservice import application
from sealserve.keyservice.audit import AuditLog
from sealserve.keyservice.config import load_config
from sealserve.keyservice.server import KeyServer
from sealserve.keyservice.service import KeyService
from sealserve.keyservice.verification import open_verifier
from sealserve.keyservice.verifiers import Verifier
from sealserve.lab.world import World
from sealserve.verifier import load_trust_root

# No test of something else may fail because this machine is busy.
PATIENT = "handshake_seconds = 60\nidle_seconds = 60\nsession_seconds = 100"
MEASUREMENT = sha256(b"the server that the policy names").digest()
SIGNER = sha256(b"whoever signed it").digest()
REPORT = SgxReport(
    cpu_svn=bytes(16),
    misc_select=0,
    isv_ext_prod_id=bytes(16),
    attributes=bytes.fromhex("0500000000000000e700000000000000"),
    mr_enclave=MEASUREMENT,
    mr_signer=SIGNER,
    config_id=bytes(64),
    isv_prod_id=7,
    isv_svn=3,
    config_svn=0,
    isv_family_id=bytes(16),
    report_data=bytes(64),
)


@dataclass(frozen=True)
class Enclave:
    """An enclave on the lab's hardware: an evidence source."""

    world: World
    report: SgxReport = REPORT

    def quote(self, report_data: bytes) -> bytes:
        return self.world.quote(replace(self.report, report_data=report_data))


@dataclass
class Site:
    """The folder of a key service, and who is who."""

    folder: Path
    world: World
    secret: bytes = bytes.fromhex("5ea15e4ce0ff1cea5ea15e4ce0ff1cea")
    server_key: KeyType = "p256"
    limits: str = PATIENT
    report: SgxReport = REPORT
    ca_file: Path = field(init=False)
    config: Path = field(init=False)
    audit: Path = field(init=False)

    def __post_init__(self) -> None:
        self.ca_file = self.folder / "ca.pem"
        self.config = self.folder / "keyservice.toml"
        self.audit = self.folder / "audit.jsonl"
        self.world.save(self.folder / "lab")
        validity = Validity(datetime.now(UTC), 2)
        authority = make_authority(validity)
        server = make_server(["localhost"], validity, issuer=authority, key_type=self.server_key)
        write_file(self.ca_file, authority.certificate_pem)
        write_file(self.folder / "server.pem", server.certificate_pem)
        write_file(self.folder / "server.key", server.key_pem)
        write_file(self.folder / "digits.key", self.secret)
        self.write_policy()
        self.write_config()

    def write_policy(
        self,
        identity: str = "",
        *,
        rule: str = "",
        exception: str = "",
        trust_root: str | None = None,
    ) -> None:
        root = trust_root or load_trust_root(self.world.root_ca_pem).sha256.hex()
        identity = identity or f'mr_enclave = ["{MEASUREMENT.hex()}"]'
        text = (
            f'version = 2\ntrust_root = "{root}"\n'
            f'[[identities]]\nname = "digits server 1.4"\n{identity}\n'
            '[[rules]]\nname = "digits server"\nidentities = ["digits server 1.4"]\n'
            f'secret = "digits"\n{rule}\n'
        )
        if exception:
            text += (
                '[[exceptions]]\nname = "for a test"\nexpires = 2999-12-31\n'
                f'reason = "the lab is made to misbehave here"\n{exception}\n'
            )
        (self.folder / "policy.toml").write_text(text)

    def write_config(self) -> None:
        self.config.write_text(
            'listen = "127.0.0.1:0"\npolicy = "policy.toml"\naudit = "audit.jsonl"\n'
            '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
            '[attestation]\ntrust_root = "lab/root_ca.pem"\ncollateral_dir = "lab/collateral"\n'
            f'[secrets]\ndigits = "digits.key"\n[limits]\n{self.limits}\n'
        )

    def identity(self, **options: str) -> RatlsIdentity:
        """A fresh RA-TLS identity of the enclave that the policy names."""
        return make_certificate(Enclave(self.world), **options)

    def records(self) -> list[dict]:
        """What is on record now."""
        if not self.audit.exists():
            return []
        return [json.loads(line) for line in self.audit.read_bytes().splitlines()]


@dataclass(frozen=True)
class Running:
    """A service that listens."""

    site: Site
    address: Address
    service: KeyService
    audit: AuditLog
    stop: Callable[[], object]
    verifier: Verifier

    @property
    def servers(self) -> str:
        return f"localhost:{self.address.port}"


@contextlib.contextmanager
def start_service(site: Site) -> Iterator[Running]:
    """The service in an event loop of its own thread; leaving waits until it has stopped."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    outcome: list[Running | BaseException] = []
    stop: asyncio.Event = asyncio.Event()

    def ask_to_stop() -> None:
        loop.call_soon_threadsafe(stop.set)

    async def main() -> None:
        loaded = application.load(load_config(site.config))
        verifier = open_verifier(loaded.verification, loaded.config)
        with AuditLog.open(site.audit, now=datetime.now(UTC)) as audit:
            service = KeyService(rules=loaded.rules, verifier=verifier, audit=audit)
            server = KeyServer(service, loaded.context, loaded.config.limits)
            address = await server.start(loaded.config.listen)
            outcome.append(Running(site, address, service, audit, ask_to_stop, verifier))
            ready.set()
            await stop.wait()
            await server.stop()
            service.close()
            verifier.close()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(main())
        except BaseException as error:  # noqa: BLE001  (raised where the service was started)
            outcome.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="key service")
    thread.start()
    ready.wait()
    if not isinstance(outcome[0], Running):
        thread.join()
        raise outcome[0]
    try:
        yield outcome[0]
    finally:
        with contextlib.suppress(RuntimeError):  # the test has stopped it already
            ask_to_stop()
        thread.join()
        assert len(outcome) == 1, f"the service ended with {outcome[1:]}"


@pytest.fixture(scope="session")
def world() -> World:
    return World.create(now=datetime.now(UTC))


@pytest.fixture
def site(tmp_path, world) -> Site:
    return Site(tmp_path, world)


@pytest.fixture
def make_site(tmp_path_factory, world) -> Callable[..., Site]:
    def make(**options) -> Site:
        return Site(tmp_path_factory.mktemp("site"), options.pop("world", world), **options)

    return make


@pytest.fixture
def start() -> Callable[[Site], contextlib.AbstractContextManager[Running]]:
    return start_service


@pytest.fixture
def running(site) -> Iterator[Running]:
    with start_service(site) as service:
        yield service


@pytest.fixture
def enclave() -> type[Enclave]:
    """Enclaves of other worlds and with other reports: `enclave(world, report)`."""
    return Enclave
