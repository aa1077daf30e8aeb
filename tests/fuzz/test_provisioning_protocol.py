"""Whatever a peer sends, the provisioning parsers answer with a result or an error of ours."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sealserve.attester.protocol import REQUEST, RESPONSE, SECRET_LIMIT, ResponseParser
from sealserve.errors import FormatError
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
