"""The folder of a key service for benchmarks: a lab platform, enclaves, a store, configurations.

Enclaves are replicas of one build on one platform, each with a key and a certificate of its own.
Their keys are written down, as PEM beside the certificate, because clients in other processes read
them: nothing here is anybody's secret.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import Connection

from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.deploy.certificates import Validity, make_authority, make_server
from sealserve.files import write_file
from sealserve.keyservice.administration.opening import (
    initialise,
    open_administration,
    open_store,
)
from sealserve.keyservice.config import KeyServiceConfig, load_config
from sealserve.keyservice.store.secrets import SecretFacts, State, add_version
from sealserve.keyservice.store.store import Store
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import World
from sealserve.verifier import load_trust_root

SECRET = bytes(range(16))
NAME = "digits"
ENCLAVE = EnclaveIdentity(bytes(32), bytes(32))
ENCLAVES = 32
LOG_NAME = "keys.example/bench"
# Nothing is refused here: what limits refuse is measured by `make soak`.
LIMITS = """
max_sessions = 65536
max_sessions_per_source = 65536
connections_per_second_per_source = 10000
connections_burst_per_source = 65536
releases_per_second_per_identity = 10000
releases_burst_per_identity = 65536
max_waiting_decisions = 65536
"""
IDLE = LIMITS + "handshake_seconds = 600\nidle_seconds = 600\nsession_seconds = 900\n"


@dataclass(frozen=True)
class Source:
    """Quotes of one enclave on a simulated platform."""

    world: World

    def quote(self, report_data: bytes) -> bytes:
        """See `sealserve.attester.source.EvidenceSource`."""
        return self.world.quote(ENCLAVE.report(report_data))


@dataclass(frozen=True)
class Site:
    """What is in the folder; it can be pickled."""

    folder: Path

    @property
    def ca_file(self) -> Path:
        """The issuer of the service's certificate."""
        return self.folder / "ca.pem"

    @property
    def enclaves(self) -> list[Path]:
        """A PEM file for each: certificate and key."""
        return sorted((self.folder / "enclaves").glob("*.pem"))

    def configure(
        self,
        name: str,
        *,
        workers: int = 1,
        database: str | None = None,
        password: Path | None = None,
        limits: str = LIMITS,
    ) -> Path:
        """A configuration `name`.toml; by default with a database and a state of its own."""
        lines = [
            'listen = "127.0.0.1:0"',
            f'database = "{database or f"{name}.db"}"',
            f'state = "{name}.state"',
            f"workers = {workers}",
            "" if password is None else f'database_password = "{password}"',
            '[wrapping]\nkind = "file"\nkey = "kek"',
            '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"',
            '[attestation]\ntrust_root = "lab/root_ca.pem"\ncollateral_dir = "lab/collateral"',
            f"[limits]\n{limits}",
        ]
        path = self.folder / f"{name}.toml"
        path.write_text("\n".join(lines) + "\n")
        return path


def make_site(folder: Path) -> Site:
    """Everything but databases, in an empty folder."""
    now = datetime.now(UTC)
    world = World.create(now=now)
    world.save(folder / "lab")
    authority = make_authority(Validity(now, 2))
    own = make_server(["localhost"], Validity(now, 2), issuer=authority)
    write_file(folder / "ca.pem", authority.certificate_pem)
    write_file(folder / "server.pem", own.certificate_pem)
    write_file(folder / "server.key", own.key_pem)
    (folder / "enclaves").mkdir()
    for number in range(ENCLAVES):
        identity = make_certificate(Source(world))
        write_file(folder / "enclaves" / f"{number:02}.pem", _pem(identity))
    return Site(folder)


def fill(site: Site, config_file: Path, *, secrets: int = 1) -> None:
    """The store that a configuration names: `NAME` and more secrets, and a policy that gives all.

    The others are called model-1 and so on; what `init`, `secret add` and `policy apply` do.
    """
    config = load_config(config_file)
    initialise(config, log_name=LOG_NAME)
    if secrets > 1:
        _add_many(config, [f"model-{number}" for number in range(1, secrets)])
    root = load_trust_root((site.folder / "lab" / "root_ca.pem").read_bytes()).sha256.hex()
    policy = (
        f'version = 2\ntrust_root = "{root}"\n'
        f'[[identities]]\nname = "server"\nmr_enclave = ["{ENCLAVE.mr_enclave.hex()}"]\n'
        f'[[rules]]\nname = "digits"\nidentities = ["server"]\nsecret = "{NAME}"\n'
        '[[rules]]\nname = "models"\nidentities = ["server"]\nsecrets = ["model-*"]\n'
    )
    with open_administration(config_file) as administration:
        administration.add_secret(NAME, SECRET)
        administration.apply_policy(policy, administration.try_policy(policy).token)


def _add_many(config: KeyServiceConfig, names: list[str]) -> None:
    """In one transaction, without a record for each: a short cut past `secret add`."""
    now = datetime.now(UTC)
    facts = SecretFacts("", 1, State.CURRENT, len(SECRET), now, "bench", now, "bench")

    def add(store: Store, connection: Connection) -> None:
        for name in names:
            add_version(connection, replace(facts, name=name), SECRET, store.key)

    store = open_store(config)
    try:
        with store.database.writing() as connection:
            add(store, connection)
    finally:
        store.close()


def _pem(identity: RatlsIdentity) -> bytes:
    certificate = x509.load_der_x509_certificate(identity.certificate_der)
    return certificate.public_bytes(
        serialization.Encoding.PEM
    ) + identity.private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
