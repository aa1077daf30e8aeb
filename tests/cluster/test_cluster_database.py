"""The database beside the cluster's pods: over TLS alone, and what it took outlives kill -9."""

from __future__ import annotations

import subprocess

import pytest

from cluster_database import NAME, ROLE, Database
from cluster_space import NODE_ADDRESS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]


def ask(postgres: Database, statement: str, parameters: str) -> subprocess.CompletedProcess[str]:
    url = f"{postgres.url(NODE_ADDRESS)}?{parameters}"
    command = ("psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", url)
    asked = ("env", f"PGPASSWORD={postgres.password}", *command, f"--command={statement}")
    return postgres.cluster.space.run(*asked, check=False)


def test_a_database_that_is_killed_has_what_it_took_when_it_is_back(postgres: Database) -> None:
    verified = f"sslmode=verify-full&sslrootcert={postgres.authority}"
    told = ask(
        postgres, "CREATE TABLE kept (line text); INSERT INTO kept VALUES ('here')", verified
    )
    assert told.returncode == 0, told.stderr
    postgres.kill()
    assert "refused" in ask(postgres, "SELECT line FROM kept", verified).stderr
    postgres.start()
    assert ask(postgres, "SELECT line FROM kept", verified).stdout == "here\n"


@pytest.mark.parametrize(
    ("what", "parameters", "said"),
    [
        ("no TLS", "sslmode=disable", "no encryption"),
        ("another CA", "sslmode=verify-full&sslrootcert={other}", "certificate verify failed"),
    ],
)
def test_a_database_is_reached_over_verified_tls_alone(
    postgres: Database, what: str, parameters: str, said: str
) -> None:
    other = postgres.cluster.parts.trust / "accounts.pem"
    told = ask(postgres, "SELECT 1", parameters.format(other=other))
    assert told.returncode != 0
    assert said in told.stderr, what


def test_who_uses_the_database_administers_nothing(postgres: Database) -> None:
    asked = (
        f"SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = '{ROLE}'"
    )
    assert postgres.query(asked) == "f\n"
    assert (
        postgres.query(f"SELECT datname FROM pg_database WHERE datname = '{NAME}'") == f"{NAME}\n"
    )
