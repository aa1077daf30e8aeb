"""The files of one version, read through the vault: the folder is listed, contents are opened.

The listing is the host's word, and is not trusted: a file that was added is refused when it is
read, for it is not sealed under the key, and one that was taken away is missed by whoever needs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sealserve.errors import ConfigError
from sealserve.serving.opening.vault import Files

FILE_LIMIT = (4 << 30) - 1  # bytes of one file
COUNT_LIMIT = 10_000  # files and folders


class FolderFiles:
    """`sealserve.serving.engine.VersionFiles` over one folder, as configured and not resolved."""

    def __init__(self, vault: Files, folder: str) -> None:
        """Raises ConfigError for a folder that cannot be listed or holds too much."""
        self._vault = vault
        self._folder = folder
        self.names: Sequence[str] = tuple(_listed(folder))

    def path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def read(self, name: str) -> bytearray:
        return self._vault.read(self.path(name), limit=FILE_LIMIT)


def _listed(folder: str) -> list[str]:
    names: list[str] = []
    waiting, seen = [""], 0
    while waiting:
        below = waiting.pop()
        with _entries(f"{folder}/{below}") as entries:
            for entry in entries:
                seen += 1
                if seen > COUNT_LIMIT:
                    raise ConfigError(
                        f"{folder} holds more than {COUNT_LIMIT} files; is it a version?"
                    )
                if not entry.is_dir():
                    names.append(below + entry.name)
                elif not entry.is_symlink():
                    waiting.append(f"{below}{entry.name}/")
    return sorted(names)


@contextmanager
def _entries(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            yield entries
    except OSError as error:
        raise ConfigError(f"cannot list {folder}: {error.strerror}", code="file") from error
