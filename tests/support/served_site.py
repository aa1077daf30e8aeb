"""`sealserve serve` as a process of its own, over mutual TLS, for other people's clients."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sealserve.deploy.certificates import Validity
from sealserve.deploy.tls_folder import write_twoway

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


@contextmanager
def served(folder: Path, *flags: str) -> Iterator[Site]:
    """Serve what is in `folder`, where `tls` is made; the server has ended when the block has."""
    write_twoway(folder / "tls", ["localhost"], "client", Validity(datetime.now(UTC), 1))
    command = [
        *(sys.executable, "-m", "sealserve", "serve", "--host=127.0.0.1", "--port=0"),
        *("--rest_api_port=0", "--ssl_config_file=tls/ssl.cfg"),
        *("--dangerously_serve_unsealed_models", *flags),
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
