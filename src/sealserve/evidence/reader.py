"""A cursor over bytes from an outsider: it never reads past the end and never copies on trust.

Used by every parser of this room. It knows no format; a length that came from the input is compared
with what is left before anything is taken, so no claim of the input decides an allocation.
"""

from __future__ import annotations

from typing import Literal

from sealserve.errors import FormatError


class Reader:
    """Takes bytes from the front of `data`; `format_name` begins its errors' codes and messages."""

    def __init__(self, data: bytes, format_name: str) -> None:
        self._data = data
        self._format = format_name
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes not yet taken."""
        return len(self._data) - self.position

    def take(self, count: int, field: str) -> bytes:
        """The next `count` bytes; raises FormatError (`<format>.length`) when fewer are left."""
        if count > self.remaining:
            raise FormatError(
                f"{self._format}: {field} needs {count} bytes at offset {self.position}, "
                f"and {self.remaining} are left",
                code=f"{self._format}.length",
                hint="the input is cut short or one of its length fields is wrong",
            )
        start = self.position
        self.position += count
        return self._data[start : self.position]

    def unsigned(
        self, size: int, field: str, byteorder: Literal["little", "big"] = "little"
    ) -> int:
        """The next `size` bytes as an unsigned integer."""
        return int.from_bytes(self.take(size, field), byteorder)
