"""A real PostgreSQL server for tests: a cluster of its own in a folder, on a socket and a port.

PostgreSQL refuses to run as root, so as root it runs as another user. Where it is not installed the
tests that need it are skipped, and say so (`scripts/test_packages.sh` installs it).
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

USER = "sealserve"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "on",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "log_min_messages": "warning",
}
START_SECONDS = 60.0


class PostgresServer:
    """A cluster in `folder`; `start`, `stop` and `kill` may be called again and again."""

    def __init__(self, binaries: Path, folder: Path, **settings: str) -> None:
        self._binaries = binaries
        self._folder = folder
        self._owner = _owner()
        self.password = secrets.token_hex(16)
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o755)
        self._data = folder / "data"
        self._data.mkdir(mode=0o700)
        password = folder / "password"
        password.write_text(self.password)
        if self._owner is not None:
            for path in (folder, self._data, password):
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        self._run(
            "initdb", "-D", str(self._data), "-U", USER, f"--pwfile={password}", "-A",
            "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C",
        )  # fmt: skip
        lines = {**SETTINGS, **settings, "port": str(self.port)}
        lines["unix_socket_directories"] = ""
        with (self._data / "postgresql.conf").open("a") as stream:
            stream.writelines(f"{name} = '{value}'\n" for name, value in lines.items())

    @property
    def url(self) -> str:
        """Of the database of the tests, without its password."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = (self._folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [self._binaries / "postgres", "-D", str(self._data)],
                stdout=log,
                stderr=log,
                user=self._owner.pw_uid if self._owner else None,
                group=self._owner.pw_gid if self._owner else None,
                cwd="/",
            )
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < end and self.process.poll() is None, self.log
            time.sleep(0.05)

    def stop(self) -> None:
        """Shut it down at once, but properly."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9: of the server, and then of what it leaves behind."""
        assert self.process is not None
        children = _children(self.process.pid)
        self._end(signal.SIGKILL)
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.2)

    @property
    def log(self) -> str:
        """What the server has said."""
        return (self._folder / "log").read_text()

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(START_SECONDS)
        self.process = None

    def _answers(self) -> bool:
        ready = [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / name, *arguments],
            check=True,
            capture_output=True,
            user=self._owner.pw_uid if self._owner else None,
            group=self._owner.pw_gid if self._owner else None,
            cwd="/",
        )


def find_postgres() -> Path:
    """The folder of its programs; skips the test where there are none."""
    found = _binaries()
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return found


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version)
    return found[-1].parent if found else None


def _version(path: Path) -> int:
    number = re.search(r"/(\d+)/bin/", str(path))
    return int(number[1]) if number else 0


def _owner() -> pwd.struct_passwd | None:
    """The user as whom it runs where we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is no other user")


def _children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in found.split()]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
