"""`sealserve serve` as a process of its own, over mutual TLS, for other people's clients."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sealserve.client import Client
from sealserve.deploy.certificates import Validity
from sealserve.deploy.tls_folder import write_twoway
from sealserve.sealing import seal

PATIENCE = 120


@dataclass(frozen=True)
class Site:
    """A running server, its files, and where it listens."""

    folder: Path
    grpc: str
    rest: str
    process: subprocess.Popen[str]

    def pem(self, name: str) -> bytes:
        return (self.folder / "tls" / name).read_bytes()

    def client(self) -> Client:
        """Our own, over gRPC."""
        return Client(
            self.grpc,
            ca=self.pem("ca_cert.pem"),
            certificate=self.pem("client/cert.pem"),
            private_key=self.pem("client/key.pem"),
        )


def seal_folder(root: Path, folder: str, key: bytes) -> None:
    """Seal every file below `folder`, each for its path from `root`, in its place."""
    for path in sorted((root / folder).rglob("*")):
        if path.is_file():
            plain = path.read_bytes()
            with path.open("w+b") as sink:
                seal(io.BytesIO(plain), sink, key, path=str(path.relative_to(root)))


@contextmanager
def served(folder: Path, *flags: str, key: bytes | None = None) -> Iterator[Site]:
    """Serve what is in `folder`, where `tls` is made; the server has ended when the block has.

    With `key`, everything that it reads is sealed under it, the models by the caller.
    """
    write_twoway(folder / "tls", ["localhost"], "client", Validity(datetime.now(UTC), 1))
    source = "--dangerously_serve_unsealed_models"
    if key is not None:
        source = "--dangerously_use_key_file=wrap.key"
        (folder / "wrap.key").write_bytes(key)
        (folder / "wrap.key").chmod(0o600)
        ssl_config = (folder / "tls" / "ssl.cfg").read_bytes()
        with (folder / "tls" / "ssl.cfg").open("w+b") as sink:
            seal(io.BytesIO(ssl_config), sink, key, path="tls/ssl.cfg")
    command = [
        *(sys.executable, "-m", "sealserve", "serve", "--host=127.0.0.1", "--port=0"),
        *("--rest_api_port=0", "--ssl_config_file=tls/ssl.cfg", source, *flags),
    ]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            ready = re.search(r"gRPC \S+:(\d+), REST \S+:(\d+)", process.stdout.readline())
            watchdog.cancel()
            assert ready is not None
            yield Site(folder, f"localhost:{ready[1]}", f"localhost:{ready[2]}", process)
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == 0
