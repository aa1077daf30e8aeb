"""The model server's parsers as functions of bytes, with what must hold of what they accept.

Two ways to read the same bytes must agree: the readers that leave tensors where they came with
protobuf, and a form that is remembered with one that is read afresh. What stands behind a checksum
is put under a right one here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fuzz import serving_seeds as seeds
from sealserve.errors import InvalidArgument, SealServeError, ServingError
from sealserve.messages import tensor_pb2, wire
from sealserve.messages.bundle_pb2 import BundleHeaderProto
from sealserve.messages.forms import Forms
from sealserve.messages.inference_pb2 import Input
from sealserve.messages.open_inference_pb2 import ModelInferRequest
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse
from sealserve.messages.status_pb2 import ReloadConfigRequest
from sealserve.messages.tensors import from_proto
from sealserve.serving import textconfig
from sealserve.serving.examples import example_array
from sealserve.serving.faces import rest_json, v2_json
from sealserve.serving.faces.rest_examples import decode_examples
from sealserve.serving.faces.v2_infer import Requests
from sealserve.serving.faces.v2_wire import split_request
from sealserve.serving.formats.bundle import Bundle
from sealserve.serving.formats.found import found_in
from sealserve.serving.formats.onnx import ONNX_NAME, read_onnx
from sealserve.serving.formats.records import read_records
from sealserve.serving.formats.saved_model import FILE_NAME, parse_saved_model
from sealserve.serving.formats.subgraph import cut
from sealserve.serving.formats.table import FOOTER_BYTES, MAGIC, masked_crc32c, read_table
from sealserve.serving.formats.variables import stored_in
from sealserve.serving.life.warmup import FILE_NAME as WARM_UP_NAME
from sealserve.serving.life.warmup import WarmUp
from sealserve.serving.signature import Array, parse_signature
from tests.support.made_versions import HeldFiles, block, bundle, table, varint

LIMIT = 1 << 20  # bytes of a tensor
_TYPES = (tensor_pb2.DT_FLOAT, tensor_pb2.DT_INT8, tensor_pb2.DT_BOOL, tensor_pb2.DT_STRING)
_SIGNATURES = tuple(seeds.signature(data_type, None) for data_type in _TYPES)


def predict_request(data: bytes) -> None:
    """As protobuf reads it."""
    message = PredictRequest.FromString(data)
    request = wire.decode_predict_request(data)
    assert request.output_filter == tuple(message.output_filter)
    assert request.spec.name == message.model_spec.name
    assert request.inputs.protos.keys() == message.inputs.keys()
    for alias, proto in message.inputs.items():
        _agree(
            lambda a=alias: request.inputs.array(a, limit_bytes=LIMIT),
            lambda p=proto: from_proto(p, limit_bytes=LIMIT),
        )


def not_a_predict_request(data: bytes) -> None:
    """What protobuf refuses is refused."""
    try:
        wire.decode_predict_request(data)
    except DecodeError:
        return
    PredictRequest.FromString(data)


def predict_response(data: bytes) -> None:
    """As protobuf reads it."""
    message = PredictResponse.FromString(data)
    _, outputs = wire.decode_predict_response(data, limit_bytes=LIMIT)
    for alias, proto in message.outputs.items():
        assert _same(outputs[alias], from_proto(proto, limit_bytes=LIMIT))


def predict_form(data: bytes) -> None:
    """Bytes laid over a request that is remembered: read as without memory."""
    for sound in seeds.predict_requests()[:2]:
        forms = Forms(limit_bytes=LIMIT)
        forms.read(sound).inputs()
        changed = _laid_over(sound, data)
        _agree(
            lambda f=forms, c=changed: f.read(c).inputs(),
            lambda c=changed: Forms(limit_bytes=LIMIT).read(c).inputs(),
        )


def infer_request(data: bytes) -> None:
    """As protobuf reads it; and its arrays, if it has any."""
    message = ModelInferRequest.FromString(data)
    parts = split_request(data)
    assert parts.id == message.id
    assert [bytes(raw) for raw in parts.raw] == list(message.raw_input_contents)
    rest = ModelInferRequest.FromString(parts.rest)
    rest.id = message.id
    rest.raw_input_contents.extend(message.raw_input_contents)
    deterministic = rest.SerializeToString(deterministic=True)
    assert deterministic == message.SerializeToString(deterministic=True)
    for signature in _SIGNATURES:
        with contextlib.suppress(ServingError):
            Requests().read(data).arrays(signature)


def infer_form(data: bytes) -> None:
    """Bytes laid over a request that is remembered: read as without memory."""
    sound = seeds.infer_requests()[0]
    requests = Requests()
    requests.read(sound).arrays(_SIGNATURES[0])
    changed = _laid_over(sound, data)
    _agree(
        lambda: requests.read(changed).arrays(_SIGNATURES[0]),
        lambda: Requests().read(changed).arrays(_SIGNATURES[0]),
    )


def infer_body(data: bytes) -> None:
    """With a header, which says that the JSON ends with its last brace, and without."""
    for length in (str(data.rfind(b"}}]}") + 4), None):
        for signature in _SIGNATURES:
            try:
                request = v2_json.parse_request(data, length)
                arrays = v2_json.decode_inputs(request, signature)
            except ServingError:
                continue
            assert all(array.dtype == signature.inputs[a].dtype for a, array in arrays.items())


def rest_body(data: bytes) -> None:
    """For inputs of several types; what is accepted has the input's."""
    document = rest_json.parse_body(data)
    rest_json.signature_name(document)
    for signature in _SIGNATURES:
        try:
            arrays = rest_json.decode_inputs(document, signature)
        except ServingError:
            continue
        assert all(array.dtype == signature.inputs[a].dtype for a, array in arrays.items())


def rest_examples(data: bytes) -> None:
    """As the model would be asked."""
    example_array(decode_examples(rest_json.parse_body(data)), limit_bytes=LIMIT)


def examples(data: bytes) -> None:
    """As the model would be asked."""
    example_array(Input.FromString(data), limit_bytes=LIMIT)


def table_file(data: bytes) -> None:
    """As it comes."""
    read_table(data)


def table_blocks(data: bytes) -> None:
    """A block of these bytes, where data lie and where the index lies."""
    piece = data + b"\0" + masked_crc32c(data + b"\0").to_bytes(4, "little")
    index = block([(b"z", varint(0) + varint(len(data)))])
    for file, place in (
        (piece + index, (len(piece), len(index) - 5)),
        (piece, (0, len(data))),
    ):
        footer = b"".join(map(varint, (*place, *place))).ljust(FOOTER_BYTES - 8, b"\0")
        try:
            read_table(file + footer + MAGIC.to_bytes(8, "little"))
        except SealServeError:
            continue


def bundle_entry(data: bytes) -> None:
    """An entry of these bytes, and a header."""
    sound = BundleHeaderProto(num_shards=1).SerializeToString()
    for entries in ([(b"", sound), (b"w", data)], [(b"", data), (b"w", b"")]):
        files = HeldFiles({"variables/variables.data-00000-of-00001": bytes(64)})
        try:
            Bundle(table(entries), files.read).value("w")
        except SealServeError:
            continue


def saved_model(data: bytes) -> None:
    """Each signature cut out of the graph, with values for its variables and without."""
    files = {**bundle(seeds.VALUES), FILE_NAME: data}
    meta_graph = parse_saved_model(data, ["serve"])
    for held in (files, {FILE_NAME: data}):
        variables = stored_in(HeldFiles(held), meta_graph)
        for name, definition in meta_graph.signatures.items():
            try:
                part = cut(meta_graph.graph, parse_signature(name, definition), variables)
                part.computation()
                b"".join(part.pieces())
            except SealServeError:
                continue


def onnx_model(data: bytes) -> None:
    """Beside a file with numbers; what is accepted names no file any more."""
    files = HeldFiles({ONNX_NAME: data, seeds.ONNX_DATA: bytes(64)})
    whole = read_onnx(files)
    assert read_onnx(HeldFiles({ONNX_NAME: whole.data})).outputs == whole.outputs


def listing(data: bytes) -> None:
    """Names, one a line."""
    found = found_in(data.decode("utf-8", "surrogateescape").split("\n"))
    assert found.name


def record_file(data: bytes) -> None:
    """As it comes; what is accepted is written as it was."""
    assert seeds.framed(*read_records(data)) == data


class _Executable:
    """Takes a signature's inputs, and computes nothing."""

    def __init__(self, data_type: int, alias: str) -> None:
        made = seeds.signature(data_type, None)
        spec = {alias: made.inputs["x"]}
        self.signature = type(made)(made.name, spec, made.outputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        assert inputs
        return {}


_EXECUTABLES = {
    "serving_default": _Executable(tensor_pb2.DT_FLOAT, "x"),
    "examples": _Executable(tensor_pb2.DT_STRING, "inputs"),
}


def warm_up(data: bytes) -> None:
    """A record of these bytes."""
    files = HeldFiles({WARM_UP_NAME: seeds.framed(data)})
    WarmUp(limit_bytes=LIMIT).run(files, _EXECUTABLES)


def text_config(data: bytes) -> None:
    """As each of the files."""
    for parse in (
        textconfig.parse_tls,
        textconfig.parse_models,
        textconfig.parse_batching,
        textconfig.parse_monitoring,
    ):
        try:
            parse(data, "the file")
        except SealServeError:
            continue


def reload_request(data: bytes) -> None:
    """The models that a client would have served."""
    config = ReloadConfigRequest.FromString(data).config
    textconfig.models_in(config.model_config_list, "model_config_list")


def traceparent(data: bytes) -> None:
    """The trace that a caller says it is in, as the server has it read."""
    TraceContextTextMapPropagator().extract({"traceparent": data.decode("latin-1")}, Context())


def _laid_over(sound: bytes, data: bytes) -> bytes:
    """`sound` with some of its bytes changed: pairs of a place and what is added there."""
    changed = bytearray(sound)
    for at, value in zip(data[::2], data[1::2], strict=False):
        changed[at % len(changed)] ^= value
    return bytes(changed)


def _agree(one: Callable[[], Any], other: Callable[[], Any]) -> None:
    """Both give the same, or refuse."""
    assert _outcome_alike(_outcome(one), _outcome(other))


def _outcome(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except (InvalidArgument, DecodeError) as error:
        return type(error), str(error)


def _outcome_alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return _same(one, other)
    return bool(one == other) if isinstance(one, tuple) and isinstance(other, tuple) else False


def _same(one: Array, other: Array) -> bool:
    alike = one.dtype == other.dtype and one.shape == other.shape
    if one.dtype.hasobject:
        return alike and one.tolist() == other.tolist()
    return alike and one.tobytes() == other.tobytes()
