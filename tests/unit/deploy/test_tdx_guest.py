"""What `sealserve doctor` says of a TDX guest, and of machines that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealserve.deploy.tdx import tdx_findings


def put(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    put(tmp_path, "proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu aes tdx_guest\n")
    put(tmp_path, "proc/sys/kernel/osrelease", "6.8.0-45-generic\n")
    (tmp_path / "sys/kernel/config/tsm/report").mkdir(parents=True)
    return tmp_path


def test_a_guest_that_has_everything_is_told_so(guest: Path) -> None:
    found = list(tdx_findings(guest))
    assert [each.area for each in found] == ["guest", "guest"]
    assert all(each.good and not each.advice for each in found)
    assert list((guest / "sys/kernel/config/tsm/report").iterdir()) == []


def test_nothing_is_said_of_a_machine_that_is_no_guest(tmp_path: Path) -> None:
    put(tmp_path, "proc/cpuinfo", "flags\t\t: fpu sgx sgx_lc\n")
    assert list(tdx_findings(tmp_path)) == []


def test_an_old_kernel_is_told(guest: Path) -> None:
    put(guest, "proc/sys/kernel/osrelease", "6.6.1\n")
    kernel, reports = tdx_findings(guest)
    assert (kernel.good, reports.good) == (False, True)
    assert "6.7" in kernel.advice


@pytest.mark.parametrize(
    ("left", "advice"), [("sys/kernel", "mount -t configfs"), ("sys/kernel/config/x", "modprobe")]
)
def test_what_is_missing_of_configfs_is_told(guest: Path, left: str, advice: str) -> None:
    (guest / "sys/kernel/config/tsm/report").rmdir()
    (guest / "sys/kernel/config/tsm").rmdir()
    (guest / left).mkdir(exist_ok=True)
    _, reports = tdx_findings(guest)
    assert not reports.good
    assert advice in reports.advice
