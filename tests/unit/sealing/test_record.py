"""The model record: one canonical text, one digest, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import FormatError, SealServeError
from sealserve.sealing import ModelRecord, RecordedFile, normalize_path, parse_record
from sealserve.sealing.record import MAX_RECORD_BYTES

DIGEST = hashlib.sha256(b"weights").digest()
FILES = (
    RecordedFile("1/saved_model.pb", 7, DIGEST),
    RecordedFile("1/variables/variables.index", 0, bytes(32)),
)
RECORD = ModelRecord("resnet50", None, FILES)
FACTS: dict[str, Any] = json.loads(RECORD.to_json())


def test_the_canonical_json_is_one_line_that_anybody_can_write() -> None:
    record = ModelRecord('rés"net', 3, FILES[:1])
    text = (
        '{"files":[{"path":"1/saved_model.pb","sha256":"' + DIGEST.hex() + '","size":7}],'
        '"format":1,"model":"rés\\"net","version":3}'
    )
    assert record.to_json() == text.encode()
    assert record.digest == hashlib.sha256(text.encode()).digest()


def test_the_digest_does_not_depend_on_how_the_json_is_spaced() -> None:
    parsed = parse_record(json.dumps(FACTS, indent=4).encode() + b"\n")
    assert parsed == RECORD
    assert parsed.digest == RECORD.digest


def with_file(**changes: object) -> dict[str, Any]:
    return {**FACTS, "files": [{**FACTS["files"][0], **changes}]}


BAD: dict[str, bytes | dict[str, Any] | list[Any]] = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"model":"\xff"}',
    "a byte order mark": b"\xef\xbb\xbf" + RECORD.to_json(),
    "a list": [FACTS],
    "too deep": b"[" * 200_000,
    "too large": RECORD.to_json().ljust(MAX_RECORD_BYTES + 1),
    "a key twice": RECORD.to_json().replace(b'"format":1', b'"format":1,"format":1'),
    "an unknown key": {**FACTS, "comment": "x"},
    "a missing key": {key: FACTS[key] for key in ("files", "format", "model")},
    "another format": {**FACTS, "format": 2},
    "a format that equals 1": {**FACTS, "format": True},
    "no name": {**FACTS, "model": ""},
    "a name of no text": {**FACTS, "model": 5},
    "a name with a line break": {**FACTS, "model": "a\nb"},
    "a name of half a character": {**FACTS, "model": "\ud800"},
    "a long name": {**FACTS, "model": "é" * 128},
    "a version below 0": {**FACTS, "version": -1},
    "a version of text": {**FACTS, "version": "1"},
    "a version beyond int64": {**FACTS, "version": 2**63},
    "no files": {**FACTS, "files": []},
    "files of no list": {**FACTS, "files": {}},
    "too many files": {**FACTS, "files": [FACTS["files"][0]] * 1001},
    "a file twice": {**FACTS, "files": [FACTS["files"][0]] * 2},
    "files out of order": {**FACTS, "files": FACTS["files"][::-1]},
    "a file of no object": {**FACTS, "files": ["1/saved_model.pb"]},
    "a file with an unknown key": with_file(mode=1),
    "an absolute path": with_file(path="/1/a"),
    "a path that leads out": with_file(path="../a"),
    "a path that leads out and back": with_file(path="../m/a"),
    "a path that is not normal": with_file(path="1//a"),
    "a path of a folder": with_file(path="1/a/"),
    "a path of nothing": with_file(path="."),
    "a path with a NUL": with_file(path="1/a\0"),
    "a path of no text": with_file(path=None),
    "a fraction for a size": with_file(size=7.0),
    "a size below 0": with_file(size=-1),
    "a size beyond all readers": with_file(size=2**53),
    "a size of truth": with_file(size=True),
    "a size of many digits": b'{"size":' + b"9" * 5000 + b"}",
    "a short digest": with_file(sha256="00" * 31),
    "half a byte": with_file(sha256="0" * 63),
    "a digest in capitals": with_file(sha256=DIGEST.hex().upper()),
    "a digest with spaces": with_file(sha256=DIGEST.hex(" ")),
    "a digest of no text": with_file(sha256=5),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_what_is_no_record_is_refused(bad: bytes | dict[str, Any] | list[Any]) -> None:
    data = bad if isinstance(bad, bytes) else json.dumps(bad).encode()
    with pytest.raises(FormatError) as caught:
        parse_record(data)
    assert caught.value.code == "model-record"


def test_a_record_that_would_be_too_large_is_not_made() -> None:
    files = tuple(RecordedFile(f"{'p' * 300}{n:04}", n, DIGEST) for n in range(1000))
    with pytest.raises(FormatError, match="larger than"):
        replace(RECORD, files=files)


paths = (
    st.text(st.characters(exclude_categories=["Cc", "Cs"], max_codepoint=0x2FFFF), min_size=1)
    .map(normalize_path)
    .filter(lambda path: path and path[0] != "/" and path.split("/")[0] != "..")
)


@given(
    st.sets(paths, min_size=1, max_size=5),
    st.none() | st.integers(0, 2**63 - 1),
    st.integers(0, 2**53 - 1),
    st.binary(min_size=32, max_size=32),
)
def test_any_record_comes_back(
    names: set[str], version: int | None, size: int, digest: bytes
) -> None:
    files = tuple(RecordedFile(name, size, digest) for name in sorted(names))
    record = ModelRecord("m", version, files)
    assert parse_record(record.to_json()) == record


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.binary()
    | st.fixed_dictionaries(
        {"files": json_values, "format": st.just(1), "model": json_values, "version": json_values}
    ).map(lambda facts: json.dumps(facts).encode())
    | st.fixed_dictionaries({"path": json_values, "sha256": json_values, "size": json_values}).map(
        lambda facts: json.dumps({**FACTS, "files": [facts]}).encode()
    )
)
def test_only_errors_of_ours_escape_from_any_bytes(data: bytes) -> None:
    try:
        record = parse_record(data)
    except SealServeError:
        return
    assert parse_record(record.to_json()) == record
