"""Which models are served from where, and which of their versions.

A model is a folder of versions: `base_path/VERSION/saved_model.pb`, VERSION a decimal number. The
policy chooses among the versions that are there (TensorFlow Serving,
sources/storage_path/file_system_storage_path_source.cc).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sealserve.errors import ConfigError

log = logging.getLogger(__name__)

_NUMBER = re.compile(r"[0-9]{1,19}")
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Latest:
    """The highest `count` versions."""

    count: int = 1

    def choose(self, found: Collection[int]) -> set[int]:
        return set(sorted(found)[-self.count :])


@dataclass(frozen=True)
class All:
    """Every version."""

    def choose(self, found: Collection[int]) -> set[int]:
        return set(found)


@dataclass(frozen=True)
class Specific:
    """These versions, as far as they are there."""

    versions: frozenset[int]

    def choose(self, found: Collection[int]) -> set[int]:
        return set(self.versions.intersection(found))


Policy = Latest | All | Specific


@dataclass(frozen=True)
class ModelSettings:
    """One model: its name, its folder as configured, its policy, its labels."""

    name: str
    base_path: str
    policy: Policy = Latest()
    labels: Mapping[str, int] = field(default_factory=dict)


def discover(base_path: str) -> dict[int, str]:
    """The versions in a folder, each with the path of its own folder.

    Paths are those of the configuration, joined and not resolved: sealed files are opened under
    them. Raises ConfigError for a folder that cannot be read.
    """
    found: dict[int, str] = {}
    try:
        with os.scandir(base_path) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as error:
        raise ConfigError(
            f"cannot read the model's base path {base_path}: {error.strerror}",
            hint="it is the folder that holds the version folders: BASE_PATH/1/saved_model.pb",
        ) from error
    for name in names:
        version = int(name) if _NUMBER.fullmatch(name) else -1
        if not 0 <= version <= _LARGEST:
            continue
        if version in found:
            log.warning("%s: version %d is there twice; %s is ignored", base_path, version, name)
        else:
            found[version] = os.path.join(base_path, name)  # noqa: PTH118  # Path would fold `..`
    return found
