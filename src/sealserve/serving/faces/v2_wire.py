"""ModelInferRequest and ModelInferResponse without a copy of what is in binary form.

Protobuf copies `raw_input_contents` when it parses a message and again when Python asks for them,
and `raw_output_contents` likewise. Here they stay where they came: a walk over the message's fields
takes them out, and with them the id, which is another one in every request. What is around these
holes is the same in all requests of one form. What is unusual or broken is protobuf's to understand
or to refuse (see `sealserve.messages.wire`).

Format: protobuf.dev/programming-guides/encoding; open_inference_grpc.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealserve.messages.open_inference_pb2 import ModelInferRequest
from sealserve.messages.stencil import Stencil
from sealserve.messages.wire import LEN, Unusual, fields, number
from sealserve.serving.faces.v2_tensors import Data

_ID = 3 << 3 | LEN  # of both messages
_RAW_INPUT = 7 << 3 | LEN
_RAW_OUTPUT = 6 << 3 | LEN


@dataclass(frozen=True)
class Parts:
    """A request: the message that is left without the id and what is in binary form."""

    rest: bytes
    id: str
    raw: Sequence[Data]
    holes: Sequence[slice] = ()  # where in the request the id is, if it has one, and then `raw`


class Form:
    """What requests of one length have in common that differ in their holes alone."""

    def __init__(self, data: bytes, parts: Parts) -> None:
        """`parts` are those of `data`, with their holes."""
        self._id = parts.holes[0] if len(parts.holes) > len(parts.raw) else None
        self._raw = parts.holes[len(parts.holes) - len(parts.raw) :]
        self.stencil = Stencil(data, parts.holes)

    def id(self, data: bytes) -> str:
        """The id of a request of this form; UnicodeDecodeError if it is none."""
        return data[self._id].decode() if self._id else ""

    def raw(self, data: bytes) -> list[memoryview]:
        """What of a request of this form is in binary form."""
        whole = memoryview(data)
        return [whole[hole] for hole in self._raw]


def split_request(data: bytes) -> Parts:
    """The parts of these bytes; protobuf's DecodeError if they are no request."""
    try:
        return _walked(data)
    except (Unusual, UnicodeDecodeError):
        message = ModelInferRequest.FromString(data)
    request_id, raw = message.id, list(message.raw_input_contents)
    message.ClearField("id")
    message.ClearField("raw_input_contents")
    return Parts(message.SerializeToString(), request_id, raw)


def join_response(rest: bytes, request_id: str, raw: Sequence[Data]) -> bytes:
    """The bytes of an answer: a message, and behind it the id and what is in binary form."""
    parts: list[Data] = [rest]
    if request_id:
        parts += _field(_ID, request_id.encode())
    for content in raw:
        parts += _field(_RAW_OUTPUT, content)
    return b"".join(parts)


def _walked(data: bytes) -> Parts:
    whole = memoryview(data)
    rest: list[memoryview] = []
    ids: list[slice] = []
    raw: list[slice] = []
    for tag, begin, start, stop in fields(data, 0, len(data)):
        if tag == _RAW_INPUT:
            raw.append(slice(start, stop))
        elif tag == _ID:
            ids.append(slice(start, stop))
        else:
            rest.append(whole[begin:stop])
    if len(ids) > 1:
        raise Unusual
    request_id = data[ids[0]].decode() if ids else ""
    return Parts(b"".join(rest), request_id, [whole[hole] for hole in raw], [*ids, *raw])


def _field(tag: int, value: Data) -> tuple[bytes, bytes, Data]:
    return number(tag), number(len(value)), value
