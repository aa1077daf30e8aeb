"""A store with an admin API before it, over real TLS, and people with certificates."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from sealserve.deploy.certificates import Pair, Validity, make_authority, make_client, make_server
from sealserve.files import write_file
from sealserve.hosts import Address, ListenAddress
from sealserve.keyservice.administration.local import LocalAdministration
from sealserve.keyservice.administration.remote import RemoteAdministration
from sealserve.keyservice.administration.values import Actor, Administration, Role
from sealserve.keyservice.api import AdminApi
from sealserve.keyservice.config import Admin, Roles
from sealserve.keyservice.store.database import Database
from sealserve.keyservice.store.log import Leaf
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.wrapping.file import FileKey

ORIGIN = "keys.example.com/audit"
PEOPLE = {
    Role.OWNER: "alice.example.com",
    Role.AUDITOR: "audrey.example.com",
    Role.OPERATOR: "oscar.example.com",
}
ROLES = Roles(
    owner=(PEOPLE[Role.OWNER],), auditor=(PEOPLE[Role.AUDITOR],), operator=(PEOPLE[Role.OPERATOR],)
)
EVIDENCE = sha256(b"a quote").hexdigest()
PPID = "5a" * 16
POLICY = (
    'version = 2\n\n[[identities]]\nname = "server"\nmr_enclave = '
    '["9f3c1a7be04d25681122334455667788990a0b0c0d0e0f101112131415161718"]\n\n'
    '[[rules]]\nname = "digits"\nidentities = ["server"]\nsecret = "digits"\n'
)


def new_store(folder: Path) -> Store:
    """An empty store in an SQLite file."""
    database = Database.open(
        URL.create("sqlite", database=str(folder / "keyservice.db")), create=True
    )
    database.migrate()
    return Store.initialise(database, FileKey(bytes(range(32))), origin=ORIGIN)


def record_decisions(store: Store, count: int) -> None:
    """Put denials on record, as the service does: their evidence is `EVIDENCE`."""
    leaves = [
        Leaf.of(
            "decision",
            datetime.now(UTC),
            {
                "request_id": f"{number:016x}",
                "peer": "192.0.2.7:40000",
                "evidence_sha256": EVIDENCE,
                "claims": {"verifier": "dcap", "ppid": PPID, "tcb_status": "UpToDate"},
                "outcome": "denied",
                "code": "policy.no-rule",
                "explanation": [f"platform.ids is {PPID}, expected another"],
                "secret": None,
            },
        )
        for number in range(count)
    ]
    with store.database.writing() as connection:
        store.log.append(connection, store.log.lock(connection), leaves)


def local(store: Store, role: Role = Role.OWNER) -> LocalAdministration:
    """What one person can do to the store itself."""
    return LocalAdministration(
        store, Actor(PEOPLE[role], role), trust_root_sha256=None, simulated=True
    )


@dataclass
class Site:
    """The files of a service and of its people."""

    folder: Path
    authority: Pair = field(init=False)
    validity: Validity = field(init=False)

    def __post_init__(self) -> None:
        self.validity = Validity(datetime.now(UTC), 2)
        self.authority = make_authority(self.validity)
        server = make_server(["127.0.0.1", "localhost"], self.validity, issuer=self.authority)
        write_file(self.ca, self.authority.certificate_pem)
        self.keep("server", server)
        for name in PEOPLE.values():
            self.keep(name, make_client(name, self.validity, issuer=self.authority))

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def keep(self, name: str, pair: Pair) -> None:
        write_file(self.folder / f"{name}.pem", pair.certificate_pem)
        write_file(self.folder / f"{name}.key", pair.key_pem)

    def files(self, who: Role | str) -> tuple[Path, Path]:
        name = PEOPLE[who] if isinstance(who, Role) else who
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def admin(self, roles: Roles = ROLES) -> Admin:
        certificate, key = self.files("server")
        return Admin.model_construct(
            listen=ListenAddress("127.0.0.1", 0),
            certificate=certificate,
            private_key=key,
            client_ca=self.ca,
            roles=roles,
        )


@dataclass
class Served:
    """An admin API that listens."""

    site: Site
    store: Store
    address: Address

    @property
    def url(self) -> str:
        return f"https://{self.address}"

    def remote(self, who: Role | str = Role.OWNER) -> RemoteAdministration:
        return RemoteAdministration(self.url, self.site.ca, *self.site.files(who), timeout=30)

    def tls(self, who: Role | str = Role.OWNER) -> ssl.SSLContext:
        """Of a client that is not ours."""
        context = ssl.create_default_context(cafile=str(self.site.ca))
        context.load_cert_chain(*map(str, self.site.files(who)))
        return context

    def options(self, who: Role | str = Role.OWNER) -> list[str]:
        """Of a command."""
        certificate, key = self.site.files(who)
        return [
            "--server",
            self.url,
            "--ca",
            str(self.site.ca),
            "--cert",
            str(certificate),
            "--key",
            str(key),
        ]


@contextmanager
def serving(site: Site, store: Store, make: Any = None, roles: Roles = ROLES) -> Iterator[Served]:
    """The API in an event loop of its own thread."""

    def administration(actor: Actor) -> Administration:
        return LocalAdministration(store, actor, trust_root_sha256=None, simulated=True)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    api = AdminApi(site.admin(roles), make or administration)
    try:
        address = asyncio.run_coroutine_threadsafe(api.start(), loop).result(30)
        try:
            yield Served(site, store, address)
        finally:
            asyncio.run_coroutine_threadsafe(api.stop(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
