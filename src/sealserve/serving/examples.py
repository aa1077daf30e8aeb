"""Examples: what Classify, Regress and MultiInference are asked about.

A model reads examples as serialized `tf.Example`s, a vector of strings. The features of a context
are every example's: two messages, one behind the other, are read as one that has the fields of both
(protobuf, Encoding, "Last One Wins"), so the context's bytes go before those of each example.

Source: TensorFlow Serving 2.21, apis/input.proto; servables/tensorflow/util.cc
(InputToSerializedExampleTensor).
"""

from __future__ import annotations

import numpy as np

from sealserve.errors import InvalidArgument
from sealserve.messages.inference_pb2 import Input
from sealserve.messages.tensors import POINTER_BYTES
from sealserve.serving.signature import Array


def example_array(examples: Input, *, limit_bytes: int) -> Array:
    """The serialized examples: object [n] of bytes, n > 0.

    InvalidArgument if there are none, or if they are larger than `limit_bytes` together with what
    holds them: a context is repeated as often as the sender likes.
    """
    kind = examples.WhichOneof("kind")
    context = b""
    if kind == "example_list_with_context":
        context = examples.example_list_with_context.context.SerializeToString()
        messages = examples.example_list_with_context.examples
    else:
        messages = examples.example_list.examples
    if not messages:
        raise InvalidArgument("Input is empty.")
    size = len(messages) * (len(context) + POINTER_BYTES) + sum(m.ByteSize() for m in messages)
    if size > limit_bytes:
        raise InvalidArgument(f"the examples take {size} bytes; the limit is {limit_bytes}")
    array = np.empty(len(messages), object)
    array[:] = [context + message.SerializeToString() for message in messages]
    return array
