"""The secrets that the service may release, by name.

Each is a file of its own that nobody but its owner may read. They are read once, at the start and
at a reload, so that a release never waits for a disk and never meets half a file. A value leaves
its wrapper by `reveal` alone: it shows in no repr, no log, no exception and no pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from sealserve.errors import ConfigError
from sealserve.files import read_secret

SECRET_FILE_LIMIT = 16 << 10  # bytes; in hexadecimal it still fits the protocol's bound


class Secret:
    """A named value that does not show itself."""

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: bytes) -> None:
        self.name = name
        self._value = value

    def reveal(self) -> bytes:
        """The value itself, for the one who sends it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, {len(self._value)} bytes)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class SecretStore:
    """What was read from the files that the configuration names."""

    def __init__(self, secrets: Mapping[str, Secret]) -> None:
        self._secrets = dict(secrets)

    @classmethod
    def load(cls, files: Mapping[str, Path]) -> SecretStore:
        """Read every file; raises ConfigError for one that is missing, empty, large or not 0600."""
        return cls({name: _load(name, path) for name, path in files.items()})

    def get(self, name: str) -> Secret:
        """The secret of that name; raises ConfigError when there is none."""
        try:
            return self._secrets[name]
        except KeyError:
            raise ConfigError(
                f"there is no secret named {name!r}",
                hint="name its file under [secrets] in the key service's configuration",
            ) from None

    @property
    def names(self) -> frozenset[str]:
        """The names of all."""
        return frozenset(self._secrets)


def _load(name: str, path: Path) -> Secret:
    value = read_secret(path, limit=SECRET_FILE_LIMIT)
    if not value:
        raise ConfigError(f"the file {path} of the secret {name!r} is empty")
    return Secret(name, value)
