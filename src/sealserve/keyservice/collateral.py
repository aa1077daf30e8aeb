"""Collateral for the key service: from a PCCS or a folder, verified once, kept while it is fresh.

Only a platform whose PCK certificate was verified is asked for (`sealserve.verifier.platform_of`),
so that nobody with a made-up certificate makes this service fetch. Who needs the same collateral
waits for the one fetch; nobody else waits, and a waiter holds no thread. What is older than the
configured age is fetched again, and where that fails the answer is no: an outage must not keep an
old answer alive.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from sealserve.endorsements.collateral import FILE_NAMES, PART_LIMIT, Collateral, PckCa
from sealserve.errors import CollateralError, ConfigError
from sealserve.files import read_file
from sealserve.verifier import Platform, TrustRoot, VerifiedCollateral, verify_collateral

MAX_PLATFORMS: Final = 256  # kinds of platform that are kept; the least recently used goes first
FETCHING_THREADS: Final = 4


class CollateralSource(Protocol):
    """Where collateral comes from: a `PccsClient`, a `CollateralFolder`."""

    def collateral(self, fmspc: bytes, ca: PckCa) -> Collateral:
        """The collateral for these platforms; may block, raises CollateralError."""
        ...


@dataclass(frozen=True, slots=True)
class CollateralFolder:
    """Collateral from the files of a folder, whichever platform is asked for; read each time."""

    folder: Path

    def read(self) -> Collateral:
        """What is in the folder now; raises ConfigError for a file that is not there."""
        return Collateral.from_files(
            {name: read_file(self.folder / name, limit=PART_LIMIT) for name in FILE_NAMES.values()}
        )

    def collateral(self, fmspc: bytes, ca: PckCa) -> Collateral:
        """The same for any platform; the verifier says whether it is for this one."""
        try:
            return self.read()
        except ConfigError as error:
            raise CollateralError(error.message, hint=error.hint) from error


class _Entry(NamedTuple):
    collateral: VerifiedCollateral
    asked_at: datetime


class CachedCollateral:
    """Verified collateral by platform. Belongs to one event loop."""

    def __init__(
        self, source: CollateralSource, trust_root: TrustRoot, *, max_age: timedelta
    ) -> None:
        self._source = source
        self._root = trust_root
        self._max_age = max_age
        self._entries: OrderedDict[Platform, _Entry] = OrderedDict()
        self._fetches: dict[Platform, asyncio.Task[VerifiedCollateral]] = {}
        self._threads = ThreadPoolExecutor(FETCHING_THREADS, thread_name_prefix="collateral")

    async def get(self, platform: Platform, now: datetime) -> VerifiedCollateral:
        """Collateral that is valid at `now`; raises CollateralError or a RejectedError."""
        entry = self._entries.get(platform)
        if entry is not None and self._may_serve(entry, now):
            self._entries.move_to_end(platform)
            return entry.collateral
        fetch = self._fetches.get(platform)
        if fetch is None:
            fetch = self._fetches[platform] = asyncio.create_task(self._fetch(platform, now))
            fetch.add_done_callback(lambda done: self._settle(platform, now, done))
        return await asyncio.shield(fetch)  # one who goes away does not end it for the others

    def forget(self) -> None:
        """Fetch anew from now on: what a fetch under way brings serves its waiters alone."""
        self._entries.clear()
        self._fetches.clear()

    def close(self) -> None:
        """Let the threads go; a fetch that is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _may_serve(self, entry: _Entry, now: datetime) -> bool:
        is_young = entry.asked_at <= now < entry.asked_at + self._max_age
        return is_young and entry.collateral.valid_from <= now <= entry.collateral.valid_until

    async def _fetch(self, platform: Platform, now: datetime) -> VerifiedCollateral:
        def fetch() -> VerifiedCollateral:
            collateral = self._source.collateral(platform.fmspc, platform.ca)
            return verify_collateral(collateral, self._root, now)

        return await asyncio.get_running_loop().run_in_executor(self._threads, fetch)

    def _settle(
        self, platform: Platform, now: datetime, done: asyncio.Task[VerifiedCollateral]
    ) -> None:
        """Keep a good answer; a bad one is told to those who waited, and the next tries again."""
        failed = done.cancelled() or done.exception() is not None
        if self._fetches.get(platform) is not done:
            return  # forgotten meanwhile
        del self._fetches[platform]
        self._entries.pop(platform, None)
        if failed:
            return
        self._entries[platform] = _Entry(done.result(), now)
        if len(self._entries) > MAX_PLATFORMS:
            self._entries.popitem(last=False)
