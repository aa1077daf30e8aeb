"""What both faces of the Open Inference Protocol tell of the server and its models.

Metadata is of the default signature: the protocol knows but one. Source: Open Inference Protocol,
inference_rest.md, Server Metadata, Model Metadata, Platforms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sealserve import __version__
from sealserve.errors import FailedPrecondition, InvalidArgument, NotFound
from sealserve.serving.calls import Call
from sealserve.serving.dataplane import DataPlane, ModelQuery
from sealserve.serving.faces.v2_tensors import datatype_of, wire_shape
from sealserve.serving.life.versions import AVAILABLE
from sealserve.serving.signature import DEFAULT_SIGNATURE, TensorSpec, parse_signature

SERVER_NAME = "sealserve"
SERVER_VERSION = __version__
EXTENSIONS = ("binary_tensor_data",)
ENGINE = "engine"  # a property of a model

_VERSION = re.compile(r"[0-9]{1,19}")
_SHOWN = 40  # characters of a version that is no number


@dataclass(frozen=True)
class TensorMetadata:
    """An input or output; sizes that are free are -1."""

    name: str
    datatype: str
    shape: list[int]


@dataclass(frozen=True)
class ModelMetadata:
    """A model; `versions` are those that can be asked for, in order."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


def model_query(name: str, version: str, signature: str = "") -> ModelQuery:
    """The query for a model; an empty version is the default."""
    if version and not _VERSION.fullmatch(version):
        raise InvalidArgument(f"the version {version[:_SHOWN]!r} is not a number")
    return ModelQuery(name, version=int(version) if version else None, signature=signature)


def is_model_ready(plane: DataPlane, query: ModelQuery) -> bool:
    """Whether the version, or any if none is named, can be asked; NotFound for an unknown one."""
    return any(record.state == AVAILABLE for record in plane.status(query).values())


def model_metadata(plane: DataPlane, query: ModelQuery, call: Call) -> ModelMetadata:
    """The metadata of a model; the call learns whose.

    Raises NotFound, FailedPrecondition (no default signature), Unimplemented for a tensor that the
    protocol has no datatype for.
    """
    version, definitions = plane.metadata(query)
    call.model, call.version = query.name, version
    if DEFAULT_SIGNATURE not in definitions.signature_def:
        raise FailedPrecondition(f'Serving signature key "{DEFAULT_SIGNATURE}" not found.')
    definition = definitions.signature_def[DEFAULT_SIGNATURE]
    signature = parse_signature(DEFAULT_SIGNATURE, definition)
    return ModelMetadata(
        name=query.name,
        versions=_available(plane, query.name),
        platform=plane.platform(query),
        inputs=_tensors(signature.inputs.values()),
        outputs=_tensors(signature.outputs.values()),
    )


def _available(plane: DataPlane, name: str) -> list[str]:
    try:
        records = plane.status(ModelQuery(name))
    except NotFound:
        return []
    return [str(v) for v, record in sorted(records.items()) if record.state == AVAILABLE]


def _tensors(specs: Iterable[TensorSpec]) -> list[TensorMetadata]:
    return [
        TensorMetadata(spec.alias, datatype_of(spec.dtype), wire_shape(spec.shape))
        for spec in specs
    ]
