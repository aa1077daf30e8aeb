"""Worlds of the lab, and a source of their collateral that counts, fails and stalls on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from sealserve.collateral.disk import CacheFolder
from sealserve.collateral.shared import SharedCollateral
from sealserve.endorsements.collateral import Collateral
from sealserve.errors import CollateralError
from sealserve.lab.world import World
from sealserve.verifier import Platform, load_trust_root

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Source:
    """A collateral service as the rooms above see it."""

    def __init__(self, world: World) -> None:
        self.name = "a service"
        self.is_local = False
        self.remarks = ()
        self.world = world
        self.update = "standard"
        self.asked: list[Platform] = []
        self.error: Exception | None = None
        self.stalled: dict[str, threading.Event] = {}

    def collateral(self, platform: Platform) -> Collateral:
        self.asked.append(platform)
        if platform.tee in self.stalled:
            assert self.stalled[platform.tee].wait(30)
        if self.error is not None:
            raise self.error
        return self.world.collateral(platform.tee, self.update)

    def go_down(self) -> None:
        self.error = CollateralError("nobody there", hint="is it up?")

    def come_back(self) -> None:
        self.error = None


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def world() -> World:
    return World.create(now=NOW)


@pytest.fixture(scope="session")
def root(world):
    return load_trust_root(world.root_ca_pem)


@pytest.fixture
def source(world) -> Source:
    return Source(world)


@pytest.fixture
def folder(tmp_path, root) -> CacheFolder:
    made = CacheFolder(tmp_path / "cache", root.sha256)
    made.make()
    return made


@pytest.fixture
def make_shared(source, root, folder) -> Callable[..., SharedCollateral]:
    """As a process makes it; a second one stands for another process."""

    def make(**options) -> SharedCollateral:
        made = {"source": source, "root": root, "folder": folder, "max_age": timedelta(hours=1)}
        return SharedCollateral(**(made | options))

    return make
