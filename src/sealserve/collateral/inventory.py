"""What a cache folder has, examined: for people and for forecasts. Nothing is changed.

Each entry is verified under the root that its folder is named after. Intel's is known; another one
is taken from the entry itself and must have the fingerprint in that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sealserve.collateral.disk import CacheFolder, Entry, roots
from sealserve.collateral.evaluations import EvaluationMemory
from sealserve.collateral.examination import Examination, examine, root_within
from sealserve.collateral.key import CollateralKey
from sealserve.collateral.sightings import PlatformTcb, Sightings
from sealserve.errors import FormatError
from sealserve.verifier import (
    INTEL_SGX_ROOT_CA,
    INTEL_SGX_ROOT_CA_SHA256,
    Evaluations,
    Platform,
    TrustRoot,
    load_trust_root,
)
from sealserve.verifier.collateral import NO_GRACE


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry, and the highest numbers that were seen for its platform and edition."""

    key: CollateralKey
    entry: Entry
    examination: Examination
    highest: Evaluations


@dataclass(frozen=True, slots=True)
class Inventory:
    """The entries of one trust root, and the platforms that were seen under it."""

    kept: tuple[Kept, ...]
    damaged: tuple[CollateralKey, ...]
    """Entries that cannot be read, and would be fetched anew."""
    seen: dict[PlatformTcb, datetime]
    """Platforms by their versions, and the day on which they were seen last."""

    def edition_in_use(self) -> dict[Platform, Examination]:
        """Of each platform the standard collateral; the early, where there is no other."""
        return self._edition("early") | self._edition("standard")

    def early_edition(self) -> dict[Platform, Examination]:
        """Of each platform the early collateral, where it is kept."""
        return self._edition("early")

    def _edition(self, update: str) -> dict[Platform, Examination]:
        return {
            each.key.platform: each.examination for each in self.kept if each.key.update == update
        }


def take_inventory(path: Path, at: datetime) -> list[Inventory]:
    """Everything in the cache folder at `path`, one value for each trust root.

    Raises CollateralError or ConfigError for what is damaged beyond one entry.
    """
    return [inventory_of(path, sha256, at) for sha256 in roots(path)]


def inventory_of(
    path: Path, root_sha256: bytes, at: datetime, grace: timedelta = NO_GRACE
) -> Inventory:
    """What there is of one trust root."""
    folder = CacheFolder(path, root_sha256)
    memory = EvaluationMemory(folder.path)
    kept, damaged = [], []
    for key in folder.kept():
        try:
            entry = folder.read(key)
        except FormatError:
            damaged.append(key)
            continue
        if entry is not None:  # another process may have dropped it
            examination = examine(entry.collateral, _root(entry, root_sha256), at, grace)
            kept.append(Kept(key, entry, examination, memory.highest(key)))
    return Inventory(tuple(kept), tuple(damaged), Sightings(folder.path).all())


def _root(entry: Entry, sha256: bytes) -> TrustRoot:
    """The root with that fingerprint; Intel's, which will not verify it, where there is none."""
    if sha256 != INTEL_SGX_ROOT_CA_SHA256:
        named = root_within(entry.collateral, sha256)
        if named is not None:
            return named
    return load_trust_root(INTEL_SGX_ROOT_CA)
