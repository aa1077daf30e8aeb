"""The engine's door: the little that the data plane asks of whatever computes.

An engine turns a graph and one signature into an executable; an executable turns arrays into
arrays. Neither knows models, versions, wires or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sealserve.messages.graph_pb2 import GraphDef
from sealserve.serving.signature import Array, Signature


class Executable(Protocol):
    """One signature of one loaded graph."""

    @property
    def signature(self) -> Signature:
        """What it takes and gives; shapes may be more precise than those it was loaded with."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by alias, in fresh memory, for inputs that `signature.complete` has passed.

        Blocks the calling thread and lets others run meanwhile; may be called from several threads
        at once. Raises InvalidArgument for shapes that the graph cannot take.
        """


class Engine(Protocol):
    """What loads graphs."""

    @property
    def name(self) -> str:
        """Its name and version, for the log."""

    @property
    def concurrency(self) -> int:
        """How many runs at the same time make sense."""

    def load(self, graph: GraphDef, signature: Signature) -> Executable:
        """Compile what `signature` needs of `graph`, which is left unchanged.

        Blocks. Raises FailedPrecondition or Unimplemented where the engine cannot run it.
        """
