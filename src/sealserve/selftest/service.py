"""Steps 7 to 9: the key is released to what runs on the hardware, which serves a sealed model.

The owner's side is here: wrap key, key service, client. The folder `platform/` has only what a
platform may see. One machine plays both, and the key service listens on the loopback address.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sealserve.client import Client
from sealserve.demo.processes import COMMAND, Service
from sealserve.deploy.certificates import Validity
from sealserve.deploy.description.model import Description
from sealserve.deploy.tls_folder import write_oneway
from sealserve.errors import DeniedError, IntegrityError, NetworkError
from sealserve.files import PUBLIC, write_file
from sealserve.folders import find_tree, seal_tree
from sealserve.keyservice.administration.opening import initialise, open_administration
from sealserve.keyservice.administration.values import Query
from sealserve.keyservice.config import load_config
from sealserve.models.digits import export_digits, held_out
from sealserve.sealing import WRAP_KEY_BYTES
from sealserve.selftest.commands import server_words
from sealserve.selftest.description import BASE_PATH, CA, DOMAIN, MODEL, SSL_CFG
from sealserve.selftest.evidence import Found
from sealserve.selftest.platform import Platform, Site
from sealserve.selftest.policy import SECRET, policy_text
from sealserve.selftest.running import Task

_CONFIG: Final = "keyservice.toml"
_READY: Final = r"ready, gRPC (\S+)"
_RELEASED: Final = rf"key_received|{_READY}"
_DAYS: Final = 7


def service_tasks(owner: Owner, found: Found) -> list[Task]:
    """The last three steps."""
    steps = _Steps(owner, found)
    return [
        Task(
            "release",
            "a key service releases the key to the server, and records it",
            ("policy",),
            steps.release,
        ),
        Task(
            "serving",
            "the server opens its sealed model and ssl.cfg, and is ready",
            ("release",),
            steps.serving,
        ),
        Task(
            "prediction",
            "a prediction, over TLS that ends in the server, is right",
            ("serving",),
            steps.prediction,
        ),
    ]


class Owner:
    """The owner's folder and processes, with the platform's folder beside it."""

    def __init__(self, folder: Path, platform: Platform, description: Description) -> None:
        self.platform = platform
        self.description = description
        self.folder = folder / "owner"
        self.site = Site(folder / "platform", folder / "logs")
        for place in (self.folder, self.site.folder, self.site.logs):
            place.mkdir(mode=0o700)
        self._running = ExitStack()

    @property
    def config(self) -> Path:
        """The key service's configuration."""
        return self.folder / _CONFIG

    def run(self, service: Service) -> Service:
        """The service, which is stopped with the others."""
        self._running.callback(service.stop)
        return service

    def start(self, name: str, *words: str) -> Service:
        """A command of ours, on the owner's side."""
        log = self.site.logs / f"{name}.log"
        return self.run(Service(name, [*COMMAND, *words], folder=self.folder, log=log))

    def close(self) -> None:
        """Stop everything, last started first."""
        self._running.close()

    def seal(self) -> bytes:
        """Model and ssl.cfg, sealed, into the platform's folder; the wrap key."""
        key = secrets.token_bytes(WRAP_KEY_BYTES)
        export_digits(self.folder / BASE_PATH)
        validity = Validity(datetime.now(UTC), _DAYS)
        write_oneway(self.folder / "tls", [DOMAIN], validity)
        for source, path in ((BASE_PATH, BASE_PATH), (f"tls/{SSL_CFG}", SSL_CFG)):
            target = self.site.folder / path
            target.parent.mkdir(exist_ok=True)
            seal_tree(find_tree(self.folder / source), target, key, embed_path=path)
        return key

    def prepare_key_service(self) -> None:
        """Its certificate, which the platform is given to trust, and its configuration."""
        write_oneway(self.folder / "service", ["localhost"], Validity(datetime.now(UTC), _DAYS))
        authority = (self.folder / "service" / "server" / "cert.pem").read_bytes()
        write_file(self.site.folder / CA, authority, mode=PUBLIC)
        attestation = [f"{self._collateral_key()} = {json.dumps(self.platform.collateral)}"]
        if self.platform.collateral_ca is not None:
            ca = str(self.platform.collateral_ca.resolve())
            attestation.append(f"collateral_ca = {json.dumps(ca)}")
        if self.platform.simulated:
            write_file(self.folder / "root.pem", self.platform.trust_root(), mode=PUBLIC)
            attestation.append('trust_root = "root.pem"')
        lines = (
            f'listen = "127.0.0.1:{self.description.key_service.address.rpartition(":")[2]}"',
            'database = "keyservice.db"',
            'state = "state"',
            "[wrapping]",
            'kind = "file"',
            'key = "kek"',
            "[tls]",
            'certificate = "service/server/cert.pem"',
            'private_key = "service/server/key.pem"',
            "[attestation]",
            *attestation,
        )
        write_file(self.config, ("\n".join(lines) + "\n").encode())

    def _collateral_key(self) -> str:
        is_folder = Path(self.platform.collateral).is_dir()
        return "collateral_dir" if is_folder else "collateral_service"

    def start_key_service(self, policy: str, key: bytes) -> None:
        """With that policy in force and the key as the one secret."""
        initialise(load_config(self.config), log_name="selftest")
        with open_administration(self.config) as administration:
            administration.apply_policy(policy, administration.try_policy(policy).token)
            administration.add_secret(SECRET, key)
        service = self.start("keyservice", "keyservice", "run", "--config", str(self.config))
        service.wait_ready(r"ready on \S+")

    def decisions(self) -> list[dict[str, object]]:
        """What its audit log says, the newest first."""
        with open_administration(self.config) as administration:
            records = administration.records(Query(kind="decision", newest_first=True))
        return [json.loads(record.data) for record in records]


class _Steps:
    def __init__(self, owner: Owner, found: Found) -> None:
        self._owner, self._found = owner, found
        self._words = server_words(owner.description, owner.platform.source)
        self._server: Service | None = None

    @property
    def _running(self) -> Service:
        if self._server is None:
            raise AssertionError("the release has passed")
        return self._server

    def release(self) -> str:
        owner, platform = self._owner, self._owner.platform
        key = owner.seal()
        owner.prepare_key_service()
        claims = self._found.verified
        target = platform.predict(self._words) or claims.target
        policy = policy_text(target, claims, simulated=platform.simulated)
        owner.start_key_service(policy, key)
        self._server = owner.run(platform.start("server", self._words))
        try:
            self._server.wait_ready(_RELEASED, seconds=platform.ready_seconds)
        except NetworkError as error:
            self._raise_denial()
            raise error from None
        outcomes = [each["outcome"] for each in owner.decisions()]
        if outcomes != ["released"]:
            raise DeniedError(f"the audit log says {outcomes}, expected one release")
        return "released, and recorded in the audit log"

    def _raise_denial(self) -> None:
        """Say why, where the key service denied it."""
        newest = next(iter(self._owner.decisions()), {"outcome": "released"})
        if newest["outcome"] == "released":  # what stopped the server came afterwards
            return
        explanation = newest.get("explanation")
        lines = explanation if isinstance(explanation, list) else []
        failed = "; ".join(line for line in lines if " FAILS: " in line)
        raise DeniedError(
            f"the key service has {newest['outcome']} it: {failed or newest.get('code')}",
            code=str(newest.get("code")),
        )

    def serving(self) -> str:
        ready = self._running.wait_ready(_READY, seconds=self._owner.platform.ready_seconds)
        return f"ready, gRPC {ready.group(1).rstrip(',')}"

    def prediction(self) -> str:
        images, labels = held_out()
        started = time.monotonic()
        with Client(
            f"127.0.0.1:{self._owner.description.server.port}",
            ca=self._owner.folder / "tls" / "server" / "cert.pem",
            server_name=DOMAIN,
        ) as client:
            answer = client.predict(MODEL, {"input": images[:1]})
        read, shown = int(answer["predict"].argmax()), int(labels[0])
        if read != shown:
            raise IntegrityError(f"the digit {shown} is read as {read}", code="prediction")
        return f"the digit {shown} is read right, in {1000 * (time.monotonic() - started):.0f} ms"
