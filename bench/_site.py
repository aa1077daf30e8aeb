"""The folder of a key service for benchmarks: a lab platform, enclaves, a store, configurations.

Enclaves are replicas of one build on one platform, each with a key and a certificate of its own.
Their keys are written down, as PEM beside the certificate, because clients in other processes read
them: nothing here is anybody's secret.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sealserve.appraisal.policy import parse_policy
from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.deploy.certificates import Validity, make_authority, make_server
from sealserve.evidence.ratls import extract_evidence
from sealserve.files import write_file
from sealserve.keyservice import deciding
from sealserve.keyservice.administration.opening import (
    initialise,
    open_administration,
    open_store,
)
from sealserve.keyservice.asking import Ask
from sealserve.keyservice.config import KeyServiceConfig, load_config
from sealserve.keyservice.datakey import DataKey
from sealserve.keyservice.store.log import Head, Leaf
from sealserve.keyservice.store.rules import Rules
from sealserve.keyservice.store.secrets import SecretFacts, State, StoredSecret, add_version
from sealserve.keyservice.store.snapshot import Snapshot
from sealserve.keyservice.verifiers import basis_of
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import World
from sealserve.transparency.tree import Frontier, leaf_hash
from sealserve.verifier import TrustRoot, load_trust_root, verify_collateral, verify_quote

SECRET = bytes(range(16))
NAME = "digits"
ENCLAVE = EnclaveIdentity(bytes(32), bytes(32))
ENCLAVES = 32
LOG_NAME = "keys.example/bench"
_REQUEST, _PEER = "0123456789abcdef", "127.0.0.1:54321"
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
    policy = _policy(load_trust_root((site.folder / "lab" / "root_ca.pem").read_bytes()))
    with open_administration(config_file) as administration:
        administration.add_secret(NAME, SECRET)
        administration.apply_policy(policy, administration.try_policy(policy).token)


def decisions(count: int, start: int = 0) -> list[Leaf]:
    """Records of releases, made as the service makes them, each with a request of its own.

    What they are made of is judged once: only the request's identifier and the peer differ.
    """
    leaf = _decision()
    return [_as_request(leaf, number) for number in range(start, start + count)]


@cache
def _decision() -> Leaf:
    now = datetime.now(UTC)
    world = World.create(now=now)
    root = load_trust_root(world.root_ca_pem)
    certificate = make_certificate(Source(world)).certificate_der
    evidence = extract_evidence(certificate)
    claims = verify_quote(evidence.quote, verify_collateral(world.collateral(), root, now), now)
    policy = _policy(root)
    key, digest = DataKey.generate(), hashlib.sha256(policy.encode()).hexdigest()
    sealed = StoredSecret(_facts(NAME), key.seal(SECRET, b""))
    head = Head(Frontier.empty(), 2, 1, "")
    rules = Rules().with_policy(policy, now=now, by="bench")
    snapshot = Snapshot(head, rules, parse_policy(policy), digest, lambda _: [sealed])
    ask = Ask(_REQUEST, _PEER, "localhost", certificate)
    judgement = deciding.judge(ask, (None,), evidence, claims, snapshot, snapshot.secret)
    return deciding.leaves(ask, judgement, basis_of(root), now)[0]


def _as_request(leaf: Leaf, number: int) -> Leaf:
    data = leaf.data.replace(_REQUEST.encode(), b"%016x" % number)
    data = data.replace(_PEER.encode(), b"127.0.0.1:%05d" % (10_000 + number % 50_000))
    return replace(leaf, data=data, hash=leaf_hash(data), time_us=leaf.time_us + number)


def _policy(root: TrustRoot) -> str:
    return (
        f'version = 2\ntrust_root = "{root.sha256.hex()}"\n'
        f'[[identities]]\nname = "server"\nmr_enclave = ["{ENCLAVE.mr_enclave.hex()}"]\n'
        f'[[rules]]\nname = "digits"\nidentities = ["server"]\nsecret = "{NAME}"\n'
        '[[rules]]\nname = "models"\nidentities = ["server"]\nsecrets = ["model-*"]\n'
    )


def _facts(name: str) -> SecretFacts:
    now = datetime.now(UTC)
    return SecretFacts(name, 1, State.CURRENT, len(SECRET), now, "bench", now, "bench")


def _add_many(config: KeyServiceConfig, names: list[str]) -> None:
    """In one transaction, without a record for each: a short cut past `secret add`."""
    store = open_store(config)
    try:
        with store.database.writing() as connection:
            for name in names:
                add_version(connection, _facts(name), SECRET, store.key)
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
