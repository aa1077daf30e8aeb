"""A key service with everything around it (`tests/support/key_site.py`), one for each test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from key_site import Enclave, Running, Site, start_service
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
