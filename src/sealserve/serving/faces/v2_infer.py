"""ModelInfer's messages and what they mean: a request's query and tensors, an answer's bytes.

A client sends the same model, tensors, datatypes and shapes again and again, and only the id and
the numbers differ. Where those are in binary form, what is around them is understood once and
remembered, one form for each length; so is the beginning of an answer. Both are bounded in number
and size: they are the peer's to choose.

Source: Open Inference Protocol, inference_grpc.md, ModelInfer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sealserve.errors import InvalidArgument
from sealserve.messages.open_inference_pb2 import (
    InferParameter,
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
)
from sealserve.serving.dataplane import ModelQuery, Prediction
from sealserve.serving.faces import v2_parameters
from sealserve.serving.faces.v2_contents import fill_contents, from_contents, has_field
from sealserve.serving.faces.v2_models import model_query
from sealserve.serving.faces.v2_tensors import (
    Data,
    checked_shape,
    datatype_of,
    from_binary,
    require_datatype,
    to_binary,
)
from sealserve.serving.faces.v2_wire import Form, join_response, split_request
from sealserve.serving.signature import Array, Signature

REMEMBERED = 64  # requests and answers without their numbers
REMEMBERED_BYTES = 1024  # of one such request

_Outputs = tuple[tuple[str, str, tuple[int, ...]], ...]  # name, datatype, shape


@dataclass(frozen=True)
class InputTensor:
    """What a request says of an input; `contents` are None where there are none."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: InferTensorContents | None


@dataclass(eq=False)
class Description:
    """A request without its id and what is in binary form."""

    query: ModelQuery
    outputs: tuple[str, ...]
    inputs: tuple[InputTensor, ...]
    fits: Signature | None = None  # the one that the inputs were last found to fit

    def require(self, signature: Signature, raw: Sequence[Data]) -> None:
        """InvalidArgument unless these are the inputs of the signature, each in one form."""
        names = [tensor.name for tensor in self.inputs]
        if len(set(names)) < len(names):
            raise InvalidArgument("an input is given twice")
        signature.require_names(names)
        if raw and len(raw) != len(names):
            raise InvalidArgument(
                f"raw_input_contents has {len(raw)} entries; the request has {len(names)} inputs"
            )
        for tensor in self.inputs:
            spec = signature.inputs[tensor.name]
            require_datatype(spec, tensor.datatype)
            checked_shape(spec, tensor.shape)
            if raw and tensor.contents is not None:
                raise InvalidArgument(
                    f"input {tensor.name!r} has both contents and raw_input_contents"
                )
        self.fits = signature


@dataclass(frozen=True)
class Request:
    """A request. `raw` is empty where its inputs have typed contents."""

    description: Description
    id: str
    raw: Sequence[Data]

    def arrays(self, signature: Signature) -> dict[str, Array]:
        """Its inputs by name; InvalidArgument for what is wrong with them."""
        described = self.description
        if described.fits is not signature:
            described.require(signature, self.raw)
        if not self.raw:
            return {
                tensor.name: from_contents(
                    tensor.contents or InferTensorContents(),
                    signature.inputs[tensor.name],
                    tensor.shape,
                )
                for tensor in described.inputs
            }
        return {
            tensor.name: from_binary(data, signature.inputs[tensor.name], tensor.shape)
            for tensor, data in zip(described.inputs, self.raw, strict=True)
        }


class Requests:
    """Reads requests, and remembers the forms of the last ones."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Form, Description]] = {}

    def __len__(self) -> int:
        """How many forms are remembered."""
        return len(self._known)

    def read(self, data: bytes) -> Request:
        """The request of these bytes.

        Raises DecodeError if they are none, InvalidArgument for a version or a parameter,
        Unimplemented for a parameter that asks for what there is not here.
        """
        known = self._known.get(len(data))
        if known is not None and known[0].stencil.fits(data):
            form, description = known
            with suppress(UnicodeDecodeError):
                return Request(description, form.id(data), form.raw(data))
        parts = split_request(data)
        request = Request(_described(parts.rest), parts.id, parts.raw)
        if parts.raw and parts.holes and len(parts.rest) <= REMEMBERED_BYTES:
            self._remember(len(data), Form(data, parts), request.description)
        return request

    def _remember(self, length: int, form: Form, description: Description) -> None:
        self._known.pop(length, None)
        while len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[length] = form, description


def encode_response(prediction: Prediction, request: Request) -> bytes:
    """The bytes of an answer, in the form of the request, but binary where an output must be."""
    arrays = prediction.outputs
    outputs = tuple((name, datatype_of(a.dtype), a.shape) for name, a in arrays.items())
    typed = not request.raw and any(t.contents is not None for t in request.description.inputs)
    if typed and all(has_field(array.dtype) for array in arrays.values()):
        response = _response(prediction.name, prediction.version, outputs)
        for tensor, array in zip(response.outputs, arrays.values(), strict=True):
            fill_contents(tensor.contents, array)
        return join_response(response.SerializeToString(), request.id, ())
    beginning = _beginning(prediction.name, prediction.version, outputs)
    return join_response(beginning, request.id, [to_binary(a) for a in arrays.values()])


def _described(rest: bytes) -> Description:
    request = ModelInferRequest.FromString(rest)
    v2_parameters.require_served(request.parameters)
    for tensor in request.inputs:
        v2_parameters.require_served(tensor.parameters)
    for output in request.outputs:
        v2_parameters.require_served(output.parameters)
    signature = v2_parameters.text(_values(request.parameters), v2_parameters.SIGNATURE_NAME)
    return Description(
        query=model_query(request.model_name, request.model_version, signature),
        outputs=tuple(output.name for output in request.outputs),
        inputs=tuple(
            InputTensor(
                tensor.name,
                tensor.datatype,
                tuple(tensor.shape),
                tensor.contents if tensor.HasField("contents") else None,
            )
            for tensor in request.inputs
        ),
    )


def _values(parameters: Mapping[str, InferParameter]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        found[name] = getattr(parameter, choice) if choice else None
    return found


def _response(name: str, version: int, outputs: _Outputs) -> ModelInferResponse:
    response = ModelInferResponse(model_name=name, model_version=str(version))
    for output, datatype, shape in outputs:
        response.outputs.add(name=output, datatype=datatype, shape=shape)
    return response


@lru_cache(REMEMBERED)
def _beginning(name: str, version: int, outputs: _Outputs) -> bytes:
    return _response(name, version, outputs).SerializeToString()
