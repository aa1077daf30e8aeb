"""Whatever a peer sends, the provisioning parsers answer with a result or an error of ours."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fixed_decisions import RESULT, decided, released
from sealserve.attester.messages import (
    NAMES_LIMIT,
    Answered,
    AnswerParser,
    Unanswered,
    encode_request,
)
from sealserve.attester.protocol import REQUEST, RESPONSE, SECRET_LIMIT, ResponseParser
from sealserve.errors import FormatError
from sealserve.keyservice.asking import Answer, Outcome
from sealserve.keyservice.named import NamedConversation
from sealserve.keyservice.protocol import RequestParser, encode_answer


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]


CUTS = st.lists(st.integers(min_value=0, max_value=1 << 20), max_size=6)
NEAR_REQUEST = st.builds(
    lambda keep, tail: REQUEST[:keep] + tail, st.integers(0, len(REQUEST)), st.binary(max_size=64)
)
NEAR_RESPONSE = st.builds(
    lambda keep, tail: RESPONSE[:keep] + tail, st.integers(0, len(RESPONSE)), st.binary(max_size=64)
)


@given(data=st.one_of(st.binary(max_size=256), NEAR_REQUEST), cuts=CUTS)
def test_only_the_one_request_is_accepted(data, cuts):
    parser = RequestParser()
    try:
        complete = [parser.feed(piece) for piece in pieces(data, cuts)][-1]
    except FormatError:
        assert not REQUEST.startswith(data)
    else:
        assert REQUEST.startswith(data)
        assert complete == (data == REQUEST)


@given(data=st.one_of(st.binary(max_size=256), NEAR_RESPONSE), cuts=CUTS)
def test_an_answer_is_a_secret_or_incomplete_or_refused(data, cuts):
    parser = ResponseParser()
    secret = None
    try:
        for piece in pieces(data, cuts):
            secret = parser.feed(piece)
    except FormatError:
        return
    if secret is not None:
        assert data == encode_answer(secret, "raw")


@given(
    secret=st.binary(min_size=1, max_size=4096), encoding=st.sampled_from(["raw", "hex"]), cuts=CUTS
)
def test_what_one_end_encodes_the_other_reads(secret, encoding, cuts):
    parser = ResponseParser()
    results = [parser.feed(piece) for piece in pieces(encode_answer(secret, encoding), cuts)]
    received = next(result for result in results if result is not None)
    assert received == (secret if encoding == "raw" else secret.hex().encode() + b"\0")
    assert len(received) <= SECRET_LIMIT


NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
NAMES = st.lists(NAME, min_size=1, max_size=NAMES_LIMIT, unique=True)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
MEMBER = st.sampled_from(
    ["outcome", "secrets", "denied", "result", "versions", "version", "value", "record", "a", "b"]
)
NEAR_JSON = st.recursive(
    JSON | st.sampled_from(["answered", "busy", "undecided", "AA==", "a", 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBER, inner, max_size=5),
    max_leaves=16,
)


def framed(value: object) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return len(body).to_bytes(4, "big") + body


ANYTHING = st.one_of(
    st.binary(max_size=256), st.binary(max_size=256).map(framed), NEAR_JSON.map(framed)
)


@given(names=NAMES, cuts=CUTS)
def test_a_named_request_is_read_however_it_is_cut(names, cuts):
    conversation = NamedConversation()
    complete = [conversation.feed(piece) for piece in pieces(encode_request(names), cuts)]
    assert complete[-1]
    assert conversation.names == tuple(names)


@given(data=ANYTHING, cuts=CUTS)
def test_a_named_request_is_names_or_incomplete_or_refused(data, cuts):
    conversation = NamedConversation()
    try:
        for piece in pieces(data, cuts):
            conversation.feed(piece)
    except FormatError:
        return
    if conversation.names is not None:
        assert json.loads(data[4:]) == {"secrets": list(conversation.names)}


@given(data=ANYTHING, cuts=CUTS)
def test_a_named_answer_is_one_or_incomplete_or_refused(data, cuts):
    parser = AnswerParser(["a", "b"])
    answer = None
    try:
        for piece in pieces(data, cuts):
            answer = parser.feed(piece) or answer
    except FormatError:
        return
    if isinstance(answer, Answered):
        assert sorted([*answer.secrets, *answer.denied]) == ["a", "b"]
    elif answer is not None:
        assert isinstance(answer, Unanswered)


@given(data=st.data(), names=NAMES, cuts=CUTS)
def test_what_is_decided_about_names_arrives(data, names, cuts):
    values = st.lists(st.binary(min_size=1, max_size=64), min_size=1, max_size=4)
    record = st.none() | st.dictionaries(NAME, JSON, max_size=3)
    decisions = tuple(
        released(name, *data.draw(values), record=_json(data.draw(record)))
        if data.draw(st.booleans())
        else decided(name, Outcome.DENIED)
        for name in names
    )
    message = NamedConversation().answer(Answer(decisions, RESULT))
    parser = AnswerParser(names)
    answer = next(filter(None, [parser.feed(piece) for piece in pieces(message, cuts)]))
    assert isinstance(answer, Answered)
    assert answer.denied == tuple(found.name for found in decisions if found.release is None)
    for decision in decisions:
        if decision.release is not None:
            got = answer.secrets[decision.name]
            assert [version.value for version in got.versions] == [
                version.reveal() for version in decision.release.versions
            ]
            assert got.record == decision.release.record


def _json(record):
    """A record as it is kept: canonical."""
    if record is None:
        return None
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()
