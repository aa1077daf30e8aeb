"""Whether this copy can decide and release: what `/readyz` says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sealserve.errors import SealServeError
from sealserve.keyservice.store.appender import Appender
from sealserve.keyservice.store.store import Store


class StoreReadiness:
    """Ready while the database answers, the log takes records, and nobody is stopping us."""

    def __init__(self, store: Store, appender: Appender) -> None:
        self._store = store
        self._appender = appender
        self._draining = False

    def drain(self) -> None:
        """Not ready any more: we are about to stop."""
        self._draining = True

    async def problems(self) -> Sequence[str]:
        """Why it cannot, in stable lines."""
        if self._draining:
            return ("draining: the service is about to stop",)
        found = []
        try:
            snapshot = await asyncio.to_thread(self._store.refresh)
        except SealServeError as error:
            found.append(f"the database: {error.code}")
        else:
            if snapshot.policy_sha256 is None:
                found.append("no policy is in force")
        if self._appender.failing is not None:
            found.append(f"the log takes no records: {self._appender.failing}")
        return found
