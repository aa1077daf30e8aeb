"""The layout of TD reports of three generations, and everything that is not one."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from sealserve.errors import FormatError
from sealserve.evidence.td_report import TdInstance, TdReport

# Offset and length of each field by Intel's documents, in the order of the bytes.
OFFSETS = {
    "tee_tcb_svn": (0, 16),
    "mr_seam": (16, 48),
    "mr_signer_seam": (64, 48),
    "seam_attributes": (112, 8),
    "td_attributes": (120, 8),
    "xfam": (128, 8),
    "mr_td": (136, 48),
    "mr_config_id": (184, 48),
    "mr_owner": (232, 48),
    "mr_owner_config": (280, 48),
    "report_data": (520, 64),
}
RTMR_OFFSETS = (328, 376, 424, 472)
INSTANCE_OFFSETS = {
    "td_id": (649, 32),
    "device_info_hash": (681, 48),
    "initial_service_td_hash": (729, 48),
    "initial_service_td_attributes": (777, 8),
    "initial_cpu_svn": (785, 16),
    "initial_tee_tcb_svn": (801, 16),
    "initial_tee_model": (817, 12),
    "service_td_hash": (829, 48),
    "service_td_attributes": (877, 8),
}


def td_10() -> TdReport:
    """A report whose every field differs from every other."""
    values = {
        name: bytes([number]) * length for number, (name, (_, length)) in enumerate(OFFSETS.items())
    }
    rtmrs = tuple(bytes([number]) * 48 for number in (0xA0, 0xA1, 0xA2, 0xA3))
    return TdReport(rtmrs=rtmrs, **values)  # type: ignore[arg-type]


def td_15() -> TdReport:
    return replace(td_10(), tee_tcb_svn_2=b"\xb0" * 16, mr_service_td=b"\xb1" * 48)


def td_15_ex() -> TdReport:
    values = {
        name: bytes([0xC0 + number]) * length
        for number, (name, (_, length)) in enumerate(INSTANCE_OFFSETS.items())
    }
    return replace(td_15(), instance=TdInstance(vmid=0xD0, **values))


REPORTS = {"1.0": (td_10, 584), "1.5": (td_15, 648), "1.5-extended": (td_15_ex, 885)}
each_generation = pytest.mark.parametrize(("make", "size"), REPORTS.values(), ids=REPORTS)


@each_generation
def test_every_field_stands_at_the_offset_of_the_specification(make: object, size: int) -> None:
    report = make()
    data = report.serialize()
    assert (len(data), report.size) == (size, size)
    for name, (offset, length) in OFFSETS.items():
        assert data[offset : offset + length] == getattr(report, name), name
    for rtmr, offset in zip(report.rtmrs, RTMR_OFFSETS, strict=True):
        assert data[offset : offset + 48] == rtmr


def test_later_generations_append_to_the_first() -> None:
    data = td_15_ex().serialize()
    assert data[584:600] == b"\xb0" * 16
    assert data[600:648] == b"\xb1" * 48
    assert data[648] == 0xD0
    for name, (offset, length) in INSTANCE_OFFSETS.items():
        assert data[offset : offset + length] == getattr(td_15_ex().instance, name), name
    assert td_15_ex().serialize().startswith(td_15().serialize())
    assert td_15().serialize().startswith(td_10().serialize())


@each_generation
def test_parsing_gives_back_what_was_serialised(make: object, size: int) -> None:
    assert TdReport.parse(make().serialize()) == make()


@pytest.mark.parametrize("size", [0, 583, 585, 647, 649, 884, 886, 1024])
def test_any_other_length_is_no_report(size: int) -> None:
    with pytest.raises(FormatError) as caught:
        TdReport.parse(bytes(size))
    assert caught.value.code == "td-report.length"


def test_debug_is_bit_zero_of_the_attributes() -> None:
    assert not replace(td_10(), td_attributes=b"\xfe" + bytes(7)).debug
    assert replace(td_10(), td_attributes=b"\x01" + bytes(7)).debug


@pytest.mark.parametrize(
    "change",
    [
        {"mr_td": b"short"},
        {"report_data": b"x" * 65},
        {"rtmrs": (b"x" * 48,) * 3},
        {"rtmrs": (b"x" * 47,) * 4},
        {"tee_tcb_svn_2": None},
        {"mr_service_td": None},
        {"tee_tcb_svn_2": None, "mr_service_td": None},
        {"mr_service_td": b"x"},
    ],
    ids=lambda change: "-".join(change),
)
def test_a_report_with_a_field_that_does_not_fit_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(FormatError) as caught:
        replace(td_15_ex(), **change)  # type: ignore[arg-type]
    assert caught.value.code == "td-report.field"


@pytest.mark.parametrize("name", [field.name for field in fields(TdInstance)])
def test_an_instance_with_a_field_that_does_not_fit_cannot_be_made(name: str) -> None:
    instance = td_15_ex().instance
    assert instance is not None
    with pytest.raises(FormatError) as caught:
        replace(instance, **{name: 256 if name == "vmid" else b""})
    assert caught.value.code == "td-report.field"
