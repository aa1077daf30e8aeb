"""A cluster for all tests of this folder: first what answers questions, then what runs pods."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster_database import Database, database
from cluster_images import images
from cluster_parts import cache, programs
from cluster_site import Site, by_command, prepare
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
def postgres(api: Cluster) -> Database:
    """A database beside all pods."""
    return database(api)


@pytest.fixture(scope="session")
def node(api: Cluster) -> Cluster:
    """All the rest of a cluster: pods run."""
    add_node(api)
    return api


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Our images, by role."""
    return images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def pushed(node: Cluster, archives: dict[str, Path]) -> dict[str, str]:
    """Our images in the node's registry: name by role."""
    return {role: node.push(archive) for role, archive in archives.items()}


@pytest.fixture(scope="session")
def site(node: Cluster, pushed: dict[str, str]) -> Site:
    """What is there before anything is applied: a node with our images, an owner's files."""
    made = Site(node, node.space.folder / "site", pushed, mutual=True)
    prepare(made)
    return made


@pytest.fixture(scope="session")
def applied(site: Site) -> Site:
    """The service, applied from nothing: it answers."""
    for stage, seconds in by_command(site)["seconds"].items():
        sys.stderr.write(f"{seconds:6.1f} s  sealserve k8s apply: {stage}\n")
    return site
