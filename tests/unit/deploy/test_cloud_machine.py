"""`sealserve doctor --cloud`: what a machine lacks for one cloud."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sealserve.deploy.clouds import CLOUDS, load_cloud
from sealserve.deploy.clouds.machine import (
    QCNL,
    QCNL_VARIABLE,
    cloud_findings,
    lint_qcnl_file,
    qcnl_path,
)
from sealserve.deploy.clouds.qcnl import render_qcnl
from sealserve.deploy.clouds.qcnl_text import QCNL_LIMIT
from sealserve.deploy.doctor import examine
from sealserve.deploy.finding import Finding
from sealserve.errors import UsageError

QUIET = datetime(2027, 6, 1, tzinfo=UTC)  # nothing ends in the year after it


def put(root: Path, path: str, content: bytes = b"") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine of Azure's that lacks nothing."""
    put(tmp_path, "proc/sys/kernel/osrelease", b"5.15.0-1037-azure\n")
    put(tmp_path, "dev/sgx_enclave")
    put(tmp_path, "dev/sgx_provision")
    put(tmp_path, QCNL, render_qcnl(load_cloud("azure")))
    return tmp_path


def look(root: Path, name: str = "azure", now: datetime = QUIET) -> list[Finding]:
    return list(cloud_findings(root, name, load_cloud(name), now))


def of(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


def test_a_machine_as_it_should_be_lacks_nothing(machine: Path) -> None:
    findings = look(machine)
    assert {finding.area for finding in findings} == {"cloud"}
    assert [finding for finding in findings if not finding.good] == []


@pytest.mark.parametrize("name", CLOUDS)
def test_a_machine_with_nothing_is_told_what_to_do_for_each_cloud(
    tmp_path: Path, name: str
) -> None:
    lacks = [finding for finding in look(tmp_path, name) if not finding.good]
    assert [finding.name for finding in lacks] == [
        "kernel for this cloud",
        "device names",
        "quote provider's configuration",
    ]
    assert f"sealserve cloud qcnl {name}" in lacks[-1].advice
    assert all(finding.advice for finding in lacks)


@pytest.mark.parametrize(
    ("name", "release", "good"),
    [
        ("azure", "5.10.0-1-azure", False),
        ("azure", "5.11.0", True),
        ("azure", "6.8.0-1020-azure", True),
        ("alibaba", "4.19.91-23.al7.x86_64", False),
        ("alibaba", "4.19.91-24.al7.x86_64", True),
        ("alibaba", "4.19.91-24.1.al7.x86_64", True),
        ("alibaba", "5.10.134-16.al8.x86_64", True),
        ("tencent", "5.4.119-19-0009.1", True),
        ("tencent", "5.4.119-19-0008", False),
        ("tencent", "5.4.119-20", True),
        ("bytedance", "5.15.0-72-generic", True),
        ("generic", "4.18.0", False),
        ("anolis", "5.10.134-13.an8", False),
        ("generic", "strange", False),
    ],
)
def test_each_cloud_has_its_least_kernel(
    machine: Path, name: str, release: str, good: bool
) -> None:
    put(machine, "proc/sys/kernel/osrelease", release.encode())
    assert of(look(machine, name), "kernel for this cloud").good == good


def test_older_names_of_devices_are_told_beside_the_newer_ones(machine: Path) -> None:
    (machine / "dev/sgx_enclave").unlink()
    put(machine, "dev/sgx/enclave")
    devices = of(look(machine), "device names")
    assert not devices.good
    assert "/dev/sgx/enclave (older name of /dev/sgx_enclave)" in devices.found
    assert "/dev/sgx_provision" in devices.found


def test_each_fault_of_the_configuration_is_told_with_its_cure(machine: Path) -> None:
    text = b'{"pccs_url": "https://global.acccache.azure.net/certification/v4/",'
    put(machine, QCNL, text + b'"use_secure_cert": false}')
    found = [each for each in look(machine) if each.name == "quote provider's configuration"]
    assert [finding.good for finding in found] == [False, False]
    assert "TLS is not verified" in found[0].found
    assert "/sgx/certification/v4/" in found[1].advice


def test_a_broken_configuration_is_told_to_mean_localhost(machine: Path) -> None:
    put(machine, QCNL, b"{,}")
    findings = look(machine)
    assert "localhost" in of(findings, "quote provider's configuration").found
    assert "service of this cloud" not in {finding.name for finding in findings}


def test_a_configuration_that_is_too_large_is_not_read(machine: Path) -> None:
    put(machine, QCNL, b" " * (QCNL_LIMIT + 2))
    assert str(QCNL_LIMIT) in of(look(machine), "quote provider's configuration").found


@pytest.mark.parametrize(
    ("name", "file_of", "good"),
    [
        ("azure", "azure", True),
        ("azure", "alibaba", False),
        ("azure", "generic", False),
        ("tencent", "tencent", True),
        ("tencent", "bytedance", False),
        ("alibaba", "alibaba", True),
        ("generic", "generic", True),
        ("generic", "azure", True),
        ("anolis", "alibaba", True),
    ],
)
def test_the_configuration_must_point_to_this_cloud_s_service(
    machine: Path, name: str, file_of: str, good: bool
) -> None:
    put(machine, QCNL, render_qcnl(load_cloud(file_of)))
    finding = of(look(machine, name), "service of this cloud")
    assert finding.good == good
    assert good or "expected" in finding.advice


@pytest.mark.parametrize("host", ["sgx-dcap-server.cn-beijing.aliyuncs.com", "", "["])
def test_a_region_of_the_cloud_is_its_service_and_nothing_else_is(machine: Path, host: str) -> None:
    put(machine, QCNL, f'{{"pccs_url": "https://{host}/sgx/certification/v4/"}}'.encode())
    finding = of(look(machine, "alibaba"), "service of this cloud")
    assert finding.good == (host != "" and host != "[")


def test_a_link_is_told_since_newer_readers_refuse_it(machine: Path) -> None:
    (machine / QCNL).rename(machine / "real.conf")
    (machine / QCNL).symlink_to(machine / "real.conf")
    (fault,) = lint_qcnl_file(machine / QCNL)
    assert "symbolic link" in fault.found
    assert "subPath" in fault.cure
    finding = of(look(machine), "quote provider's configuration")
    assert (finding.good, finding.advice) == (False, fault.cure)


def test_a_link_to_nothing_is_no_configuration(machine: Path) -> None:
    (machine / QCNL).unlink()
    (machine / QCNL).symlink_to("nowhere")
    assert not of(look(machine), "quote provider's configuration").good


def test_the_file_is_where_the_variable_says_on_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(QCNL_VARIABLE, "/elsewhere.conf")
    assert qcnl_path(Path("/")) == Path("/elsewhere.conf")
    assert qcnl_path(tmp_path) == tmp_path / QCNL


def test_what_ends_within_a_year_is_told(machine: Path) -> None:
    finding = of(look(machine, now=datetime(2029, 1, 1, tzinfo=UTC)), "dates")
    assert not finding.good
    assert "DCsv3 and DCdsv3: ends on 2029-10-31" in finding.found
    assert "DCsv2" not in finding.found


def test_the_doctor_looks_for_a_cloud_only_when_asked(machine: Path) -> None:
    assert "cloud" not in {finding.area for finding in examine(machine).findings}
    report = examine(machine, cloud="azure", now=QUIET, pccs="http://127.0.0.1:1")
    areas = [finding.area for finding in report.findings]
    assert areas.index("hardware") < areas.index("cloud") < areas.index("collateral")


def test_a_cloud_that_nobody_knows_is_refused(machine: Path) -> None:
    with pytest.raises(UsageError):
        examine(machine, cloud="nimbus", pccs="http://127.0.0.1:1")
