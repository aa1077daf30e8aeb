"""A key service with everything around it (`tests/support/key_site.py`), one for each test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from administered import Served, new_store, serving
from administered import Site as AdminSite
from key_site import Enclave, Running, Site, start_service
from sealserve.keyservice.store.store import Store
from sealserve.lab.world import World


@pytest.fixture(scope="session")
def world() -> World:
    return World.create(now=datetime.now(UTC))


@pytest.fixture
def site(tmp_path, world) -> Site:
    return Site(tmp_path, world)


@pytest.fixture
def make_site(tmp_path_factory, world) -> Callable[..., Site]:
    def make(**options) -> Site:
        return Site(tmp_path_factory.mktemp("site"), options.pop("world", world), **options)

    return make


@pytest.fixture
def start() -> Callable[..., contextlib.AbstractContextManager[Running]]:
    return start_service


@pytest.fixture
def running(site) -> Iterator[Running]:
    with start_service(site) as service:
        yield service


@pytest.fixture
def enclave() -> type[Enclave]:
    """Enclaves of other worlds and with other reports: `enclave(world, report)`."""
    return Enclave


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = new_store(tmp_path)
    yield made
    made.close()


@pytest.fixture
def served(tmp_path: Path, store: Store) -> Iterator[Served]:
    with serving(AdminSite(tmp_path), store) as running:
        yield running
