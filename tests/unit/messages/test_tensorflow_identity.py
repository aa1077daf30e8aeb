"""Every message, field by field, beside the one of an installed TensorFlow Serving API."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

THEIRS = [
    "tensorflow.core.example.example_pb2",
    "tensorflow.core.framework.graph_pb2",
    "tensorflow.core.protobuf.error_codes_pb2",
    "tensorflow.core.protobuf.saved_model_pb2",
    "tensorflow_serving.apis.get_model_status_pb2",
    "tensorflow_serving.apis.model_management_pb2",
    "tensorflow_serving.apis.prediction_log_pb2",
    "tensorflow_serving.apis.get_model_metadata_pb2",
]

OURS = [
    f"sealserve.messages.{name}_pb2"
    for name in (
        "tensor", "graph", "saved_model", "predict", "inference",
        "metadata", "status", "config", "prediction_log",
    )
]  # fmt: skip

NOT_IN_THE_WHEEL = {"SSLConfig", "PrometheusConfig", "MonitoringConfig", "BatchingParameters"}

LEFT_OUT = {
    ("NodeDef", "experimental_type"),
    ("OpDef.ArgDef", "experimental_full_type"),
    ("GraphDef", "debug_info"),
    ("MetaGraphDef", "object_graph_def"),
    ("TensorInfo.CompositeTensor", "type_spec"),
    ("PredictionLog", "session_run_log"),
    ("FileSystemStoragePathSourceConfig", "servables"),
    ("FileSystemStoragePathSourceConfig", "file_system_poll_wait_seconds"),
    ("FileSystemStoragePathSourceConfig", "fail_if_zero_versions_at_startup"),
    ("FileSystemStoragePathSourceConfig", "servable_versions_always_present"),
}
LEFT_OUT_VALUES: dict[str, set[int]] = defaultdict(set, Code={20})  # reserved by its own name


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    pytest.importorskip("tensorflow", reason="tensorflow is not installed")
    pytest.importorskip("tensorflow_serving", reason="tensorflow-serving-api is not installed")
    for name in OURS:  # ours first: TensorFlow must load beside them
        importlib.import_module(name)
    found: dict[str, Any] = {}
    seen = set()
    files = [importlib.import_module(name).DESCRIPTOR for name in THEIRS]
    while files:
        file = files.pop()
        if file.name in seen:
            continue
        seen.add(file.name)
        files.extend(file.dependencies)
        for kind in messages(file):
            found[relative(kind)] = kind
        for enum in file.enum_types_by_name.values():
            found[relative(enum)] = enum
    return found


def relative(descriptor: Any) -> str:
    return str(descriptor.full_name).removeprefix(descriptor.file.package + ".")


def messages(file: Any) -> Iterator[Any]:
    pending = list(file.message_types_by_name.values())
    while pending:
        kind = pending.pop()
        pending.extend(kind.nested_types)
        yield kind


def values(enum: Any) -> dict[int, str]:
    return {v.number: v.name for v in enum.values if v.number not in LEFT_OUT_VALUES[enum.name]}


def facts(field: Any) -> tuple[Any, ...]:
    target = field.message_type or field.enum_type
    oneof = field.containing_oneof.name if field.containing_oneof else None
    named = relative(target) if target else None
    repeated = (field.is_repeated, field.is_packed)
    return (field.name, field.json_name, field.type, repeated, oneof, named)


@pytest.mark.parametrize("module", OURS)
def test_every_field_has_the_number_type_and_name_of_tensorflows(
    module: str, theirs: dict[str, Any]
) -> None:
    file = importlib.import_module(module).DESCRIPTOR
    for kind in messages(file):
        name = relative(kind)
        if name in NOT_IN_THE_WHEEL:
            continue
        stock = theirs[name]
        wanted = {n: facts(f) for n, f in stock.fields_by_number.items()}
        for number, field in stock.fields_by_number.items():
            if (name, field.name) in LEFT_OUT:
                del wanted[number]
        assert {n: facts(f) for n, f in kind.fields_by_number.items()} == wanted, name
        for enum in kind.enum_types:
            (same,) = [e for e in stock.enum_types if e.name == enum.name]
            assert values(enum) == values(same)
    for enum in file.enum_types_by_name.values():
        assert values(enum) == values(theirs[enum.name])
