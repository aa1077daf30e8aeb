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
from sealserve.hosts import parse_address, parse_dns_name, parse_ip

LARGEST_MIB: Final = 512 << 10
AUTOMATIC: Final = "automatic"
COPIES: Final = 4
"""Of a model in memory: file, graph and working memory, of the old version and the new one."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LABEL: Final = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
# What no path has: the patterns together let through names of letters and a few signs, and slashes
# between them, so that none leaves the enclave's folder.
_NO_PATH: Final = (
    (re.compile(r"^$"), "it is empty"),
    (re.compile(r"^/"), "it is relative to the enclave's folder, without a slash in front"),
    (re.compile(r"[^A-Za-z0-9._/-]"), "letters, digits, dots, hyphens, underscores, slashes alone"),
    (re.compile(r"(^|/)\.\.(/|$)"), "no .. leads out of the enclave's folder"),
    (re.compile(r"//|/$"), "one slash between names, and none at the end"),
    (re.compile(r"(^|/)\."), "no name begins with a dot"),
)
_KEY_ITSELF: Final = re.compile(r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{64}")
_SIZE: Final = re.compile(r"([1-9][0-9]{0,5})([MG])")
_ADDRESS_LIMIT: Final = 260
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
    except UsageError:
        raise ValueError(f"found {text!r:.80}, {_no_host(text)}") from None


def _no_host(text: str) -> str:
    if parse_ip(text) is not None:
        return "an IP address: certificates and clients name a host"
    if not text.isascii():
        return "expected a host name, other alphabets as xn-- labels"
    return "which is no host name: letters, digits, hyphens and dots between them"


def _path(text: str) -> str:
    for wrong, reason in _NO_PATH:
        if wrong.search(text):
            raise ValueError(f"found {text!r:.80}: {reason}")
    if len(text) > _PATH_LIMIT:
        raise ValueError(f"found {text!r:.80}: {len(text)} signs, and {_PATH_LIMIT} are the most")
    return text


def _address(text: str) -> str:
    try:
        return str(parse_address(text))
    except UsageError as error:
        if len(text) > _ADDRESS_LIMIT:
            raise ValueError(f"found {text!r:.80}, which is no address") from None
        raise ValueError(f"{error.message}{_cure_of_address(text)}") from None


def _cure_of_address(text: str) -> str:
    if "://" in text:
        return ": host:port alone, without https://"
    if ";" in text or "," in text:
        return ": one host and port, behind which there may be several"
    colons = text.count(":") > 1 and "[" not in text
    return ": an IPv6 address stands in brackets" if colons else ""


def _key_name(text: str) -> str:
    if _KEY_ITSELF.fullmatch(text):
        raise ValueError("this looks like a key itself, and a description holds its name alone")
    return _check_name(text)


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


_check_name: Final = matching(_NAME, "1 to 64 letters, digits, dots, hyphens, underscores")
Name = Annotated[str, AfterValidator(_check_name)]
KeyName = Annotated[str, AfterValidator(_key_name)]
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
