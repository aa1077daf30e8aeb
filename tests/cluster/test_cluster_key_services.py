"""Several key services on one PostgreSQL: each may die, and so may the database."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster_database import ROLE, Database
from cluster_load import errors, pods, report, steady, wait_for_pods
from cluster_site import Site, standing
from cluster_space import NODE_ADDRESS
from real_cluster import Cluster, Object, tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

COPIES = 2
TABLE = f"""max_replicas = 1
key_service_database = "postgresql://{ROLE}@{NODE_ADDRESS}/{ROLE}"
key_service_replicas = {COPIES}"""
KILL = """
for each in $(grep --files-with-matches "$1" /proc/[0-9]*/cgroup 2>/dev/null); do
  folder=${each%/cgroup}
  if tr '\\0' ' ' <"$folder/cmdline" | grep -q 'keyservice run'; then kill -9 "${folder#/proc/}"; fi
done
"""


@pytest.fixture(scope="module")
def kept(node: Cluster, pushed: dict[str, str], postgres: Database) -> Iterator[Site]:
    """A service whose key services are copies on the database."""
    password = node.space.folder / "database-password"
    password.write_text(postgres.password)
    secrets = {"database-password": password, "database-ca.pem": postgres.authority}
    folder = node.space.folder / "kept"
    made = Site(node, folder, pushed, service="kept", table=TABLE, secrets=secrets)
    with standing(made):
        yield made


def copies(site: Site) -> list[Object]:
    selected = "--selector=app.kubernetes.io/component=keyservice"
    return list(site.get("pods", selected)["items"])


def ready(site: Site) -> int:
    """How many copies say that they can release keys."""
    status = site.get("deployment", f"{site.name}-keyservice")["status"]
    return int(status.get("readyReplicas", 0))


def kill(site: Site, copy: Object) -> None:
    """kill -9: of the key service in a pod, which stays."""
    site.cluster.space.run("bash", "-c", KILL, "-", copy["metadata"]["uid"])


def restarts(site: Site) -> int:
    return sum(each["status"]["containerStatuses"][0]["restartCount"] for each in copies(site))


def audit(site: Site) -> list[Object]:
    """The records of the log, which is whole."""
    config = "--config=/etc/sealserve/keyservice.toml"
    words = ["exec", f"deploy/{site.name}-keyservice", "--"]
    site.kubectl(*words, "sealserve", "audit", "verify", config)
    script = f"sealserve audit export --out /tmp/exported {config} >&2; cat /tmp/exported"
    told = site.kubectl(*words, "sh", "-c", f"{script}; rm /tmp/exported").stdout
    return [json.loads(line) for line in told.splitlines()]


def released(site: Site) -> int:
    decisions = [each for each in audit(site) if each["kind"] == "decision"]
    return sum(each["outcome"] == "released" for each in decisions)


def test_copies_release_keys_out_of_one_database(kept: Site, postgres: Database) -> None:
    assert ready(kept) == COPIES
    assert released(kept) >= 1
    asked = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
    assert int(postgres.query(f"{asked} WHERE usename = '{ROLE}' AND ssl")) >= COPIES
    assert postgres.query(f"{asked} WHERE usename = '{ROLE}' AND NOT ssl") == "0\n"


def test_a_copy_that_is_killed_is_missed_by_no_request(kept: Site) -> None:
    lines: list[dict[str, Any]] = []
    before = restarts(kept)
    with steady(kept, lines):
        kill(kept, copies(kept)[0])
        kept.cluster.wait("the copy is started again", lambda: restarts(kept) > before)
        kept.wait("keyservice", log="kubelet")
    report(lines)
    assert not errors(lines)


def test_a_server_that_starts_while_the_database_is_down_is_given_its_key_afterwards(
    kept: Site, postgres: Database
) -> None:
    lines: list[dict[str, Any]] = []
    old, before = pods(kept), released(kept)
    with steady(kept, lines):
        postgres.kill()
        kept.cluster.wait("no copy is ready", lambda: ready(kept) == 0)
        kept.kubectl("scale", f"deployment/{kept.name}-server", "--replicas=2")
        kept.cluster.wait("another server asks for its key", lambda: asks(kept, old))
        began = time.monotonic()
        postgres.start()
        kept.wait("keyservice", log="kubelet")
        kept.wait("server", log="kubelet")
        tell("from the database's return to another server", began)
    report(lines)
    assert not errors(lines)
    assert released(kept) > before
    kept.kubectl("scale", f"deployment/{kept.name}-server", "--replicas=1")
    wait_for_pods(kept, 1)


def asks(site: Site, old: set[str]) -> bool:
    """Whether a server that was not there before has been told of no key yet."""
    new = pods(site) - old
    told = [site.kubectl("logs", each, "--container=server", check=False).stdout for each in new]
    return any('"no_key_yet"' in each for each in told)
