"""A cluster for all tests of this folder: first what answers questions, then what runs pods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster_parts import cache, programs
from real_cluster import Cluster, add_node, api_server


@pytest.fixture(scope="session")
def built() -> Path:
    return programs()


@pytest.fixture(scope="session")
def api(built: Path) -> Iterator[Cluster]:
    """etcd and the API server."""
    with api_server(cache() / "run", built) as made:
        yield made


@pytest.fixture(scope="session")
def node(api: Cluster) -> Cluster:
    """All the rest of a cluster: pods run."""
    add_node(api)
    return api
