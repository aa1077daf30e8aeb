"""An engine of a few lines that knows strings, where TensorFlow would be a large package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sealserve.errors import InvalidArgument
from sealserve.messages.inference_pb2 import Example
from sealserve.messages.metadata_pb2 import SignatureDefMap
from sealserve.serving.engine import Loaded, VersionFiles
from sealserve.serving.formats.saved_model import FILE_NAME, parse_saved_model
from sealserve.serving.signature import Array, Signature, parse_signature


class LengthEngine:
    """Scores an example by its feature `n`; labels it `odd` and `even`."""

    name = "lengths"
    concurrency = 1

    def load(self, files: VersionFiles, tags: Sequence[str]) -> Loaded:
        meta_graph = parse_saved_model(files.read(FILE_NAME), tags)
        signatures = meta_graph.signatures
        return Loaded(
            SignatureDefMap(signature_def=signatures),
            {name: LengthExecutable(parse_signature(name, d)) for name, d in signatures.items()},
        )


@dataclass(eq=False)
class LengthExecutable:
    signature: Signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        (array,) = inputs.values()
        n = [_number(example) for example in array]
        known = {
            "classes": np.array([[b"odd", b"even"]] * len(n), object),
            "scores": np.float32([[x % 2, 1 - x % 2] for x in n]),
            "outputs": np.float32(n).reshape(-1, 1),
        }
        return {alias: known[alias] for alias in self.signature.outputs if alias in known}


def _number(serialized: bytes) -> int:
    values = Example.FromString(serialized).features.feature["n"].int64_list.value
    if len(values) != 1:
        raise InvalidArgument("the model cannot compute with these examples")
    return int(values[0])
