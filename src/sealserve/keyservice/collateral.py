"""Collateral for the key service: verified once for each kind of platform, then kept for a while.

Kept is what was verified, never longer than a maximum age and never beyond the first date in it.
What cannot be fetched or does not verify is an error for everyone who waits for it: no old answer
stands in. Only platforms whose PCK certificate was verified should be asked for
(`sealserve.verifier.platform_of`), so that nobody makes this service fetch at will.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from sealserve.endorsements.collateral import FILE_NAMES, PART_LIMIT, Collateral, PckCa
from sealserve.errors import CollateralError, ConfigError
from sealserve.files import read_file
from sealserve.verifier import Platform, TrustRoot, VerifiedCollateral, verify_collateral

MAX_PLATFORMS: Final = 256  # kinds of platform that are kept; the least recently used goes first


class CollateralSource(Protocol):
    """Where collateral comes from: a `PccsClient`, a `CollateralFolder`."""

    def collateral(self, fmspc: bytes, ca: PckCa) -> Collateral:
        """The collateral for these platforms; raises CollateralError."""
        ...


@dataclass(frozen=True, slots=True)
class CollateralFolder:
    """Collateral from the files of a folder, whichever platform is asked for; read each time."""

    folder: Path

    def collateral(self, fmspc: bytes, ca: PckCa) -> Collateral:
        """What is in the folder now; the verifier says whether it is for this platform."""
        try:
            return Collateral.from_files(
                {
                    name: read_file(self.folder / name, limit=PART_LIMIT)
                    for name in FILE_NAMES.values()
                }
            )
        except ConfigError as error:
            raise CollateralError(error.message, hint=error.hint) from error


class CachedCollateral:
    """Verified collateral by platform. Safe to use from several threads.

    Those who ask for a platform while it is being fetched wait for that one answer, good or bad.
    """

    def __init__(
        self, source: CollateralSource, trust_root: TrustRoot, *, max_age: timedelta
    ) -> None:
        self._source = source
        self._root = trust_root
        self._max_age = max_age
        self._lock = threading.Lock()
        self._entries: OrderedDict[Platform, _Entry] = OrderedDict()

    def get(self, platform: Platform, now: datetime) -> VerifiedCollateral:
        """Collateral that is valid at `now`; raises CollateralError or VerificationError."""
        entry, is_new = self._entry(platform, now)
        if is_new:
            self._fill(entry, platform, now)
        return entry.answer.result()

    def _entry(self, platform: Platform, now: datetime) -> tuple[_Entry, bool]:
        """The entry to wait for, and whether it is the caller's to fill."""
        with self._lock:
            entry = self._entries.get(platform)
            if entry is not None and entry.may_serve(now, self._max_age):
                self._entries.move_to_end(platform)
                return entry, False
            entry = self._entries[platform] = _Entry(Future(), now)
            self._entries.move_to_end(platform)
            if len(self._entries) > MAX_PLATFORMS:
                self._entries.popitem(last=False)
            return entry, True

    def _fill(self, entry: _Entry, platform: Platform, now: datetime) -> None:
        try:
            collateral = self._source.collateral(platform.fmspc, platform.ca)
            entry.answer.set_result(verify_collateral(collateral, self._root, now))
        except BaseException as error:  # noqa: BLE001  `get` raises it, and so do those who wait
            with self._lock:
                if self._entries.get(platform) is entry:
                    del self._entries[platform]
            entry.answer.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An answer, there or on its way, and when it was asked for."""

    answer: Future[VerifiedCollateral]
    asked_at: datetime

    def may_serve(self, now: datetime, max_age: timedelta) -> bool:
        if not self.answer.done():
            return True
        collateral = self.answer.result()
        is_young = self.asked_at <= now < self.asked_at + max_age
        return is_young and collateral.valid_from <= now <= collateral.valid_until
