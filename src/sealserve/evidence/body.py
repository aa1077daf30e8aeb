"""The signed body of a quote: which report it is, by the version and the kind of TEE.

Version 3 holds an SGX report; version 4 an SGX report or a TD report of TDX 1.0, by the header's
TEE type; version 5 says itself, in a type and a length before the body, and may not contradict the
header. Source: Intel TDX DCAP Quoting Library API, appendix A.3 and A.4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from sealserve.errors import FormatError
from sealserve.evidence.reader import Reader
from sealserve.evidence.report import SGX_REPORT_BYTES, SgxReport
from sealserve.evidence.td_report import (
    TD_REPORT_10_BYTES,
    TD_REPORT_15_BYTES,
    TD_REPORT_15_EX_BYTES,
    TdReport,
)

TEE_TYPE_SGX: Final = 0
TEE_TYPE_TDX: Final = 0x81

_DESCRIPTOR = struct.Struct("<H I")  # type and length, from version 5 on

Body: TypeAlias = SgxReport | TdReport


class BodyType(IntEnum):
    """Which report a quote of version 5 holds."""

    SGX = 1
    TD_10 = 2
    TD_15 = 3
    TD_15_EX = 4


class _Layout(NamedTuple):
    tee_type: int
    size: int
    parse: Callable[[bytes], Body]


_LAYOUTS: Mapping[BodyType, _Layout] = MappingProxyType(
    {
        BodyType.SGX: _Layout(TEE_TYPE_SGX, SGX_REPORT_BYTES, SgxReport.parse),
        BodyType.TD_10: _Layout(TEE_TYPE_TDX, TD_REPORT_10_BYTES, TdReport.parse),
        BodyType.TD_15: _Layout(TEE_TYPE_TDX, TD_REPORT_15_BYTES, TdReport.parse),
        BodyType.TD_15_EX: _Layout(TEE_TYPE_TDX, TD_REPORT_15_EX_BYTES, TdReport.parse),
    }
)
# Before version 5, version and TEE type say which report follows.
_IMPLIED: Mapping[tuple[int, int], BodyType] = MappingProxyType(
    {
        (3, TEE_TYPE_SGX): BodyType.SGX,
        (4, TEE_TYPE_SGX): BodyType.SGX,
        (4, TEE_TYPE_TDX): BodyType.TD_10,
    }
)


def read_body(version: int, tee_type: int, reader: Reader) -> tuple[Body, BodyType | None]:
    """The report, and its type where the quote says it (version 5).

    Raises FormatError: `quote.tee-type`, `quote.body-type`, `quote.body-size`, `quote.length`,
    `report.*`.
    """
    if version >= 5:
        stated = _read_descriptor(tee_type, reader)
        layout = _LAYOUTS[stated]
        return layout.parse(reader.take(layout.size, "the report body")), stated
    implied = _IMPLIED.get((version, tee_type))
    if implied is None:
        raise _wrong_tee_type(version, tee_type)
    layout = _LAYOUTS[implied]
    return layout.parse(reader.take(layout.size, "the report body")), None


def write_body(body: Body, body_type: BodyType | None) -> bytes:
    """The bytes that `read_body` would read."""
    serialized = body.serialize()
    if body_type is None:
        return serialized
    return _DESCRIPTOR.pack(body_type, len(serialized)) + serialized


def check_body(version: int, tee_type: int, body: Body, body_type: BodyType | None) -> None:
    """Raise FormatError (`quote.field`) unless such a quote may hold this body."""
    said = _IMPLIED.get((version, tee_type)) if version < 5 else body_type
    layout = _LAYOUTS.get(said) if said is not None else None
    if (
        layout is None
        or (version < 5 and body_type is not None)
        or layout.tee_type != tee_type
        or layout.size != (body.size if isinstance(body, TdReport) else SGX_REPORT_BYTES)
    ):
        raise FormatError(
            f"quote: version {version} with TEE type 0x{tee_type:x} and body type {body_type} "
            f"cannot hold this {type(body).__name__}",
            code="quote.field",
        )


def _read_descriptor(tee_type: int, reader: Reader) -> BodyType:
    number, size = _DESCRIPTOR.unpack(reader.take(_DESCRIPTOR.size, "the body's type and length"))
    if tee_type not in (TEE_TYPE_SGX, TEE_TYPE_TDX):
        raise _wrong_tee_type(5, tee_type)
    try:
        stated = BodyType(number)
    except ValueError:
        raise FormatError(
            f"quote: body type {number} is none that is published: 1 is SGX, 2 TDX 1.0, "
            "3 TDX 1.5, 4 TDX 1.5 extended",
            code="quote.body-type",
        ) from None
    layout = _LAYOUTS[stated]
    if layout.tee_type != tee_type:
        raise FormatError(
            f"quote: body type {number} and TEE type 0x{tee_type:x} contradict each other",
            code="quote.body-type",
        )
    if layout.size != size:
        raise FormatError(
            f"quote: a body of type {number} has {layout.size} bytes, this one says {size}",
            code="quote.body-size",
        )
    return stated


def _wrong_tee_type(version: int, tee_type: int) -> FormatError:
    allowed = "0 (SGX)" if version == 3 else "0 (SGX) or 0x81 (TDX)"
    return FormatError(
        f"quote: the TEE type of version {version} is 0x{tee_type:x}, expected {allowed}",
        code="quote.tee-type",
    )
