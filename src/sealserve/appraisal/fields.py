"""The kinds of values that a policy holds, each as exact as its meaning.

Bytes are hex digits of the one right length, in the order of memory, as claims and quotes print
them. A value that is not what it should be is an error that says what was found and what was
expected; nothing is converted from another type, cut, padded or guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sealserve.appraisal.secret_names import is_pattern
from sealserve.verifier.claims import TcbStatus

LIST_LIMIT = 1000
# SHA-256 of Intel's SGX Root CA (DER): https://certificates.trustedservices.intel.com/.
INTEL_ROOT = bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")
_SHOWN = 80  # characters of a wrong value
_REASON_WORDS = 3
_REASON_CHARACTERS = 20
_T = TypeVar("_T")


def hex_bytes(size: int) -> Callable[[object], bytes]:
    """Reads `2 * size` hex digits, of either case."""
    wanted = f"expected {2 * size} hex digits"

    def read(value: object) -> bytes:
        if not isinstance(value, str):
            raise ValueError(f"found {value!r:.{_SHOWN}}, {wanted}")
        if len(value) != 2 * size:
            raise ValueError(f"found {len(value)} characters, {wanted}")
        if re.fullmatch(r"[0-9A-Fa-f]*", value) is None:
            raise ValueError(f"found {value[:_SHOWN]!r}, {wanted}")
        return bytes.fromhex(value)

    return read


def _trust_root(value: object) -> bytes | None:
    if value == "intel":
        return None
    try:
        fingerprint = hex_bytes(32)(value)
        return None if fingerprint == INTEL_ROOT else fingerprint
    except ValueError:
        raise ValueError(f'found {value!r:.{_SHOWN}}, expected 64 hex digits, or "intel"') from None


def _run_time_measurements(value: object) -> tuple[bytes, ...] | None:
    if value == "any":
        return None
    if not isinstance(value, list):
        raise ValueError(f'found {value!r:.{_SHOWN}}, expected a list, or "any"')
    if len(value) > LIST_LIMIT:
        raise ValueError(f"found {len(value)} entries, expected at most {LIST_LIMIT}")
    return not_empty(tuple(hex_bytes(48)(entry) for entry in value))


def _excepted_status(value: object) -> TcbStatus:
    never = (TcbStatus.UP_TO_DATE, TcbStatus.REVOKED)  # needs none; is beyond any
    excepted = [status.value for status in TcbStatus if status not in never]
    if value not in excepted:
        raise ValueError(f"found {value!r:.{_SHOWN}}, expected one of {', '.join(excepted)}")
    return TcbStatus(str(value))


def _end(value: object) -> datetime:
    """The first moment after a date (which ends with its day, UTC) or a date-time."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} names no zone: write {value.isoformat()}Z")
        return _within_time(value, lambda: value.astimezone(UTC))
    if isinstance(value, date):
        return _within_time(value, lambda: datetime.combine(value + timedelta(days=1), time(), UTC))
    raise ValueError(
        f"found {value!r:.{_SHOWN}}, expected a date such as 2027-03-31, without quotes"
    )


def _within_time(written: date, end: Callable[[], datetime]) -> datetime:
    """`end()`, which in UTC may be before the first year or after the last."""
    try:
        return end()
    except OverflowError:
        raise ValueError(f"{written.isoformat()} is no end: in UTC there is no such time") from None


def _reason(value: str) -> str:
    words = value.split()
    if len(set(words)) < _REASON_WORDS or len("".join(words)) < _REASON_CHARACTERS:
        raise ValueError(
            f"{value!r} is no reason: say why the weaker state is acceptable, and what ends it "
            f"(at least {_REASON_WORDS} different words and {_REASON_CHARACTERS} characters, "
            "spaces not counted)"
        )
    return value


def _secret_pattern(value: str) -> str:
    if not is_pattern(value):
        raise ValueError(
            f"found {value[:_SHOWN]!r}, expected a secret's name, or the beginning of names with "
            "one * after it"
        )
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _without_padding(value: object) -> object:
    return value.removesuffix("=") if isinstance(value, str) else value


def not_empty(value: tuple[_T, ...]) -> tuple[_T, ...]:
    """`value`, which must not be empty: that would allow nothing, and look like the opposite."""
    if not value:
        raise ValueError("the list is empty, and would allow nothing: name something, or no list")
    return value


Bytes6 = Annotated[bytes, BeforeValidator(hex_bytes(6))]
Bytes8 = Annotated[bytes, BeforeValidator(hex_bytes(8))]
Bytes16 = Annotated[bytes, BeforeValidator(hex_bytes(16))]
Bytes32 = Annotated[bytes, BeforeValidator(hex_bytes(32))]
Bytes48 = Annotated[bytes, BeforeValidator(hex_bytes(48))]
Bytes64 = Annotated[bytes, BeforeValidator(hex_bytes(64))]
Uint16 = Annotated[int, Field(ge=0, le=0xFFFF)]
Uint32 = Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]
ListOf = Annotated[tuple[_T, ...], Field(strict=False, max_length=LIST_LIMIT)]
SomeOf = Annotated[ListOf[_T], AfterValidator(not_empty)]

TrustRoot = Annotated[bytes | None, BeforeValidator(_trust_root)]
RunTimeMeasurements = Annotated[tuple[bytes, ...] | None, BeforeValidator(_run_time_measurements)]
ExceptedStatus = Annotated[TcbStatus, BeforeValidator(_excepted_status)]
AdvisoryId = Annotated[str, Field(pattern=r"^[A-Z]+-[A-Z]+-[0-9]+$", max_length=32)]
End = Annotated[datetime, BeforeValidator(_end)]
Reason = Annotated[
    str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1000), AfterValidator(_reason)
]
HostName = Annotated[
    str, BeforeValidator(_lower), Field(pattern=r"^[a-z0-9]([a-z0-9_.-]{0,251}[a-z0-9])?$")
]
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
SecretPattern = Annotated[str, AfterValidator(_secret_pattern)]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]
# Scheme, host and port alone, as tokens name their issuer; without TLS on this machine alone.
Issuer = Annotated[
    str,
    Field(
        pattern=r"^(https://[a-z0-9.:\[\]-]{1,260}"
        r"|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?)$"
    ),
]
PolicyHash = Annotated[
    str, BeforeValidator(_without_padding), Field(pattern=r"^[A-Za-z0-9_-]{43}$")
]


class Table(BaseModel):
    """A table of the file: frozen, and without a key that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
