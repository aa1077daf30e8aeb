"""The folder of a key service, and who is who in it.

The world is the lab's, issued some days ago, so that a clock that is a day slow is still in it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sealserve.deploy.certificates import Pair, Validity, make_authority, make_client, make_server
from sealserve.files import write_file
from sealserve.keyservice.administration.local import LocalAdministration
from sealserve.keyservice.administration.opening import initialise, open_administration
from sealserve.keyservice.config import load_config
from sealserve.lab.world import World
from sealserve.verifier import load_trust_root
from soak._world import ENCLAVE, NAME, SECRET

KEY_DOMAIN = "keys.example.com"
ISSUED_DAYS_AGO = 3
DAYS = 365
OWNER, AUDITOR = "alice.example.com", "bob.example.com"

_CONFIG = """
listen = "127.0.0.1:{port}"
database = "{database}"
{top}
key_domain = "{domain}"
state = "{state}"
workers = {workers}
[wrapping]
kind = "file"
key = "kek"
[tls]
certificate = "server.pem"
private_key = "server.key"
[attestation]
trust_root = "lab/root_ca.pem"
collateral_dir = "lab/collateral"
[watch]
listen = "127.0.0.1:{watch}"
[limits]
{limits}
"""
_ADMIN = """
[admin]
listen = "127.0.0.1:{port}"
certificate = "server.pem"
private_key = "server.key"
client_ca = "ca.pem"
[admin.roles]
owner = ["{owner}"]
auditor = ["{auditor}"]
"""


@dataclass(frozen=True)
class Copy:
    """One copy of the service: its configuration, and where it will listen."""

    config: Path
    port: int
    watch: int
    admin: int

    @property
    def server(self) -> str:
        """As a client names it."""
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Site:
    """Everything that the copies of one service share."""

    folder: Path
    copies: tuple[Copy, ...]

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        workers: int = 2,
        copies: int = 1,
        database: str = "keyservice.db",
        state: str = "state",
        top: str = "",
        limits: str = "",
        admin: bool = False,
        files: Mapping[str, bytes] | None = None,
    ) -> Site:
        """A site that is ready to run: keys, tables, the secret and the policy are there.

        `top` and `limits` are lines of the configuration, `files` what they name.
        """
        folder.mkdir(exist_ok=True)
        world = World.create(now=datetime.now(UTC) - timedelta(days=ISSUED_DAYS_AGO))
        world.save(folder / "lab")
        _write_certificates(folder)
        for name, content in (files or {}).items():
            write_file(folder / name, content)
        made = []
        for number in range(copies):
            copy = Copy(folder / f"ks-{number}.toml", *_free_ports(3))
            text = _CONFIG.format(
                port=copy.port,
                watch=copy.watch,
                database=database,
                domain=KEY_DOMAIN,
                state=state if copies == 1 else f"{state}-{number}",
                workers=workers,
                top=top,
                limits=limits,
            )
            if admin:
                text += _ADMIN.format(port=copy.admin, owner=OWNER, auditor=AUDITOR)
            copy.config.write_text(text)
            made.append(copy)
        site = cls(folder, tuple(made))
        site._fill(load_trust_root(world.root_ca_pem).sha256.hex())
        return site

    @property
    def ca_file(self) -> Path:
        """Whom clients believe."""
        return self.folder / "ca.pem"

    @contextmanager
    def administration(self) -> Iterator[LocalAdministration]:
        """What the commands work with, while the service runs or not."""
        with open_administration(self.copies[0].config) as administration:
            yield administration

    def policy(self, root: str) -> str:
        """The one rule."""
        return (
            f'version = 2\ntrust_root = "{root}"\n'
            '[[identities]]\nname = "digits server"\n'
            f'mr_enclave = ["{ENCLAVE.mr_enclave.hex()}"]\n'
            f'[[rules]]\nname = "digits"\nidentities = ["digits server"]\nsecret = "{NAME}"\n'
        )

    def _fill(self, root: str) -> None:
        initialise(load_config(self.copies[0].config), log_name="soak.example/log")
        with self.administration() as administration:
            administration.add_secret(NAME, SECRET)
            text = self.policy(root)
            administration.apply_policy(text, administration.try_policy(text).token)


@contextmanager
def free_ports(number: int) -> Iterator[list[int]]:
    """Ports that nobody listens on, held while the block lasts."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        yield [each.getsockname()[1] for each in held]


def _free_ports(number: int) -> list[int]:
    with free_ports(number) as ports:
        return ports


def _write_certificates(folder: Path) -> None:
    validity = Validity(datetime.now(UTC), DAYS)
    authority = make_authority(validity)
    names = ["localhost", f"*.{KEY_DOMAIN}"]
    server = make_server(names, validity, issuer=authority)
    write_file(folder / "ca.pem", authority.certificate_pem)
    _write_pair(folder, "server", server)
    for person in (OWNER, AUDITOR):
        _write_pair(folder, person, make_client(person, validity, issuer=authority))


def _write_pair(folder: Path, name: str, pair: Pair) -> None:
    write_file(folder / f"{name}.pem", pair.certificate_pem)
    write_file(folder / f"{name}.key", pair.key_pem)
