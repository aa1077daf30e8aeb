"""The files of a machine on which a manifest template is filled in, as a test wants them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BuildMachine:
    """Folders are what has no `.zip` at its end; each library folder has these libraries."""

    names: tuple[str, ...] = ("libssl.so.3", "libz.so.1")

    def is_folder(self, path: str) -> bool:
        return not path.endswith(".zip")

    def libraries(self, folder: str) -> list[str]:
        return [f"{folder}/{name}" for name in self.names]
