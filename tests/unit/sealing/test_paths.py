"""The path that is embedded in a protected file."""

from __future__ import annotations

import pytest

from sealserve.errors import IntegrityError, UsageError
from sealserve.sealing import MAX_PATH_BYTES, normalize_path
from sealserve.sealing.paths import decode_path, encode_path


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("models/digits/1/saved_model.pb", "models/digits/1/saved_model.pb"),
        ("./ssl.cfg", "ssl.cfg"),
        ("enc//dblslash.pf", "enc/dblslash.pf"),
        ("models/./digits/", "models/digits"),
        ("models/old/../digits", "models/digits"),
        ("models/../../digits", "../digits"),
        ("../../shared/digits", "../../shared/digits"),
        ("../a/../../b", "../../b"),
        ("/srv/models/../digits", "/srv/digits"),
        ("/../../digits", "/digits"),
        ("//srv///digits/.", "/srv/digits"),
        ("..hidden/...", "..hidden/..."),
        ("a/..", ""),
        (".", ""),
        ("", ""),
        ("/..", "/"),
    ],
)
def test_paths_are_folded_as_gramine_folds_them(path: str, normal: str) -> None:
    assert normalize_path(path) == normal
    assert normalize_path(normal) == normal


@pytest.mark.parametrize(
    "path", ["models/digits", "a" * MAX_PATH_BYTES, "päth-日本-😀", "not-utf8-\udcff"]
)
def test_a_path_comes_back_as_it_was_embedded(path: str) -> None:
    field = encode_path(path)
    assert len(field) == 772
    assert decode_path(field) == path


@pytest.mark.parametrize(
    ("path", "says"),
    [
        pytest.param("a" * 772, "772 bytes", id="one byte too long"),
        pytest.param("日" * 258, "774 bytes", id="too long in UTF-8, not in characters"),
        pytest.param("a\0b", "NUL", id="NUL"),
        pytest.param("", "names no file", id="empty"),
        pytest.param("a/../.", "names no file", id="empty once folded"),
        pytest.param("/", "names no file", id="the root folder"),
    ],
)
def test_a_path_without_a_place_is_refused(path: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        encode_path(path)


def test_an_authentic_path_without_an_end_is_refused() -> None:
    with pytest.raises(IntegrityError) as caught:
        decode_path(b"a" * 772)
    assert caught.value.code == "integrity.metadata"


def test_what_stands_behind_the_end_of_a_path_is_not_part_of_it() -> None:
    assert decode_path(b"a\0left over".ljust(772, b"\0")) == "a"
