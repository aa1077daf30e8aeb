"""Claims that were written down, read back: the strict inverse of `Claims.as_dict`.

The audit log keeps the claims of every decision, so that another policy can be tried on them. What
is read here was verified when it was written; nothing is verified again, and whoever relies on it
relies on the record (the log's signed tree holds it). Every key must be there, none may be
unknown, and the claims that come out, written down again, are what was read: there is one way to
write them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from sealserve.errors import FormatError
from sealserve.verifier.claims import (
    AzureStanding,
    Claims,
    DcapStanding,
    SgxEnclave,
    Standing,
    Target,
    TcbStatus,
    TrustDomain,
)

_T = TypeVar("_T")
_Half = TypeVar("_Half", SgxEnclave, TrustDomain, DcapStanding, AzureStanding)

# Sizes of fields in bytes (of each part, of a tuple), by the report bodies and the PCK certificate.
SIZES: Final[dict[object, dict[str, int]]] = {
    SgxEnclave: {
        **dict.fromkeys(("mr_enclave", "mr_signer"), 32),
        **dict.fromkeys(("report_data", "config_id"), 64),
        **dict.fromkeys(("attributes", "isv_ext_prod_id", "isv_family_id"), 16),
    },
    TrustDomain: {
        **dict.fromkeys(("mr_td", "rtmrs", "mr_config_id", "mr_owner", "mr_owner_config"), 48),
        **dict.fromkeys(("mr_seam", "mr_signer_seam", "mr_service_td"), 48),
        **dict.fromkeys(("td_attributes", "xfam", "seam_attributes"), 8),
        **dict.fromkeys(("tee_tcb_svn", "tee_tcb_svn_2"), 16),
        "report_data": 64,
    },
    DcapStanding: {
        "fmspc": 6,
        "pce_id": 2,
        "trust_root_sha256": 32,
        **dict.fromkeys(("ppid", "platform_instance_id", "cpu_svn"), 16),
    },
    AzureStanding: {},
}
_TARGETS: Final[dict[object, type[Target]]] = {"SGX": SgxEnclave, "TDX": TrustDomain}
_STANDINGS: Final[dict[object, type[Standing]]] = {"dcap": DcapStanding, "maa": AzureStanding}


def claims_from_dict(recorded: Mapping[str, object]) -> Claims:
    """The claims that `Claims.as_dict` wrote as `recorded`.

    Raises FormatError (`claims.keys`, `claims.value`) for anything that it cannot have written.
    """
    target = _kind(recorded, "tee", _TARGETS)
    standing = _kind(recorded, "verifier", _STANDINGS)
    _check_keys(recorded, target, standing)
    claims = Claims(
        _read(target, recorded),
        _read(standing, recorded),
        _value(recorded, "verified_at", _time),
    )
    _check_same(recorded, claims.as_dict())
    return claims


def _kind(recorded: Mapping[str, object], key: str, kinds: Mapping[object, type[Any]]) -> type[Any]:
    found = recorded.get(key)
    if not isinstance(found, str) or found not in kinds:
        raise _wrong(key, found, " or ".join(map(repr, kinds)))
    return kinds[found]


def _check_keys(
    recorded: Mapping[str, object], target: type[Target], standing: type[Standing]
) -> None:
    expected = {"tee", "verifier", "verified_at", "debug"}
    expected |= {field.name for kind in (target, standing) for field in _FIELDS[kind]}
    odd = sorted(expected ^ set(recorded))
    if odd:
        state = "is missing" if odd[0] in expected else "is unknown"
        raise FormatError(f"in the recorded claims {odd[0]!r} {state}", code="claims.keys")


def _check_same(recorded: Mapping[str, object], written: Mapping[str, object]) -> None:
    for key, value in written.items():
        if recorded[key] != value:
            raise _wrong(key, recorded[key], repr(value))


class _Field(NamedTuple):
    """How one field is read."""

    name: str
    may_be_none: bool
    read: Callable[[object], Any]
    size: int | None


def _read(kind: type[_Half], recorded: Mapping[str, object]) -> _Half:
    values: dict[str, Any] = {}
    for name, may_be_none, read, size in _FIELDS[kind]:
        none = may_be_none and recorded[name] is None
        values[name] = None if none else _value(recorded, name, read, size)
    return kind(**values)


def _value(
    recorded: Mapping[str, object],
    key: str,
    reader: Callable[[object], Any],
    size: int | None = None,
) -> Any:
    try:
        value = reader(recorded[key])
    except (TypeError, ValueError):
        raise _wrong(key, recorded[key], "a value of its kind") from None
    if size is not None:
        parts = value if isinstance(value, tuple) else (value,)
        if any(len(part) != size for part in parts):
            raise _wrong(key, recorded[key], f"{2 * size} hex digits")
    return value


def _number(value: object) -> int:
    number = _exactly(int, value)
    if number < 0:
        raise ValueError("a negative number")
    return number


def _bytes(value: object) -> bytes:
    return bytes.fromhex(_exactly(str, value))


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(_exactly(str, value))
    if time.tzinfo is None:
        raise ValueError("a time without its zone")
    return time


def _status(value: object) -> TcbStatus:
    return TcbStatus(_exactly(str, value))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_exactly(str, each) for each in _exactly(list, value))


def _four(value: object) -> tuple[bytes, ...]:
    values = tuple(_bytes(each) for each in _exactly(list, value))
    if len(values) != 4:
        raise ValueError("not four values")
    return values


def _exactly(kind: type[_T], value: object) -> _T:
    """`value` if it is of `kind` itself: a Boolean is no number here."""
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} is not {kind.__name__}")
    return value


_READERS: Final[dict[str, Callable[[object], Any]]] = {
    "bytes": _bytes,
    "int": _number,
    "bool": lambda value: _exactly(bool, value),
    "str": lambda value: _exactly(str, value),
    "datetime": _time,
    "TcbStatus": _status,
    "tuple[str, ...]": _texts,
    "tuple[bytes, bytes, bytes, bytes]": _four,
}


def _field(kind: type[Any], name: str, annotation: str) -> _Field:
    reader = _READERS[annotation.removesuffix(" | None")]
    return _Field(name, annotation.endswith(" | None"), reader, SIZES[kind].get(name))


_FIELDS: Final[dict[object, tuple[_Field, ...]]] = {
    kind: tuple(_field(kind, field.name, str(field.type)) for field in fields(kind))
    for kind in (SgxEnclave, TrustDomain, DcapStanding, AzureStanding)
}


def _wrong(key: str, found: object, expected: str) -> FormatError:
    return FormatError(
        f"in the recorded claims {key!r} is {str(found)[:80]!r}, expected {expected[:200]}",
        code="claims.value",
    )
