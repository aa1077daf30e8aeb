"""`sealserve cloud`: the facts of a cloud as text and as JSON, and the file for it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from sealserve.cli import main
from sealserve.deploy.clouds import CLOUDS, load_cloud
from sealserve.deploy.clouds.qcnl import render_qcnl
from sealserve.errors import UsageError

AT = ["--at", "2026-11-29T00:00:00Z"]


def run(*words: str, code: int = 0) -> None:
    try:
        main(words)
    except SystemExit as ended:
        assert ended.code == code


def test_the_list_has_every_cloud(capsys: pytest.CaptureFixture[str]) -> None:
    run("cloud", "list")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(CLOUDS)
    run("cloud", "list", "--json")
    listed = json.loads(capsys.readouterr().out)["clouds"]
    assert [each["name"] for each in listed] == list(CLOUDS)


@pytest.mark.parametrize("name", CLOUDS)
def test_all_that_is_known_is_shown_with_its_source(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("cloud", "show", name, "--json", *AT)
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert all(fact["source"] for fact in facts)
    run("cloud", "show", name, *AT)
    shown = capsys.readouterr().out
    for fact in facts:
        assert fact["value"] in shown
        assert f"[{fact['source']}]" in shown
        assert fact["unconfirmed"] is None or f"UNCONFIRMED: {fact['unconfirmed']}" in shown


def test_a_region_is_filled_in(capsys: pytest.CaptureFixture[str]) -> None:
    run("cloud", "show", "azure", "--region", "weu", *AT)
    assert "https://sharedweu.weu.attest.azure.net" in capsys.readouterr().out


def test_what_ends_is_warned_of_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    run("cloud", "show", "azure", *AT)
    assert "DCsv2: ended on 2026-06-30 (152 days ago)" in capsys.readouterr().err
    run("cloud", "show", "azure", "--json", *AT)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert any("DCsv2: ended" in each for each in json.loads(captured.out)["warnings"])


def test_the_file_is_printed_or_written_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = render_qcnl(load_cloud("azure"))
    run("cloud", "qcnl", "azure")
    assert capsys.readouterr().out.encode() == expected
    path = tmp_path / "sgx_default_qcnl.conf"
    run("cloud", "qcnl", "azure", "--out", str(path))
    assert path.read_bytes() == expected
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    run("cloud", "qcnl", "azure", "--out", str(path), code=UsageError.exit_code)
    assert "not overwritten" in capsys.readouterr().err


def test_with_json_the_file_is_in_the_object(capsys: pytest.CaptureFixture[str]) -> None:
    run("cloud", "qcnl", "tencent", "--region", "bj", "--json")
    found = json.loads(capsys.readouterr().out)
    assert "sgx-dcap-server-tc.bj.tencent.cn" in json.loads(found["content"])["pccs_url"]
    assert found["file"] is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tencent"], "version 4"),
        (["alibaba", "--region", "cn-beijing"], "cn-beijing"),
    ],
)
def test_what_is_not_confirmed_is_told_beside_the_file(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("cloud", "qcnl", *words)
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert says in captured.err


@pytest.mark.parametrize(
    "words",
    [
        ["show", "nimbus"],
        ["show", "tencent", "--region", "hk"],
        ["qcnl", "azure", "--region", "weu"],
        ["qcnl", "generic", "--pccs", "http://pccs.example/sgx/certification/v4/"],
    ],
)
def test_what_cannot_be_is_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["cloud", *words])
    assert ended.value.code == UsageError.exit_code


def test_the_doctor_is_asked_about_a_cloud(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--cloud", "azure", "--pccs", "http://127.0.0.1:1", "--json"])
    areas = {each["area"] for each in json.loads(capsys.readouterr().out)["findings"]}
    assert "cloud" in areas
