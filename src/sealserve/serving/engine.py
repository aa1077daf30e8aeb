"""The engine's door: the little that the data plane asks of whatever computes.

An engine turns the files of one version into executables, one per signature; an executable turns
arrays into arrays. Neither knows models, versions, wires or disks: files come as plaintext in
memory, and go nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sealserve.errors import InvalidArgument, Unimplemented
from sealserve.messages.metadata_pb2 import SignatureDefMap
from sealserve.serving.signature import Array, Signature, shape_text

SAVED_MODEL = "tensorflow_savedmodel"  # a platform in the Open Inference Protocol's sense


class Precision(StrEnum):
    """What an engine computes in. Another one than float32 changes answers, so it is asked for."""

    F32 = "f32"
    BF16 = "bf16"
    F16 = "f16"
    AUTO = "auto"  # whatever the processor is fastest with


class Executable(Protocol):
    """One signature of one loaded version."""

    @property
    def signature(self) -> Signature:
        """What it takes and gives; shapes may be more precise than those it was loaded with."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by alias, in fresh memory, for inputs that `signature.complete` has passed.

        Inputs may be views of a request's bytes: read-only, and not aligned.
        Blocks the calling thread and lets others run meanwhile; may be called from several threads
        at once. Raises InvalidArgument for shapes that the graph cannot take.
        """


def cannot_compute(inputs: Mapping[str, Array]) -> InvalidArgument:
    """The refusal of inputs whose shapes or values a graph does not take: it tells their shapes."""
    shapes = ", ".join(f"{a!r} {shape_text(x.shape)}" for a, x in sorted(inputs.items()))
    return InvalidArgument(f"the model cannot compute with inputs {shapes}")


class VersionFiles(Protocol):
    """The files of one version: `sealserve.serving.opening.version_files`."""

    @property
    def names(self) -> Sequence[str]:
        """Their names below the version's folder, with `/`, in order."""

    def path(self, name: str) -> str:
        """What errors call a file."""

    def read(self, name: str) -> bytearray:
        """Its plaintext; raises what the vault does."""


@dataclass(frozen=True)
class Loaded:
    """A version, ready to run: its signatures as exported, and what runs them or why not.

    `platform` is what its format is called in the Open Inference Protocol.
    """

    definitions: SignatureDefMap
    executables: Mapping[str, Executable | Unimplemented]
    platform: str = SAVED_MODEL


class Engine(Protocol):
    """What loads versions."""

    @property
    def name(self) -> str:
        """Its name and version, for the log."""

    @property
    def concurrency(self) -> int:
        """How many runs at the same time make sense."""

    def load(self, files: VersionFiles, tags: Sequence[str]) -> Loaded:
        """Compile every signature. Blocks.

        A signature that the engine cannot run is an Unimplemented among the executables. Raises
        FormatError for files that are not what they should be, FailedPrecondition where there is
        nothing to serve, Unimplemented for a format that the engine does not read.
        """
