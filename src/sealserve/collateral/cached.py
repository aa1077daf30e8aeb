"""Verified collateral in memory, for a service that answers many requests at once.

Only a platform that signed what was presented is asked for (`sealserve.verifier.platform_of`), so
that nobody with a made-up certificate or quote makes this service fetch. Who needs the same
collateral waits for the one renewal; nobody else waits, and a waiter holds no thread. What is in
use and not yet old is renewed beside its use, and nobody waits for that at all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

from sealserve.collateral.held import Held
from sealserve.collateral.shared import SharedCollateral
from sealserve.verifier import Claims, Platform, VerifiedCollateral
from sealserve.verifier.collateral import NO_GRACE

MAX_PLATFORMS: Final = 256  # kinds of platform that are kept; the least recently used goes first
RENEWING_THREADS: Final = 4


class CachedCollateral:
    """Verified collateral by platform. Belongs to one event loop."""

    def __init__(self, shared: SharedCollateral) -> None:
        self._shared = shared
        self._held: OrderedDict[Platform, Held] = OrderedDict()
        self._renewals: dict[Platform, asyncio.Task[Held]] = {}
        self._threads = ThreadPoolExecutor(RENEWING_THREADS, thread_name_prefix="collateral")

    def at_hand(
        self, platform: Platform, now: datetime, grace: timedelta = NO_GRACE
    ) -> VerifiedCollateral | None:
        """What `get` would return at once and without beginning a renewal; from any thread."""
        held = self._held.get(platform)
        if held is None or not held.may_serve(now, grace) or now >= held.renew_from:
            return None
        return held.verified if held.is_young(now) else None

    @property
    def valid_until(self) -> datetime | None:
        """The end of what ends first of all that is held; None where nothing is."""
        ends = (held.verified.valid_until for held in list(self._held.values()))
        return min(ends, default=None)

    async def get(
        self, platform: Platform, now: datetime, grace: timedelta = NO_GRACE
    ) -> VerifiedCollateral:
        """Collateral that may be used at `now`, past its nextUpdate by no more than `grace`.

        What is fetched may be of later than `now`. Raises CollateralError or a RejectedError.
        """
        held = self._held.get(platform)
        if held is not None and held.may_serve(now, grace) and held.is_young(now):
            self._held.move_to_end(platform)
            if now >= held.renew_from:
                self._renewal(platform, now, grace, held)
            return held.verified
        renewal = self._renewal(platform, now, grace, held)
        return (await asyncio.shield(renewal)).verified  # who goes away ends it for nobody else

    def renew(self) -> None:
        """Ask for everything anew before its next use.

        What there is stays at hand for the case that this fails; what a renewal under way brings
        serves its waiters alone.
        """
        self._renewals.clear()
        for platform, held in self._held.items():
            self._held[platform] = held.outdated()

    def saw(self, quote: bytes, claims: Claims) -> None:
        """Note the platform of a quote that was verified, for forecasts; from any thread."""
        self._shared.sightings.saw(quote, claims)

    def close(self) -> None:
        """Let the threads go; a renewal that is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _renewal(
        self, platform: Platform, now: datetime, grace: timedelta, held: Held | None
    ) -> asyncio.Task[Held]:
        """The one renewal that is under way for `platform`, begun here if there is none."""
        task = self._renewals.get(platform)
        if task is None:
            task = asyncio.create_task(self._obtain(platform, now, grace, held))
            self._renewals[platform] = task
            task.add_done_callback(lambda done: self._settle(platform, done))
        return task

    async def _obtain(
        self, platform: Platform, now: datetime, grace: timedelta, held: Held | None
    ) -> Held:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._shared.obtain, platform, now, grace, held
        )

    def _settle(self, platform: Platform, done: asyncio.Task[Held]) -> None:
        """Keep a good answer; a bad one is told to those who waited, and the next asks again."""
        failed = done.cancelled() or done.exception() is not None
        if self._renewals.get(platform) is not done:
            return  # `renew` came in between
        del self._renewals[platform]
        if failed:
            self._held.pop(platform, None)
            return
        self._held[platform] = done.result()
        self._held.move_to_end(platform)
        if len(self._held) > MAX_PLATFORMS:
            self._held.popitem(last=False)
