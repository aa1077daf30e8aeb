"""A key service with everything around it, over real sockets: a lab world, enclaves, a policy.

The world is the lab's, so nothing here is a mock: quotes are signed, verified and appraised as on
hardware, under a root that is not Intel's. The service is wired as
`sealserve.keyservice.application.serve` does it, but for signals, which a thread cannot take.
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
from typing import Any

from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.deploy.certificates import KeyType, Validity, make_authority, make_server
from sealserve.evidence.report import SgxReport
from sealserve.files import write_file
from sealserve.hosts import Address
from sealserve.keyservice import application
from sealserve.keyservice.administration.local import LocalAdministration
from sealserve.keyservice.administration.opening import initialise, open_administration
from sealserve.keyservice.administration.values import Query
from sealserve.keyservice.application import Loaded
from sealserve.keyservice.config import load_config
from sealserve.keyservice.metrics import Metrics
from sealserve.keyservice.server import KeyServer
from sealserve.keyservice.service import KeyService
from sealserve.keyservice.store.appender import Appender
from sealserve.keyservice.store.memory import Memory
from sealserve.keyservice.verification import open_verifier
from sealserve.keyservice.verifiers import Verifier
from sealserve.lab.world import World
from sealserve.transparency.checkpoint import LogVerifier, read_checkpoint
from sealserve.transparency.tree import Frontier, leaf_hash
from sealserve.verifier import load_trust_root

# No test of something else may fail because this machine is busy.
PATIENT = "handshake_seconds = 60\nidle_seconds = 60\nsession_seconds = 100"
LOG_NAME = "keys.example/test"
MEASUREMENT = sha256(b"the server that the policy names").digest()
SIGNER = sha256(b"whoever signed it").digest()
SECRET = bytes.fromhex("5ea15e4ce0ff1cea5ea15e4ce0ff1cea")
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
LAB_FOLDER = 'trust_root = "lab/root_ca.pem"\ncollateral_dir = "lab/collateral"'


@dataclass(frozen=True)
class Enclave:
    """An enclave on the lab's hardware: an evidence source."""

    world: World
    report: SgxReport = REPORT

    def quote(self, report_data: bytes) -> bytes:
        """See `sealserve.attester.source.EvidenceSource`."""
        return self.world.quote(replace(self.report, report_data=report_data))


@dataclass
class Site:
    """The folder of a key service, and who is who.

    It is made with its store, the secret `digits` and, unless `policy` is false, a policy that
    gives it to `report`'s enclave. `top` and `attestation` are lines of the configuration.
    """

    folder: Path
    world: World
    secret: bytes = SECRET
    server_key: KeyType = "p256"
    limits: str = PATIENT
    report: SgxReport = REPORT
    top: str = ""
    attestation: str = LAB_FOLDER
    database: str = "keyservice.db"
    names: tuple[str, ...] = ("localhost",)
    policy: bool = True
    ca_file: Path = field(init=False)
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        self.ca_file = self.folder / "ca.pem"
        self.config = self.folder / "keyservice.toml"
        self.world.save(self.folder / "lab")
        validity = Validity(datetime.now(UTC), 2)
        authority = make_authority(validity)
        names = list(self.names)
        server = make_server(names, validity, issuer=authority, key_type=self.server_key)
        write_file(self.ca_file, authority.certificate_pem)
        write_file(self.folder / "server.pem", server.certificate_pem)
        write_file(self.folder / "server.key", server.key_pem)
        self.write_config()
        initialise(load_config(self.config), log_name=LOG_NAME)
        with self.administration() as administration:
            administration.add_secret("digits", self.secret)
        if self.policy:
            self.write_policy()

    def write_config(self, name: str = "keyservice.toml", *, state: str = "state") -> Path:
        """The configuration; another `name` and `state` are another copy of the service."""
        path = self.folder / name
        path.write_text(
            f'listen = "127.0.0.1:0"\ndatabase = "{self.database}"\nstate = "{state}"\n{self.top}\n'
            '[wrapping]\nkind = "file"\nkey = "kek"\n'
            '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
            f"[attestation]\n{self.attestation}\n[limits]\n{self.limits}\n"
        )
        return path

    def policy_text(
        self,
        identity: str = "",
        *,
        rule: str = "",
        secret: str = 'secret = "digits"',
        exception: str = "",
        trust_root: str | None = None,
    ) -> str:
        """A policy of one rule, for the enclave of `report` unless `identity` names another."""
        root = trust_root or load_trust_root(self.world.root_ca_pem).sha256.hex()
        identity = identity or f'mr_enclave = ["{self.report.mr_enclave.hex()}"]'
        text = (
            f'version = 2\ntrust_root = "{root}"\n'
            f'[[identities]]\nname = "digits server 1.4"\n{identity}\n'
            '[[rules]]\nname = "digits server"\nidentities = ["digits server 1.4"]\n'
            f"{secret}\n{rule}\n"
        )
        if exception:
            text += (
                '[[exceptions]]\nname = "for a test"\nexpires = 2999-12-31\n'
                f'reason = "the lab is made to misbehave here"\n{exception}\n'
            )
        return text

    def write_policy(self, identity: str = "", **options: Any) -> None:
        """Put a policy in force: at once, in every copy of the service that runs."""
        self.apply(self.policy_text(identity, **options))

    def apply(self, text: str) -> None:
        """Put this text in force; it is kept as policy.toml, too."""
        (self.folder / "policy.toml").write_text(text)
        with self.administration() as administration:
            administration.apply_policy(text, administration.try_policy(text).token)

    @contextlib.contextmanager
    def administration(self) -> Iterator[LocalAdministration]:
        """What the commands of an owner work with, whether the service runs or not."""
        with open_administration(self.config) as administration:
            yield administration

    def identity(self, **options: str) -> RatlsIdentity:
        """A fresh RA-TLS identity of the enclave that the policy names."""
        return make_certificate(Enclave(self.world, self.report), **options)  # type: ignore[arg-type]

    def log(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The records on record now, oldest first."""
        found: list[dict[str, Any]] = []
        after = -1
        with self.administration() as administration:
            while page := administration.records(Query(after=after, limit=1000, kind=kind)):
                found += [json.loads(record.data) for record in page]
                after = page[-1].index
        return found

    def records(self) -> list[dict[str, Any]]:
        """The decisions on record now."""
        return self.log("decision")

    def check_log(self) -> int:
        """How many records the log has, all of them as its signed checkpoint says."""
        with self.administration() as administration:
            note = administration.checkpoint()
            verifier = LogVerifier.parse(administration.log_key())
            leaves: list[bytes] = []
            while page := administration.records(Query(after=len(leaves) - 1, limit=1000)):
                leaves += [leaf_hash(record.data) for record in page]
        said = read_checkpoint(note, verifier)
        frontier, _ = Frontier.empty().extended(leaves[: said.size])
        assert (said.size, said.root) == (frontier.size, frontier.root)
        return said.size


@dataclass(frozen=True)
class Running:
    """A service that listens."""

    site: Site
    address: Address
    service: KeyService
    loaded: Loaded
    verifier: Verifier
    metrics: Metrics
    stop: Callable[[], object]

    @property
    def servers(self) -> str:
        """As `fetch_secret` takes it."""
        return f"localhost:{self.address.port}"


def system_time() -> datetime:
    """The clock of a service that is not told another."""
    return datetime.now(UTC)


@contextlib.contextmanager
def start_service(
    site: Site,
    config: Path | None = None,
    *,
    make_verifier: Callable[[Loaded], Verifier] | None = None,
    clock: Callable[[], datetime] = system_time,
) -> Iterator[Running]:
    """The service in an event loop of its own thread; leaving waits until it has stopped.

    `config` is that of another copy; `make_verifier` replaces the one that it names.
    """
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    outcome: list[Running | BaseException] = []
    stop: asyncio.Event = asyncio.Event()

    def ask_to_stop() -> None:
        loop.call_soon_threadsafe(stop.set)

    async def main() -> None:
        loaded = application.load(load_config(config or site.config))
        limits, metrics = loaded.config.limits, Metrics()
        with contextlib.ExitStack() as stack:
            stack.callback(loaded.store.close)
            verifier = (
                make_verifier(loaded)
                if make_verifier
                else open_verifier(loaded.verification, loaded.config)
            )
            stack.callback(verifier.close)
            memory = Memory(loaded.config.state, loaded.store.log)
            appender = Appender(loaded.store, memory, metrics)
            appender.start()
            stack.callback(appender.close)
            service = KeyService(
                store=loaded.store,
                appender=appender,
                verifier=verifier,
                observer=metrics,
                limits=limits,
                key_domain=loaded.config.key_domain,
                clock=clock,
            )
            stack.callback(service.close)
            server = KeyServer(
                service, loaded.context, limits, proxies=loaded.config.proxies, observer=metrics
            )
            address = await server.start(loaded.config.listen)
            outcome.append(Running(site, address, service, loaded, verifier, metrics, ask_to_stop))
            ready.set()
            await stop.wait()
            await server.stop()

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
