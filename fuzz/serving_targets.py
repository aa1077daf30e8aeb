"""What of the model server is fuzzed: requests of strangers, and files that the host hands over."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import DecodeError

from fuzz import hostile, serving
from fuzz import serving_seeds as seeds
from fuzz.serving_hostile import blocks, graphs, records, requests, texts
from fuzz.target import Target
from sealserve.errors import ConfigError, FormatError, SealServeError, ServingError

_REFUSED = (ServingError, DecodeError)
_BODY = 64 << 10  # bytes that are converted in the event loop; larger bodies in a thread
_JSON_WORDS = tuple(
    f'"{word}"'.encode()
    for word in (
        *("instances", "inputs", "outputs", "signature_name", "b64", "x", "name", "datatype"),
        *("shape", "data", "parameters", "binary_data_size", "binary_data", "id", "FP32", "BYTES"),
        *("INT8", "BOOL", "examples", "context", "\\ud800"),
    )
)
_GRAPH_WORDS = (b"VarHandleOp", b"StatefulPartitionedCall", b"ReadVariableOp", b"Identity", b"If")
_CONFIG_WORDS = (b"model_config_list", b"config", b"{", b"}", b"value", b"[type.googleapis.com/a]")

SERVING: Mapping[str, Target] = {
    "predict-request": Target(serving.predict_request, _REFUSED, seeds.predict_requests, requests),
    "predict-refusal": Target(serving.not_a_predict_request, (), seeds.predict_requests, requests),
    "predict-response": Target(serving.predict_response, _REFUSED, seeds.predict_responses),
    "predict-form": Target(serving.predict_form, (), lambda: [b"", b"\x40\x01"], longest=64),
    "infer-request": Target(serving.infer_request, (DecodeError,), seeds.infer_requests),
    "infer-form": Target(
        serving.infer_form, (ServingError,), lambda: [b"", b"\x40\x01"], longest=64
    ),
    "infer-body": Target(
        serving.infer_body,
        *((), seeds.infer_bodies),
        lambda: hostile.json(_BODY, b'{"inputs":', b"}"),
        _JSON_WORDS,
    ),
    "rest-body": Target(
        serving.rest_body,
        *(_REFUSED, seeds.rest_bodies),
        lambda: hostile.json(_BODY, b'{"instances":', b"}"),
        _JSON_WORDS,
    ),
    "rest-examples": Target(
        serving.rest_examples,
        *(_REFUSED, seeds.rest_examples),
        lambda: hostile.json(_BODY, b'{"examples":', b"}"),
        _JSON_WORDS,
    ),
    "examples": Target(serving.examples, _REFUSED, seeds.inputs_of_examples),
    "reload-request": Target(
        serving.reload_request, (DecodeError, ConfigError), seeds.reload_requests
    ),
    "traceparent": Target(
        serving.traceparent,
        (),
        seeds.traceparents,
        lambda: {"long": b"0" * (64 << 10)},
        longest=200,
    ),
    "table": Target(serving.table_file, (FormatError,), seeds.tables, blocks),
    "table-blocks": Target(serving.table_blocks, (), seeds.bundle_entries),
    "bundle-entry": Target(serving.bundle_entry, (), seeds.bundle_entries),
    "saved-model": Target(
        serving.saved_model, (SealServeError,), seeds.saved_models, graphs, _GRAPH_WORDS
    ),
    "onnx": Target(serving.onnx_model, (SealServeError,), seeds.onnx_models),
    "listing": Target(serving.listing, (SealServeError,), seeds.listings),
    "tfrecord": Target(serving.record_file, (FormatError,), seeds.record_files, records),
    "warm-up": Target(serving.warm_up, (SealServeError,), seeds.prediction_logs),
    # Its author's own files, read at the start: the time may grow with the length, and no faster.
    "text-config": Target(
        serving.text_config,
        *((), seeds.text_configs, texts, _CONFIG_WORDS),
        seconds=2.0,
    ),
}
