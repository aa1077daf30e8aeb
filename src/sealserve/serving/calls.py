"""One request as those see it who watch: what was asked, how it went, where its time went.

A face begins a call and ends it; the data plane fills in what it learns on the way. At the end
every observer is told, in the event loop: they must be quick, and must not fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

UNKNOWN_MODEL = ""  # what a request that names no model of ours is counted under


@dataclass(slots=True)
class Call:
    """Times are seconds of `time.perf_counter`; sizes are of messages or bodies, in bytes."""

    api: str  # TensorFlow Serving's: Predict, Classify, Regress, MultiInference, ...
    entrypoint: str  # GRPC or REST
    method: str = ""  # gRPC's: PACKAGE.SERVICE/METHOD; HTTP's: POST, GET
    peer: str = ""  # as the face spells it
    traceparent: str = ""  # W3C Trace Context, as it came; empty without
    received: int = 0  # bytes
    sent: int = 0  # bytes
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0  # from the whole request to the whole answer
    model: str = UNKNOWN_MODEL
    version: int | None = None
    signature: str = ""
    rows: int = 0  # examples: the first dimension of the inputs, where they share one
    batched: bool = False  # whether it ran together with others, or might have
    queue_seconds: float = 0.0  # until the engine began
    engine_seconds: float = 0.0
    http_status: int = 0  # where HTTP was spoken
    status: str = "INTERNAL"  # a gRPC status name, once it has ended


Observe = Callable[[Call], None]


class Watch:
    """Who is told of calls that begin, and of those that have ended.

    `origins`: whether anybody asks who called, and in which trace. To read that costs, so faces
    look before they do.
    """

    def __init__(
        self,
        observers: Sequence[Observe] = (),
        *,
        begun: Observe | None = None,
        origins: bool = False,
    ) -> None:
        self._observers = tuple(observers)
        self._begun = begun
        self.origins = origins

    def begin(self, call: Call) -> Call:
        """A request has come; every call that begins has to end."""
        if self._begun is not None:
            self._begun(call)
        return call

    def end(self, call: Call, status: str) -> None:
        """The call is over, with this gRPC status name."""
        call.status = status
        call.seconds = time.perf_counter() - call.began
        for observe in self._observers:
            observe(call)
