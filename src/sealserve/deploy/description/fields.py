"""What the tables of a description are made of: keys with their hints, and types of texts.

Every text that is rendered into another file has letters, digits and a few signs alone, so none can
end a string there. Nothing here opens a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sealserve.errors import UsageError
from sealserve.hosts import parse_address, parse_dns_name

LARGEST_MIB: Final = 512 << 10
AUTOMATIC: Final = "automatic"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LABEL: Final = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_PATH: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_SIZE: Final = re.compile(r"([1-9][0-9]{0,5})([MG])")
_PATH_LIMIT: Final = 200  # a protected file's path has 512 bytes at most in Gramine


def size_in_mib(text: str) -> int:
    """`"98M"` or `"4G"` in MiB; ValueError for what is no size, or beyond 512G."""
    match = _SIZE.fullmatch(text)
    size = int(match[1]) * (1024 if match[2] == "G" else 1) if match else 0
    if not 1 <= size <= LARGEST_MIB:
        raise ValueError(f"found {text!r:.80}, expected a size from 1M to 512G")
    return size


def matching(pattern: re.Pattern[str], expected: str) -> Callable[[str], str]:
    """A check that a text is as `pattern` has it, whole; `expected` says so to a person."""

    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"found {text!r:.80}, expected {expected}")
        return text

    return check


def host(text: str) -> str:
    """A DNS name in canonical form; ValueError for anything else."""
    try:
        return parse_dns_name(text)
    except UsageError as error:
        raise ValueError(error.message) from None


def _path(text: str) -> str:
    if len(text) > _PATH_LIMIT or not _PATH.fullmatch(text):
        raise ValueError(f"found {text!r:.80}, expected a path below the enclave's folder")
    return text


def _address(text: str) -> str:
    try:
        return str(parse_address(text))
    except UsageError as error:
        raise ValueError(error.message) from None


def _size(text: str) -> str:
    size_in_mib(text)
    return text


def _enclave_size(text: str) -> str:
    if text == AUTOMATIC:
        return text
    size = size_in_mib(text)
    if size & (size - 1):
        raise ValueError(f"found {text!r}: SGX takes a power of two alone")
    return text


Name = Annotated[
    str, AfterValidator(matching(_NAME, "1 to 64 letters, digits, dots, hyphens, underscores"))
]
Label = Annotated[
    str, AfterValidator(matching(LABEL, "a small letter, then small letters, digits, hyphens"))
]
RelativePath = Annotated[str, AfterValidator(_path)]
Host = Annotated[str, AfterValidator(host)]
HostPort = Annotated[str, AfterValidator(_address)]
Size = Annotated[str, AfterValidator(_size)]
EnclaveSize = Annotated[str, AfterValidator(_enclave_size)]


def key(description: str, example: Any, **rest: Any) -> Any:
    """A key of the file; its description and example are the hint for whoever gets it wrong."""
    return Field(description=description, examples=[example], **rest)


class Table(BaseModel):
    """A table of the file: frozen, exact in its types, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
