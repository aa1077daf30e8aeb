"""The messages of sealserve/1 from both ends: what they are, and that nothing else is one."""

from __future__ import annotations

import base64
import json

import pytest

from fixed_decisions import RESULT, decided, released
from sealserve.attester.messages import (
    ANSWER_LIMIT,
    NAMES_LIMIT,
    REQUEST_LIMIT,
    Answered,
    AnswerParser,
    Unanswered,
    encode_request,
)
from sealserve.attester.protocol import REQUEST, SECRET_LIMIT
from sealserve.errors import FormatError, NetworkError, UsageError
from sealserve.keyservice.asking import Answer, Outcome
from sealserve.keyservice.named import NamedConversation

RECORD = b'{"files":[],"format":1,"model":"r\xc3\xa9snet","version":null}'
ANSWER = Answer(
    (
        released("resnet50", b"new key", b"old key", record=RECORD),
        decided("ssl", Outcome.DENIED),
        released("aux", b"\0\xff"),
    ),
    RESULT,
)
NAMES = ("resnet50", "ssl", "aux")


def framed(message: object) -> bytes:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return len(body).to_bytes(4, "big") + body


def ask(sent: bytes) -> tuple[str, ...] | None:
    conversation = NamedConversation()
    conversation.feed(sent)
    return conversation.names


def read(sent: bytes, names=NAMES) -> Answered | Unanswered | None:
    return AnswerParser(names).feed(sent)


def test_a_request_is_its_length_and_json():
    assert encode_request(["resnet50", "ssl"]) == b'\0\0\0\x1e{"secrets":["resnet50","ssl"]}'
    assert ask(encode_request(["resnet50", "ssl"])) == ("resnet50", "ssl")


def test_the_largest_request_that_can_be_made_is_taken():
    names = [f"{index:02}{'n' * 126}" for index in range(NAMES_LIMIT)]
    assert ask(encode_request(names)) == tuple(names)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([], id="none"),
        pytest.param(["a", "a"], id="twice"),
        pytest.param([f"n{index}" for index in range(65)], id="65"),
        pytest.param([""], id="empty"),
        pytest.param(["n" * 129], id="129 characters"),
        pytest.param(["../ssl"], id="a path"),
        pytest.param(["résnet"], id="not ASCII"),
        pytest.param(["ssl\n"], id="a newline after it"),
    ],
)
def test_what_is_no_name_is_not_asked_for(names):
    with pytest.raises(UsageError):
        encode_request(names)


def test_a_request_may_come_in_single_bytes_and_spaced_as_json_may_be():
    conversation = NamedConversation()
    sent = framed(b' {"secrets" :\n["ssl"]} ')
    assert [conversation.feed(bytes([byte])) for byte in sent] == [False] * (len(sent) - 1) + [True]
    assert conversation.names == ("ssl",)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(REQUEST, id="Gramine's request"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(bytes(4), id="no bytes"),
        pytest.param((REQUEST_LIMIT + 1).to_bytes(4, "big"), id="a byte over the limit"),
        pytest.param(b"\xff" * 4, id="4 GiB"),
        pytest.param(b"\x1e\0\0\0", id="little-endian length"),
        pytest.param(framed({"secrets": ["a"]}) + b"\0", id="a byte after it"),
        pytest.param(framed({"secrets": ["a"]}) * 2, id="two requests"),
        pytest.param(framed(b"  "), id="nothing"),
        pytest.param(framed(b'{"secrets":["a"'), id="cut off"),
        pytest.param(framed(b'{"secrets":["a"]} x'), id="text after the object"),
        pytest.param(framed(b'{"secrets":["a"],"secrets":["b"]}'), id="a key twice"),
        pytest.param(framed(b'{"secrets":["\xff"]}'), id="no UTF-8"),
        pytest.param(framed(b'\xef\xbb\xbf{"secrets":["a"]}'), id="a byte order mark"),
        pytest.param(framed('{"secrets":["a"]}'.encode("utf-16")), id="UTF-16"),
        pytest.param(framed(b'{"secrets":NaN}'), id="NaN"),
        pytest.param(framed(b"[" * REQUEST_LIMIT), id="deep lists"),
        pytest.param(framed(b'{"secrets":' * 1000), id="deep objects"),
        pytest.param(framed(b'{"secrets":[["a"]]}'), id="a list in the list"),
        pytest.param(framed(b'{"secrets":[{}]}'), id="an object in the list"),
        pytest.param(framed(["a"]), id="a list"),
        pytest.param(framed("secrets"), id="text"),
        pytest.param(framed({}), id="no key"),
        pytest.param(framed({"secrets": ["a"], "more": 1}), id="an unknown key"),
        pytest.param(framed({"Secrets": ["a"]}), id="another key"),
        pytest.param(framed({"secrets": []}), id="no names"),
        pytest.param(framed({"secrets": "a"}), id="text for the list"),
        pytest.param(framed({"secrets": None}), id="null for the list"),
        pytest.param(framed({"secrets": ["a", 1]}), id="a number for a name"),
        pytest.param(framed({"secrets": ["a", "a"]}), id="a name twice"),
        pytest.param(framed({"secrets": [f"n{i}" for i in range(65)]}), id="65 names"),
        pytest.param(framed({"secrets": [""]}), id="an empty name"),
        pytest.param(framed({"secrets": ["n" * 129]}), id="a name of 129 characters"),
        pytest.param(framed({"secrets": ["-a"]}), id="a name that begins with a dash"),
        pytest.param(framed({"secrets": ["a\n"]}), id="a newline after the name"),
        pytest.param(framed({"secrets": ["a\0"]}), id="a NUL after the name"),
        pytest.param(framed({"secrets": ["a/b"]}), id="a path"),
        pytest.param(framed(b'{"secrets":["\\ud800"]}'), id="half a surrogate"),
    ],
)
def test_another_request_is_refused(sent):
    conversation = NamedConversation()
    with pytest.raises(FormatError) as caught:
        conversation.feed(sent)
    assert caught.value.code == "message"
    assert conversation.names is None


def test_an_answer_says_of_each_name_what_came_of_it():
    message = NamedConversation().answer(ANSWER)
    assert int.from_bytes(message[:4], "big") == len(message) - 4
    assert json.loads(message[4:]) == {
        "outcome": "answered",
        "secrets": {
            "resnet50": {
                "versions": [
                    {"version": 2, "value": base64.b64encode(b"new key").decode()},
                    {"version": 1, "value": base64.b64encode(b"old key").decode()},
                ],
                "record": {"files": [], "format": 1, "model": "résnet", "version": None},
            },
            "aux": {"versions": [{"version": 1, "value": "AP8="}], "record": None},
        },
        "denied": ["ssl"],
        "result": RESULT,
    }


def test_the_client_reads_what_the_server_writes():
    answer = read(NamedConversation().answer(ANSWER))
    assert isinstance(answer, Answered)
    assert list(answer.secrets) == ["resnet50", "aux"]
    versions = answer.secrets["resnet50"].versions
    assert [(version.number, version.value) for version in versions] == [
        (2, b"new key"),
        (1, b"old key"),
    ]
    assert answer.secrets["resnet50"].record == RECORD
    assert answer.secrets["aux"].record is None
    assert answer.denied == ("ssl",)
    assert answer.result == RESULT
    assert "key" not in repr(answer).replace("resnet50", "")


@pytest.mark.parametrize("outcome", [Outcome.DENIED, Outcome.REJECTED])
def test_a_secret_that_is_not_there_looks_like_one_that_is_not_for_the_client(outcome):
    """The same bytes, whichever it is, but for the name; and neither says why."""
    here, nope = (
        NamedConversation().answer(Answer((decided(name, outcome),), RESULT))
        for name in ("here", "nope")
    )
    assert here.replace(b"here", b"nope") == nope
    assert outcome.value.encode() not in here.replace(b'"denied":', b"")


def test_evidence_that_did_not_verify_has_no_result():
    message = NamedConversation().answer(Answer((decided("ssl", Outcome.REJECTED),), None))
    answer = read(message, ["ssl"])
    assert isinstance(answer, Answered)
    assert answer.result is None
    assert answer.denied == ("ssl",)


def test_one_undecided_name_leaves_the_whole_answer_undecided():
    decisions = (released("a", b"key"), decided("b", Outcome.FAILED))
    with pytest.raises(NetworkError) as caught:
        NamedConversation().answer(Answer(decisions, RESULT))
    assert caught.value.code == "undecided"


def test_an_answer_beyond_what_clients_take_is_not_sent():
    value = bytes(SECRET_LIMIT)
    decisions = tuple(released(f"n{index}", value) for index in range(50))
    with pytest.raises(NetworkError) as caught:
        NamedConversation().answer(Answer(decisions, RESULT))
    assert caught.value.code == "answer-size"


@pytest.mark.parametrize(
    ("retry_after", "told"),
    [
        (None, Unanswered()),
        (2.5, Unanswered(2.5)),
        (0, Unanswered(0.0)),
        (-1, Unanswered(0.0)),
        (1e9, Unanswered(3600.0)),
        (float("inf"), Unanswered(3600.0)),
        (1 / 3, Unanswered(0.333)),
    ],
)
def test_where_nothing_is_decided_the_client_is_told_when_to_come_again(retry_after, told):
    assert read(NamedConversation().apology(retry_after)) == told


def secret(**changes) -> dict:
    return {"versions": [{"version": 1, "value": "AA=="}], "record": None, **changes}


def answered(**changes) -> dict:
    return {
        "outcome": "answered",
        "secrets": {"a": secret()},
        "denied": ["b"],
        "result": None,
        **changes,
    }


def versions(*found: object) -> dict:
    return answered(secrets={"a": secret(versions=list(found))})


def version(number: object = 1, value: object = "AA==") -> dict:
    return {"version": number, "value": value}


def test_the_answer_that_the_others_differ_from_is_taken():
    assert isinstance(read(framed(answered()), ["a", "b"]), Answered)
    assert isinstance(read(framed(versions(version(2), version())), ["a", "b"]), Answered)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param([], id="a list"),
        pytest.param({}, id="nothing"),
        pytest.param({"outcome": "released"}, id="another outcome"),
        pytest.param({"outcome": None}, id="no outcome"),
        pytest.param({"outcome": "undecided", "why": "x"}, id="undecided and more"),
        pytest.param({"outcome": "busy"}, id="busy without a time"),
        pytest.param({"outcome": "busy", "retry_after_seconds": -1}, id="busy until before"),
        pytest.param({"outcome": "busy", "retry_after_seconds": 3601}, id="busy for ever"),
        pytest.param({"outcome": "busy", "retry_after_seconds": True}, id="busy until true"),
        pytest.param({"outcome": "busy", "retry_after_seconds": "1"}, id="busy until text"),
        pytest.param(b'{"outcome":"busy","retry_after_seconds":1e999}', id="busy to infinity"),
        pytest.param(b'{"outcome":"busy","retry_after_seconds":NaN}', id="busy until NaN"),
        pytest.param(answered(more=1), id="an unknown key"),
        pytest.param({k: v for k, v in answered().items() if k != "result"}, id="no result"),
        pytest.param(answered(result=[]), id="a result that is a list"),
        pytest.param(answered(secrets=[]), id="secrets in a list"),
        pytest.param(answered(denied={"b": 1}), id="denied in an object"),
        pytest.param(answered(denied=[]), id="a name is missing"),
        pytest.param(answered(denied=["b", "c"]), id="a name that was not asked for"),
        pytest.param(answered(denied=["b", "a"]), id="a name both released and denied"),
        pytest.param(answered(denied=["b", "b"]), id="a name twice"),
        pytest.param(answered(denied=[1]), id="a number for a name"),
        pytest.param(answered(denied=[["b"]]), id="a list for a name"),
        pytest.param(answered(secrets={"a": None}), id="no secret"),
        pytest.param(answered(secrets={"a": secret(more=1)}), id="a secret and more"),
        pytest.param(answered(secrets={"a": secret(record=[1])}), id="a record that is a list"),
        pytest.param(
            framed(answered(secrets={"a": secret(record={"m": "\ud800"})}))[4:],
            id="a record that is no UTF-8",
        ),
        pytest.param(answered(secrets={"a": secret(versions={})}), id="versions in an object"),
        pytest.param(versions(), id="no version"),
        pytest.param(versions(*[version(n + 1) for n in range(1001)]), id="1001 versions"),
        pytest.param(versions(version(), version()), id="a version twice"),
        pytest.param(versions("AA=="), id="text for a version"),
        pytest.param(versions({"version": 1}), id="a version without a value"),
        pytest.param(versions({**version(), "more": 1}), id="a version and more"),
        pytest.param(versions(version(0)), id="version 0"),
        pytest.param(versions(version(True)), id="version true"),
        pytest.param(versions(version(1.0)), id="version 1.0"),
        pytest.param(versions(version("1")), id="version in text"),
        pytest.param(versions(version(value="")), id="an empty value"),
        pytest.param(versions(version(value="A")), id="a value that is no base64"),
        pytest.param(versions(version(value="AA==\n")), id="a newline in a value"),
        pytest.param(versions(version(value="_-8=")), id="base64url"),
        pytest.param(versions(version(value="ÄÄ==")), id="a value that is not ASCII"),
        pytest.param(versions(version(value=None)), id="null for a value"),
        pytest.param(
            versions(version(value=base64.b64encode(bytes(SECRET_LIMIT + 1)).decode())),
            id="a value over the limit",
        ),
        pytest.param(b'{"outcome":"undecided","outcome":"undecided"}', id="a key twice"),
        pytest.param(b'{"a":' * 100_000, id="deep objects"),
        pytest.param(b"[" * 100_000, id="deep lists"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep and closed"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", id="a number of 5000 digits"),
        pytest.param(b'{"a":[' + b"1," * 100_000 + b"1]}", id="more values than are taken"),
        pytest.param(b"\x80\x80", id="no UTF-8"),
    ],
)
def test_another_answer_is_refused_without_showing_it(message):
    with pytest.raises(FormatError) as caught:
        read(framed(message), ["a", "b"])
    assert caught.value.code == "message"
    assert "AA==" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_answer_over_the_limit_is_refused_by_its_length_alone():
    with pytest.raises(FormatError):
        read((ANSWER_LIMIT + 1).to_bytes(4, "big"))
    parser = AnswerParser(["a"])
    assert parser.feed(ANSWER_LIMIT.to_bytes(4, "big")) is None
    assert parser.started
