"""The database beside the cluster's pods: over TLS alone, and what it took outlives kill -9."""

from __future__ import annotations

import subprocess

import pytest

from cluster_database import NAME, ROLE, Database, database
from cluster_space import NODE_ADDRESS
from real_cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def made(api: Cluster) -> Database:
    return database(api)


def ask(made: Database, statement: str, parameters: str) -> subprocess.CompletedProcess[str]:
    url = f"{made.url(NODE_ADDRESS)}?{parameters}"
    command = ("psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", url)
    asked = ("env", f"PGPASSWORD={made.password}", *command, f"--command={statement}")
    return made.cluster.space.run(*asked, check=False)


def test_a_database_that_is_killed_has_what_it_took_when_it_is_back(made: Database) -> None:
    verified = f"sslmode=verify-full&sslrootcert={made.authority}"
    told = ask(made, "CREATE TABLE kept (line text); INSERT INTO kept VALUES ('here')", verified)
    assert told.returncode == 0, told.stderr
    made.kill()
    assert "refused" in ask(made, "SELECT line FROM kept", verified).stderr
    made.start()
    assert ask(made, "SELECT line FROM kept", verified).stdout == "here\n"


@pytest.mark.parametrize(
    ("what", "parameters", "said"),
    [
        ("no TLS", "sslmode=disable", "no encryption"),
        ("another CA", "sslmode=verify-full&sslrootcert={other}", "certificate verify failed"),
    ],
)
def test_a_database_is_reached_over_verified_tls_alone(
    made: Database, what: str, parameters: str, said: str
) -> None:
    other = made.cluster.parts.trust / "accounts.pem"
    told = ask(made, "SELECT 1", parameters.format(other=other))
    assert told.returncode != 0
    assert said in told.stderr, what


def test_who_uses_the_database_administers_nothing(made: Database) -> None:
    asked = (
        f"SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = '{ROLE}'"
    )
    assert made.query(asked) == "f\n"
    assert made.query(f"SELECT datname FROM pg_database WHERE datname = '{NAME}'") == f"{NAME}\n"
