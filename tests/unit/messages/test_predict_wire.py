"""Large tensors are read and written in place, and mean what protobuf says they mean."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_arrays

from sealserve.errors import InvalidArgument
from sealserve.messages.predict_pb2 import ModelSpec, PredictRequest, PredictResponse
from sealserve.messages.tensor_pb2 import DT_FLOAT, TensorProto
from sealserve.messages.tensors import from_proto, to_proto
from sealserve.messages.wire import (
    MAX_FIELDS,
    Request,
    Spec,
    decode_predict_request,
    decode_predict_response,
    encode_predict_request,
    encode_predict_response,
)

LIMIT = 1 << 20
unhurried = settings(deadline=None)  # a loaded machine is no failure
DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16", ">f4"]
NUMBERS = st.integers(-(2**63), 2**63 - 1)
CHOICES = st.just((None, None)) | st.tuples(NUMBERS, st.none()) | st.tuples(st.none(), st.text())
SPECS = st.tuples(st.text(max_size=5), CHOICES, st.text(max_size=5)).map(
    lambda drawn: Spec(drawn[0], *drawn[1], drawn[2])
)
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: of_arrays.arrays(dtype, of_arrays.array_shapes(min_dims=0, min_side=0))
) | of_arrays.arrays(object, 3, elements=st.binary(max_size=3))
NAMED_ARRAYS = st.dictionaries(st.text(max_size=5), ARRAYS, max_size=3)

X = np.float32([[1, 2], [3, 4]])
TENSOR = to_proto(X).SerializeToString()
SOUND = encode_predict_request(Spec("m", 7, signature="s"), {"x": X, "y": np.int64(5)[...]})


def field(tag: int, value: bytes) -> bytes:
    assert len(value) < 0x80
    return bytes([tag, len(value)]) + value


def entry(*fields: bytes) -> bytes:
    return field(0x12, b"".join(fields))


def with_inputs(*entries: bytes) -> bytes:
    return b"\x0a\x03\x0a\x01m" + b"".join(entries)


KEY, VALUE = field(0x0A, b"x"), field(0x12, TENSOR)
LEGAL = {
    "as everybody writes it": with_inputs(entry(KEY, VALUE)),
    "nothing": b"",
    "an entry without a value": with_inputs(entry(KEY)),
    "an entry without a key": with_inputs(entry(VALUE)),
    "an empty entry": with_inputs(entry()),
    "the value first": with_inputs(entry(VALUE, KEY)),
    "two keys in an entry": with_inputs(entry(field(0x0A, b"y"), KEY, VALUE)),
    "a value in two parts": with_inputs(
        entry(KEY, field(0x12, TENSOR[:2]), field(0x12, TENSOR[2:]))
    ),
    "two values that add up": with_inputs(entry(KEY, VALUE, VALUE)),
    "an alias twice": with_inputs(entry(KEY, field(0x12, b"\x08\x01")), entry(KEY, VALUE)),
    "content twice": with_inputs(entry(KEY, field(0x12, field(0x22, b"1234") + TENSOR))),
    "empty content after content": with_inputs(entry(KEY, field(0x12, TENSOR + b"\x22\x00"))),
    "empty content": with_inputs(entry(KEY, field(0x12, b"\x08\x01\x12\x00\x22\x00"))),
    "an unknown field outside": with_inputs(entry(KEY, VALUE)) + field(0x7A, b"abc"),
    "an unknown number outside": with_inputs(entry(KEY, VALUE)) + b"\x78\x05",
    "an unknown field in the entry": with_inputs(entry(KEY, VALUE, field(0x1A, b"abc"))),
    "an unknown field in the tensor": with_inputs(
        entry(KEY, field(0x12, TENSOR + b"\xfa\x01\x01a"))
    ),
    "a fixed field": with_inputs(entry(KEY, VALUE)) + b"\x7d1234\x7912345678",
    "a group": with_inputs(entry(KEY, VALUE)) + b"\x7b\x08\x01\x7c",
    "a group in the tensor": with_inputs(entry(KEY, field(0x12, TENSOR + b"\xf3\x01\xf4\x01"))),
    "a long tag": with_inputs(b"\x92\x00" + entry(KEY, VALUE)[1:]),
    "a long length": with_inputs(b"\x12" + bytes([entry(KEY, VALUE)[1] | 0x80, 0]) + KEY + VALUE),
    "inputs as a number": with_inputs() + b"\x10\x05",
    "content as a number": with_inputs(entry(KEY, field(0x12, b"\x20\x05" + TENSOR))),
    "a spec in two parts": with_inputs(entry(KEY, VALUE)) + b"\x0a\x03\x1a\x01s",
    "many fields": with_inputs(entry(KEY, VALUE)) + b"\x78\x05" * (2 * MAX_FIELDS),
    "values in their own field": PredictRequest(
        inputs={"x": TensorProto(dtype=DT_FLOAT, float_val=[1, 2, 3])}
    ).SerializeToString(),
}
BROKEN = {
    "cut": with_inputs(entry(KEY, VALUE))[:-1],
    "cut in the content": with_inputs(entry(KEY, VALUE[:-3])),
    "a length beyond the entry": with_inputs(field(0x12, KEY + b"\x12\x7f" + TENSOR)),
    "a length beyond the tensor": with_inputs(entry(KEY, field(0x12, b"\x22\x7f1234"))),
    "a length of eleven bytes": with_inputs(b"\x12" + b"\xff" * 10 + b"\x01"),
    "a length above 2^63": with_inputs(b"\x12" + b"\xff" * 9 + b"\x01"),
    "a tag above 2^32": with_inputs() + b"\xff\xff\xff\xff\xff\x01\x01",
    "field number 0": with_inputs() + b"\x02\x00",
    "wire type 6": with_inputs() + b"\x7e\x00",
    "a group that ends alone": with_inputs() + b"\x7c",
    "a group without an end": with_inputs() + b"\x7b",
    "an alias that is no text": with_inputs(entry(field(0x0A, b"\xff"), VALUE)),
    "a model name that is no text": b"\x0a\x03\x0a\x01\xff" + entry(KEY, VALUE),
    "a surrogate in an alias": with_inputs(entry(field(0x0A, b"\xed\xa0\x80"), VALUE)),
}


def outcome(data: bytes) -> object:
    """What protobuf makes of a request: its arrays or why there are none."""
    try:
        message = PredictRequest.FromString(data)
    except DecodeError:
        return None
    inputs = {
        alias: array_of(lambda p=p: from_proto(p, limit_bytes=LIMIT))
        for alias, p in message.inputs.items()
    }
    return known(message.model_spec), tuple(message.output_filter), inputs


def our_outcome(data: bytes) -> object:
    try:
        request = decode_predict_request(data)
    except DecodeError:
        return None
    return known(message_of(request.spec)), request.output_filter, arrays_of(request)


def known(spec: ModelSpec) -> object:
    """What a spec says in fields that we know."""
    choice = spec.WhichOneof("version_choice")
    return spec.name, choice, spec.version.value, spec.version_label, spec.signature_name


def arrays_of(request: Request) -> dict[str, object]:
    inputs = request.inputs
    return {a: array_of(lambda a=a: inputs.array(a, limit_bytes=LIMIT)) for a in inputs.protos}


def array_of(read: object) -> object:
    try:
        array = read()  # type: ignore[operator]
    except InvalidArgument as error:
        return error.message
    return array.dtype, array.shape, array.tolist() if array.dtype == object else array.tobytes()


def message_of(spec: Spec) -> ModelSpec:
    message = ModelSpec(name=spec.name, signature_name=spec.signature)
    if spec.label is not None:
        message.version_label = spec.label
    if spec.version is not None:
        message.version.value = spec.version
    return message


def protos_of(arrays: Mapping[str, np.ndarray]) -> dict[str, TensorProto]:
    return {alias: to_proto(array) for alias, array in arrays.items()}


@pytest.mark.parametrize("data", LEGAL.values(), ids=LEGAL.keys())
def test_whatever_is_legal_means_what_it_means_to_protobuf(data: bytes) -> None:
    assert outcome(data) is not None
    assert our_outcome(data) == outcome(data)


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_whatever_protobuf_rejects_is_rejected(data: bytes) -> None:
    assert outcome(data) is None
    with pytest.raises(DecodeError):
        decode_predict_request(data)


@unhurried
@given(spec=SPECS, arrays=NAMED_ARRAYS)
def test_protobuf_reads_what_is_written(spec: Spec, arrays: dict[str, np.ndarray]) -> None:
    protos = protos_of(arrays)
    asked = PredictRequest(model_spec=message_of(spec), inputs=protos)
    assert PredictRequest.FromString(encode_predict_request(spec, arrays)) == asked
    answered = PredictResponse(model_spec=message_of(spec), outputs=protos)
    assert PredictResponse.FromString(encode_predict_response(spec, arrays)) == answered


@unhurried
@given(spec=SPECS, arrays=NAMED_ARRAYS)
def test_what_protobuf_writes_is_read(spec: Spec, arrays: dict[str, np.ndarray]) -> None:
    message = PredictResponse(model_spec=message_of(spec), outputs=protos_of(arrays))
    read_spec, outputs = decode_predict_response(message.SerializeToString(), limit_bytes=LIMIT)
    assert read_spec == spec
    assert outputs.keys() == arrays.keys()
    for alias, array in arrays.items():
        assert outputs[alias].shape == array.shape
        assert outputs[alias].dtype == array.dtype.newbyteorder("<")
        assert outputs[alias].tolist() == array.tolist() or np.isnan(array).any()


@unhurried
@given(data=st.data())
def test_damage_means_what_it_means_to_protobuf(data: st.DataObject) -> None:
    changed = bytearray(SOUND)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        match data.draw(st.integers(0, 3)):
            case 0:
                changed[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case 1:
                del changed[at : at + data.draw(st.integers(1, 8))]
            case 2:
                changed[at:at] = data.draw(st.binary(max_size=4))
            case _:
                changed += changed[at:]
    assert our_outcome(bytes(changed)) == outcome(bytes(changed))


@unhurried
@given(st.binary(max_size=60))
def test_noise_means_what_it_means_to_protobuf(data: bytes) -> None:
    assert our_outcome(data) == outcome(data)


def test_numbers_stay_where_they_came() -> None:
    request = decode_predict_request(SOUND)
    array = request.inputs.array("x", limit_bytes=LIMIT)
    at = SOUND.index(X.tobytes())
    assert array.ctypes.data == np.frombuffer(SOUND, np.uint8)[at:].ctypes.data
    assert not array.flags.writeable
    assert not request.inputs.protos["x"].tensor_content


def test_an_output_beyond_its_limit_is_refused_by_name() -> None:
    data = encode_predict_response(Spec("m"), {"y": X})
    with pytest.raises(InvalidArgument, match="output 'y': the tensor takes 16 bytes"):
        decode_predict_response(data, limit_bytes=15)


def test_an_array_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="datetime64"):
        encode_predict_request(Spec("m"), {"x": np.zeros(1, "M8[s]")})
