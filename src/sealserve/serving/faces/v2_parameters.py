"""Parameters of the Open Inference Protocol: those that are known, those that are refused.

The protocol defines none, and lets a server ignore what it does not know. Ours are

    signature_name      of a request, a string: the signature to run
    binary_data_size, binary_data, binary_data_output
                        REST alone: Triton Inference Server, protocol/extension_binary_data.md

Parameters of Triton's that would change the answer, or where it goes, are refused: whoever sends
them would take one answer for another. Source: its protocol/extension_*.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages.tensors import MAX_COUNT

SIGNATURE_NAME = "signature_name"
BINARY_DATA_SIZE = "binary_data_size"
BINARY_DATA = "binary_data"
BINARY_DATA_OUTPUT = "binary_data_output"

_REFUSED = {
    "sequence_id": "sequences",
    "sequence_start": "sequences",
    "sequence_end": "sequences",
    "shared_memory_region": "shared memory",
    "shared_memory_byte_size": "shared memory",
    "shared_memory_offset": "shared memory",
    "classification": "the classification extension",
}


def require_served(names: Iterable[str]) -> None:
    """Unimplemented if one of these parameters asks for what there is not here."""
    for name in names:
        if name in _REFUSED:
            raise Unimplemented(f"parameter {name!r}: there is no support for {_REFUSED[name]}")


def text(parameters: Mapping[str, Any], name: str) -> str:
    """A parameter that is a string; empty where it is not given."""
    value = parameters.get(name, "")
    if not isinstance(value, str):
        raise InvalidArgument(f"parameter {name!r} must be a string")
    return value


def flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """A parameter that is true or false."""
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidArgument(f"parameter {name!r} must be true or false")
    return value


def size(parameters: Mapping[str, Any], name: str) -> int | None:
    """A parameter that is a number of bytes; None where it is not given."""
    value = parameters.get(name)
    if value is not None and (type(value) is not int or not 0 <= value <= MAX_COUNT):
        raise InvalidArgument(f"parameter {name!r} must be a number of bytes")
    return value
