"""PostgreSQL on the node of a cluster, outside all pods, as an operator's database is.

It takes connections over TLS alone, and runs as a user of its own, since it refuses to be root's.
That user cannot reach the space's folder, so the part with the data is mounted where it can.
Sources: PostgreSQL 15, "pg_hba.conf", "Secure TCP/IP Connections with SSL", initdb, postgres.
"""

from __future__ import annotations

import secrets
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster_space import NODE_ADDRESS
from postgres import find_postgres
from real_cluster import Cluster

OWNER = "postgres"  # Debian's user for it
ROLE = "keyservice"  # who uses the database
NAME = f"{ROLE}_simulated"  # as the lab's overlay asks for one that is described as ROLE
PORT = 5432
PLACE = Path("/run/database")  # /run is the space's own
PROGRAM = "postgres"
SETTINGS = {
    "listen_addresses": f"{NODE_ADDRESS},127.0.0.1",
    "unix_socket_directories": str(PLACE),
    "ssl": "on",
    "ssl_cert_file": str(PLACE / "database.pem"),
    "ssl_key_file": str(PLACE / "database.key"),
    "shared_buffers": "32MB",
    "log_min_messages": "warning",
}
KILL = """
first=$(head -n 1 "$1")
others=$(cat "/proc/$first/task/$first/children")
kill -9 "$first"
kill -9 $others || true  # they end by themselves, too
"""
WHO = f"local all {OWNER} peer\nhostssl {NAME} {ROLE} all scram-sha-256\n"


@dataclass(frozen=True)
class Database:
    """A server, and the database that is made for a key service."""

    cluster: Cluster
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    binaries: Path = field(default_factory=find_postgres)

    def url(self, host: str) -> str:
        """Of the database under one of the server's names, without its password."""
        return f"postgresql://{ROLE}@{host}/{NAME}"

    @property
    def authority(self) -> Path:
        """The CA of its certificate."""
        return self.cluster.parts.ca.pem

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        command = _as_owner(self.binaries / PROGRAM, "-D", PLACE / "data")
        self.cluster.space.start(PROGRAM, *command)
        self.cluster.wait("the database answers", self.answers, log=PROGRAM)

    def answers(self) -> bool:
        ready = (self.binaries / "pg_isready", "--quiet", f"--host={PLACE}")
        return self.cluster.space.run(*ready, check=False).returncode == 0

    def kill(self) -> None:
        """kill -9: of the server and of all its processes."""
        process = self.cluster.space.started.pop(PROGRAM)
        self.cluster.space.run("sh", "-c", KILL, "-", PLACE / "data" / "postmaster.pid")
        process.wait()

    def query(self, statement: str) -> str:
        """What a statement gives, as the server's own administrator."""
        asked = ("--quiet", "--no-align", "--tuples-only", f"--host={PLACE}", NAME)
        return self._run("psql", *asked, input=statement, stdin=None).stdout

    def _run(self, name: str, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.cluster.space.run(*_as_owner(self.binaries / name, *words), **more)

    def initialise(self) -> None:
        """Make the server's files; there is no database in it yet."""
        self._run("initdb", "--auth=peer", "--encoding=UTF8", "--locale=C", f"{PLACE}/data")
        settings = "".join(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        for file, text in (("postgresql.conf", settings), ("pg_hba.conf", WHO)):
            writing = _as_owner("sh", "-c", 'cat >"$1"', "-", PLACE / "data" / file)
            self.cluster.space.run(*writing, input=text, stdin=None)

    def create(self) -> None:
        """Make the database and its owner, who is nobody's administrator."""
        self._run("createdb", f"--host={PLACE}", NAME)
        self.query(
            f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.password}';"
            f"ALTER DATABASE {NAME} OWNER TO {ROLE};"
        )


def _as_owner(*command: str | Path) -> list[str | Path]:
    user = ("setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups")
    return ["env", "--chdir=/", *user, *command]


def database(cluster: Cluster, *hosts: str) -> Database:
    """Make and start one on the node; its certificate is for `hosts` and the node's address."""
    made = Database(cluster)
    space, ca = cluster.space, cluster.parts.ca
    ca.issue("database", "database", hosts=(*hosts, NODE_ADDRESS))
    folder = space.folder / "database"
    folder.mkdir()
    space.run("mkdir", PLACE)
    space.run("mount", "--bind", folder, PLACE)
    for each in ("database.pem", "database.key"):
        space.run("install", "--mode=600", ca.folder / each, PLACE)
    space.run("chown", "--recursive", f"{OWNER}:{OWNER}", PLACE)
    made.initialise()
    made.start()
    made.create()
    return made
