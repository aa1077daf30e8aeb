"""PredictRequests that differ from one seen before in their numbers alone.

A client sends the same model, aliases, dtypes and shapes again and again; between two of its
requests only the bytes inside of `tensor_content` differ. Whatever those are, the fields around
them mean the same: so a request that has the length of one that was parsed, and its bytes
everywhere else, needs no parsing. Its arrays are views of it, and their checks were done.

What is remembered is bounded in number and size: lengths and shapes are the peer's to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from sealserve.errors import InvalidArgument
from sealserve.messages.stencil import Stencil
from sealserve.messages.tensors import is_plain
from sealserve.messages.wire import Array, Request, Spec, decode_predict_request

MAX_FORMS = 64
MAX_FORM_BYTES = 4096  # outside of the numbers


class Received(NamedTuple):
    """A request whose arrays are not read yet: `inputs` does, and raises InvalidArgument."""

    spec: Spec
    output_filter: tuple[str, ...]
    aliases: Iterable[str]
    inputs: Callable[[], dict[str, Array]]


class Forms:
    """Reads requests, and remembers the forms of the last ones, one for each length."""

    def __init__(self, *, limit_bytes: int) -> None:
        """`limit_bytes` bounds each tensor, which a few bytes can claim to be of any size."""
        self._limit = limit_bytes
        self._known: dict[int, _Form] = {}

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)

    def read(self, data: bytes) -> Received:
        """The request of these bytes; protobuf's DecodeError if they are none."""
        form = self._known.get(len(data))
        if form is not None and form.stencil.fits(data):
            return Received(form.spec, form.output_filter, form.aliases, partial(form.arrays, data))
        request = decode_predict_request(data)
        return Received(
            request.spec,
            request.output_filter,
            request.inputs.protos,
            partial(self._arrays, request),
        )

    def _arrays(self, request: Request) -> dict[str, Array]:
        arrays = {alias: self._array(alias, request) for alias in request.inputs.protos}
        places = request.inputs.places
        if places.keys() == arrays.keys() and all(
            is_plain(proto.dtype) for proto in request.inputs.protos.values()
        ):
            self._remember(_Form(request, arrays))
        return arrays

    def _array(self, alias: str, request: Request) -> Array:
        try:
            return request.inputs.array(alias, limit_bytes=self._limit)
        except InvalidArgument as error:
            raise InvalidArgument(f"input {alias!r}: {error.message}") from error

    def _remember(self, form: _Form) -> None:
        if form.stencil.size > MAX_FORM_BYTES:
            return
        self._known.pop(form.length, None)
        while len(self._known) >= MAX_FORMS:
            del self._known[next(iter(self._known))]
        self._known[form.length] = form


class _Form:
    """What requests that differ in their numbers alone have in common."""

    def __init__(self, request: Request, arrays: Mapping[str, Array]) -> None:
        """`arrays` are all inputs of the request: plain, and in `tensor_content`."""
        data, places = request.inputs.data, request.inputs.places
        self.spec = request.spec
        self.output_filter = request.output_filter
        self.aliases = tuple(arrays)
        self.length = len(data)
        self._views = tuple(
            (alias, array.shape, array.dtype, places[alias].start)
            for alias, array in arrays.items()
        )
        self.stencil = Stencil(data, places.values())

    def arrays(self, data: bytes) -> dict[str, Array]:
        """The inputs of a request that has this form: read-only views of it."""
        return {
            alias: np.ndarray(shape, dtype, data, offset)
            for alias, shape, dtype, offset in self._views
        }
