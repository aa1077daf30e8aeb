"""The folder beside a description that says what runs from it, and the lock on it.

`.NAME.up` for `NAME.toml`, for its owner alone (0700): `composition.json`, what was rendered, and
for plain processes who they are and what they print. It holds no secret. One command at a time.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sealserve.errors import ConfigError, UsageError
from sealserve.files import read_file, write_file

FORMAT: Final = 1
_LIMIT: Final = 8 << 20  # bytes
_RECORD: Final = "composition.json"
_KEYS: Final = frozenset(
    ("with", "description_sha256", "domain", "project", "simulated", "services")
)


@dataclass(frozen=True, slots=True)
class State:
    """The folder of one description."""

    path: Path

    @classmethod
    def of(cls, file: Path) -> State:
        """The folder of the description in `file`, whether it is there or not."""
        return cls(file.parent / f".{file.stem}.up")

    def record(self) -> dict[str, Any] | None:
        """What is in force; None where nothing is. Raises ConfigError for a damaged one."""
        if not (self.path / _RECORD).exists():
            return None
        try:
            record = json.loads(read_file(self.path / _RECORD, limit=_LIMIT))
        except ValueError as error:
            raise self._damaged(str(error)) from None
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise ConfigError(
                f"{self.path / _RECORD} is of another version of SealServe",
                hint="end what runs with the version that started it",
            )
        missing = sorted(_KEYS - record.keys())
        if missing:
            raise self._damaged(f"it has no {', '.join(missing)}")
        return record

    def _damaged(self, how: str) -> ConfigError:
        return ConfigError(
            f"{self.path / _RECORD} is damaged: {how}",
            hint=f"end by hand what runs of it, then remove {self.path}",
        )

    def write(self, record: Mapping[str, Any]) -> None:
        """Put `record` in force, before anything of it is started."""
        text = json.dumps({"format": FORMAT, **record}, indent=2) + "\n"
        write_file(self.path / _RECORD, text.encode())

    @contextmanager
    def held(self, *, make: bool = False) -> Iterator[None]:
        """For one command at a time; UsageError while another has it, or there is no folder."""
        if make:
            try:
                self.path.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise UsageError(f"cannot make {self.path}: {error.strerror}") from error
        try:
            stream = (self.path / "lock").open("ab")
        except OSError as error:
            raise UsageError(f"cannot use {self.path}: {error.strerror}") from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another command is at work on {self.path}", hint="wait until it has ended"
                ) from None
            try:
                yield
            finally:
                if make and not (self.path / _RECORD).exists():
                    self.remove()  # nothing was begun

    def remove(self) -> None:
        """All of it, when nothing runs any more."""
        shutil.rmtree(self.path)
