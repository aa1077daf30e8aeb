"""ModelInferRequests read in place: what protobuf says they are, and no form taken for another."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from open_inference import infer_request
from sealserve.errors import InvalidArgument
from sealserve.messages import tensor_pb2
from sealserve.messages.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from sealserve.serving.faces.v2_infer import REMEMBERED, REMEMBERED_BYTES, Requests
from sealserve.serving.faces.v2_wire import join_response, split_request
from sealserve.serving.signature import Signature, TensorSpec

X = TensorSpec("x", "x:0", tensor_pb2.DT_FLOAT, (None, 2))
SIGNATURE = Signature("serving_default", {"x": X}, {"x": X})


def request(*values: float, request_id: str = "") -> bytes:
    raw = np.float32(values).tobytes()
    return infer_request("FP32", [raw], id=request_id).SerializeToString()


def values(requests: Requests, data: bytes) -> list[float]:
    return requests.read(data).arrays(SIGNATURE)["x"].ravel().tolist()


def test_requests_of_one_form_keep_their_own_numbers_and_ids() -> None:
    requests = Requests()
    for number, request_id in enumerate(("one", "two", "ä3", "six")):
        data = request(number, 2, request_id=request_id)
        assert requests.read(data).id == request_id
        assert values(requests, data) == [number, 2]


def test_a_form_is_understood_once() -> None:
    requests = Requests()
    first, second = (requests.read(request(n, n, request_id="a")) for n in (1, 2))
    assert first.description is second.description
    assert len(requests) == 1


def test_a_request_of_the_same_length_is_not_taken_for_another() -> None:
    requests = Requests()
    sound = request(1, 2)
    assert values(requests, sound) == [1, 2]
    named = sound.replace(b"echo", b"ecco")
    assert requests.read(named).description.query.name == "ecco"
    typed = sound.replace(b"FP32", b"FP16")
    with pytest.raises(InvalidArgument, match="expected FP32, found 'FP16'"):
        values(requests, typed)
    assert values(requests, sound) == [1, 2]


def test_what_fits_one_signature_is_held_against_the_next() -> None:
    requests = Requests()
    assert values(requests, request(1, 2)) == [1, 2]
    other = TensorSpec("x", "x:0", tensor_pb2.DT_INT32, (None, 2))
    with pytest.raises(InvalidArgument, match="expected INT32"):
        requests.read(request(1, 2)).arrays(Signature("s", {"x": other}, {"x": other}))


def test_an_id_that_is_no_text_is_refused_in_a_known_form_too() -> None:
    requests = Requests()
    sound = request(1, 2, request_id="one")
    assert requests.read(sound).id == "one"
    with pytest.raises(DecodeError):
        requests.read(sound.replace(b"one", b"o\xff\xfe"))


def test_what_is_remembered_is_bounded() -> None:
    requests = Requests()
    for length in range(2 * REMEMBERED):
        requests.read(request(1, 2, request_id="i" * length))
    assert len(requests) == REMEMBERED
    large = infer_request("FP32", [b""], signature="s" * REMEMBERED_BYTES).SerializeToString()
    before = len(requests)
    requests.read(large)
    assert len(requests) == before


def test_typed_numbers_are_not_remembered() -> None:
    requests = Requests()
    requests.read(infer_request("FP32", [], contents=[1, 2]).SerializeToString())
    assert len(requests) == 0


SOUND = request(1, 2, request_id="one")
PIECES = st.sampled_from(
    [
        SOUND,
        b"\x1a\x03one",  # an id
        b"\x1a\x02\xff\xff",  # one that is no text
        b"\x3a\x04abcd",  # a content
        b"\x3a\x00",
        b"\x3a\x05ab",  # one that ends too soon
        b"\x0a\x04echo",
        b"\x2a\x03\x0a\x01x",  # an input
        b"\x0b\x0c",  # a group
        b"\x80\x80\x80\x00",  # a tag in more bytes than it needs
        b"\x48\x01",  # a field that there is not
    ]
)
DAMAGED = st.builds(
    lambda at, some: SOUND[:at] + some + SOUND[at + len(some) :],
    st.integers(0, len(SOUND)),
    st.binary(max_size=4),
)


@given(st.lists(PIECES, max_size=5).map(b"".join) | DAMAGED | st.binary(max_size=30))
def test_every_message_is_what_protobuf_says_it_is(data: bytes) -> None:
    try:
        expected = ModelInferRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            ModelInferRequest.FromString(split_request(data).rest)
        return
    parts = split_request(data)
    found = ModelInferRequest.FromString(parts.rest)
    found.id = parts.id
    found.raw_input_contents.extend(map(bytes, parts.raw))
    assert found == expected


@given(st.text(max_size=5), st.lists(st.binary(max_size=200), max_size=3))
def test_an_answer_is_what_protobuf_would_write(request_id: str, raw: list[bytes]) -> None:
    message = ModelInferResponse(model_name="m", model_version="1")
    message.outputs.add(name="y", datatype="FP32", shape=[1])
    written = join_response(message.SerializeToString(), request_id, raw)
    message.id = request_id
    message.raw_output_contents.extend(raw)
    assert ModelInferResponse.FromString(written) == message
