"""Whether this copy can decide and release: for `/readyz`, and for what only a look can measure.

A log that took no records the last time is tried, since nobody sends requests to who is not ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sealserve.errors import SealServeError, StoreError
from sealserve.keyservice.metrics import Metrics
from sealserve.keyservice.store.appender import Appender
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.verifiers import Verifier


class StoreReadiness:
    """Ready while the database answers, the log takes records, and nobody is stopping us."""

    def __init__(
        self, store: Store, appender: Appender, verifier: Verifier, metrics: Metrics
    ) -> None:
        self._store = store
        self._appender = appender
        self._verifier = verifier
        self._metrics = metrics
        self._draining = False

    def drain(self) -> None:
        """Not ready any more: we are about to stop."""
        self._draining = True

    async def problems(self) -> Sequence[str]:
        """Why it cannot, in stable lines."""
        if (ends := self._verifier.valid_until) is not None:
            self._metrics.collateral(ends)
        found = ["draining: the service is about to stop"] if self._draining else []
        try:
            snapshot = await asyncio.to_thread(self._store.refresh)
        except SealServeError as error:
            self._metrics.database(not isinstance(error, StoreError))
            return [*found, f"the database: {error.code}"]
        self._metrics.database(True)
        self._metrics.log_head(snapshot.head.size, snapshot.head.revision)
        if snapshot.policy_sha256 is None:
            found.append("no policy is in force")
        if not self._appender.is_alive:
            found.append("the log takes no records: its writer has ended")
        elif self._appender.failing is not None:
            try:
                await self._appender.append((), None)
            except SealServeError as error:
                found.append(f"the log takes no records: {error.code}")
        return found
