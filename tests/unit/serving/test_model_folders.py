"""Which versions are found in a folder, and which of them a policy chooses."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealserve.errors import ConfigError
from sealserve.serving.life.models import All, Latest, Policy, Specific, discover


def test_versions_are_folders_with_a_number_for_a_name(tmp_path: Path) -> None:
    for name in (
        "1",
        "20",
        "007",
        "x1",
        "-3",
        "1.0",
        "99999999999999999999",
        "9223372036854775808",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / "4").write_text("no folder")
    base = str(tmp_path)
    assert discover(base) == {1: f"{base}/1", 20: f"{base}/20", 7: f"{base}/007"}


def test_paths_stay_as_they_were_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert discover("models/../models") == {1: "models/../models/1"}
    assert discover("./models/") == {1: "./models/1"}


def test_a_version_that_is_there_twice_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("3", "03"):
        (tmp_path / name).mkdir()
    assert discover(str(tmp_path)) == {3: f"{tmp_path}/03"}
    assert "version 3 is there twice; 3 is ignored" in caplog.text


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the model's base path"):
        discover(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (Latest(), {9}),
        (Latest(2), {5, 9}),
        (Latest(9), {1, 5, 9}),
        (All(), {1, 5, 9}),
        (Specific(frozenset({1, 4})), {1}),
    ],
)
def test_a_policy_chooses_among_what_is_there(policy: Policy, chosen: set[int]) -> None:
    assert policy.choose({1, 5, 9}) == chosen
    assert policy.choose(set()) == set()
