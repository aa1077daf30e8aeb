"""Signed JSON: cut apart without parsing, then read strictly."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sealserve.endorsements.signed_json import SIGNED_JSON_LIMIT, read_object, split
from sealserve.endorsements.tcb_status import TcbStatus
from sealserve.errors import FormatError

SIGNATURE = "0123456789abcdefABCDEF" + "0" * 106


def body(statement: str, signature: str = SIGNATURE) -> bytes:
    return f'{{"tcbInfo":{statement},"signature":"{signature}"}}'.encode()


@pytest.mark.parametrize(
    "statement",
    ['{"a":1}', '{ "a" : 1 }', "{}", '{"a":"}"}', '{"a":"ü"}', '{"a":",\\"signature\\":\\""}'],
)
def test_the_signed_bytes_are_exactly_those_received(statement: str) -> None:
    parts = split(body(statement), "tcbInfo")
    assert parts.signed == statement.encode()
    assert parts.signature == bytes.fromhex(SIGNATURE)


def test_white_space_around_the_members_is_not_signed() -> None:
    spaced = b' {\n "tcbInfo" :\t{"a":1} , "signature" : "%s" }\r\n' % SIGNATURE.encode()
    assert split(spaced, "tcbInfo").signed == b'{"a":1}'


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="no-members"),
        pytest.param(body("{}").replace(b"tcbInfo", b"enclaveIdentity"), id="another-name"),
        pytest.param(body("[]"), id="no-object"),
        pytest.param(body("{}", SIGNATURE[:-1]), id="signature-too-short"),
        pytest.param(body("{}", SIGNATURE + "00"), id="signature-too-long"),
        pytest.param(body("{}", "x" * 128), id="signature-no-hex"),
        pytest.param(body("{}") + b"x", id="text-after-it"),
        pytest.param(b"x" + body("{}"), id="text-before-it"),
        pytest.param(body("{}")[:-1] + b',"x":1}', id="third-member"),
        pytest.param(b'{"signature":"%s","tcbInfo":{}}' % SIGNATURE.encode(), id="other-order"),
        pytest.param(body("{" + " " * SIGNED_JSON_LIMIT + "}"), id="too-large"),
    ],
)
def test_a_body_that_is_not_the_two_members_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        split(data, "tcbInfo")


def test_a_member_put_between_becomes_part_of_what_must_be_signed() -> None:
    parts = split(body('{"a":1},"b":{"c":2}'), "tcbInfo")
    assert parts.signed == b'{"a":1},"b":{"c":2}'
    with pytest.raises(FormatError):
        read_object(parts.signed, "tcbInfo")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="list"),
        pytest.param("1", id="number"),
        pytest.param("{", id="cut-short"),
        pytest.param('{"a":1}{', id="more-after-it"),
        pytest.param('{"a":1,"a":1}', id="member-twice"),
        pytest.param('{"b":{"a":1,"a":2}}', id="member-twice-within"),
        pytest.param('{"a":1.0}', id="float"),
        pytest.param('{"a":1e2}', id="exponent"),
        pytest.param('{"a":NaN}', id="nan"),
        pytest.param('{"a":Infinity}', id="infinity"),
        pytest.param('{"a":' + "9" * 5000 + "}", id="five-thousand-digits"),
        pytest.param('{"a":[' + "{}," * 20000 + "0]}", id="twenty-thousand-objects"),
        pytest.param('{"a":' + "[" * 100000 + "]" * 100000 + "}", id="deep"),
        pytest.param("\ufeff{}", id="byte-order-mark"),
    ],
)
def test_json_that_leaves_something_open_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        read_object(text.encode(), "it")


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(FormatError):
        read_object(b'{"a":"\xff"}', "it")


def test_members_are_read_with_their_types() -> None:
    members = read_object(
        b'{"n":3,"t":"x","h":"00Ff","d":"2026-05-26T20:26:40Z","s":"UpToDate","o":{"n":1},'
        b'"l":[{"n":1},{"n":2}],"w":["a","b"]}',
        "it",
    )
    assert members.number("n", 3) == 3
    assert members.text("t") == "x"
    assert members.hexadecimal("h", 2) == b"\x00\xff"
    assert members.date("d") == datetime(2026, 5, 26, 20, 26, 40, tzinfo=UTC)
    assert members.one_of("s", TcbStatus) is TcbStatus.UP_TO_DATE
    assert members.nested("o").number("n", 1) == 1
    assert [row.number("n", 9) for row in members.tables("l", 2)] == [1, 2]
    assert members.column("l", "n", 2, 9) == (1, 2)
    assert members.texts("w", 2) == ("a", "b")
    assert members.texts("absent", 2) == ()


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda m: m.number("n", 2), id="number-too-large"),
        pytest.param(lambda m: m.number("minus", 2), id="number-negative"),
        pytest.param(lambda m: m.number("true", 2), id="true-as-number"),
        pytest.param(lambda m: m.number("t", 2), id="text-as-number"),
        pytest.param(lambda m: m.number("absent", 2), id="number-absent"),
        pytest.param(lambda m: m.text("n"), id="number-as-text"),
        pytest.param(lambda m: m.text("t", 2), id="text-too-long"),
        pytest.param(lambda m: m.hexadecimal("h", 2), id="hex-with-space"),
        pytest.param(lambda m: m.hexadecimal("h", 3), id="hex-too-short"),
        pytest.param(lambda m: m.date("t"), id="date-no-date"),
        pytest.param(lambda m: m.date("d"), id="date-without-zone"),
        pytest.param(lambda m: m.date("d13"), id="date-month-13"),
        pytest.param(lambda m: m.one_of("t", TcbStatus), id="unknown-word"),
        pytest.param(lambda m: m.nested("l"), id="list-as-object"),
        pytest.param(lambda m: m.tables("o", 2), id="object-as-list"),
        pytest.param(lambda m: m.tables("l", 1), id="list-too-long"),
        pytest.param(lambda m: m.tables("w", 2), id="texts-as-objects"),
        pytest.param(lambda m: m.column("l", "n", 3, 9), id="column-too-short"),
        pytest.param(lambda m: m.column("l", "n", 2, 1), id="column-too-large"),
        pytest.param(lambda m: m.column("l", "x", 2, 9), id="column-absent"),
        pytest.param(lambda m: m.column("w", "n", 2, 9), id="column-of-texts"),
        pytest.param(lambda m: m.texts("w", 1), id="too-many-texts"),
        pytest.param(lambda m: m.texts("w", 2, 0), id="texts-too-long"),
        pytest.param(lambda m: m.texts("l", 2), id="objects-as-texts"),
    ],
)
def test_members_of_another_type_or_beyond_their_bounds_are_refused(read: object) -> None:
    members = read_object(
        b'{"n":3,"minus":-1,"true":true,"t":"xyz","h":"00 f","d":"2026-05-26T20:26:40",'
        b'"d13":"2026-13-26T20:26:40Z","o":{},"l":[{"n":1},{"n":2}],"w":["a","b"]}',
        "it",
    )
    with pytest.raises(FormatError, match=r"^it\."):
        read(members)
