"""A steady load on a service of the cluster, and what its clients saw.

The clients are a program of their own, inside the cluster's namespaces: tests/cluster/steady.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster_site import DOMAIN, Site, edge_target

STEADY = Path(__file__).parents[1] / "cluster" / "steady.py"
PAUSE = 0.1  # seconds between two requests of a client
BEFORE = 5.0  # seconds of load around each change
STOCK = 1  # clients of the steady load that try nothing again: so many requests are under way


def pods(site: Site) -> set[str]:
    """The servers' pods, those on their way out too."""
    selected = "--selector=app.kubernetes.io/component=server"
    return {each["metadata"]["name"] for each in site.get("pods", selected)["items"]}


def wait_for_pods(site: Site, count: int) -> None:
    """Until so many are left, and those on their way out are gone."""

    def gone() -> bool:
        return len(pods(site)) == count

    site.cluster.wait("pods on their way out are gone", gone, log="kubelet")


@contextmanager
def steady(
    site: Site, lines: list[dict[str, Any]], *, pause: float = PAUSE, rows: int = 1
) -> Iterator[None]:
    """Clients that ask all the time; what they saw is in `lines` afterwards."""
    path = site.folder / f"steady-{pause}.jsonl"
    command = [
        sys.executable,
        STEADY,
        edge_target(site),
        DOMAIN,
        site.client,
        str(pause),
        str(rows),
    ]
    with path.open("w") as output:
        client = subprocess.Popen(
            site.cluster.space.inside(*command), stdin=subprocess.PIPE, stdout=output
        )
        try:
            time.sleep(BEFORE)
            yield
            time.sleep(BEFORE)
        finally:
            assert client.stdin is not None
            client.stdin.close()
            assert client.wait(60) == 0
    lines += [json.loads(line) for line in path.read_text().splitlines()]
    if errors(lines):
        sys.stderr.write(f"the edge's own failures:\n{failures_of_the_edge(site)}\n")


def failures_of_the_edge(site: Site) -> str:
    """The last connections that an edge could not lead on, and what it says of them."""
    words = ("--selector=app.kubernetes.io/component=edge", "--since=5m", "--tail=-1")
    log = site.kubectl("logs", *words).stdout.splitlines()
    return "\n".join([line for line in log if "status=200" not in line][-20:])


def errors(lines: list[dict[str, Any]], client: str = "") -> list[str]:
    """What failed, of all clients or of one kind."""
    return [each["error"] for each in lines if each["error"] and client in ("", each["client"])]


def report(lines: list[dict[str, Any]]) -> None:
    for client in ("ours", "stock"):
        took = [line["ended"] - line["began"] for line in lines if line["client"] == client]
        failed = errors(lines, client)
        sys.stderr.write(
            f"{client}: {len(took)} requests, {len(failed)} failed {failed[:3] or ''}, "
            f"the slowest took {max(took):.2f} s\n"
        )
