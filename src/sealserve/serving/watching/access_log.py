"""A line in the log for every request: who asked for what, how it went, where the time went.

    event=request id=5f0c… peer=192.0.2.1:4711 api=Predict entrypoint=GRPC model=digits version=1
    signature=serving_default status=OK rows=1 received=3271 sent=120 seconds=0.0031 queue=0.0002
    engine=0.0021

Never what it holds, nor what its headers say; of a model or a version that there is not, nothing.
The trace that a caller says it is in is left to `tracing`.
"""

from __future__ import annotations

import logging
import secrets

from sealserve.logline import line
from sealserve.serving.calls import Call
from sealserve.serving.watching.peers import plain_peer

log = logging.getLogger(__name__)

_ID_BYTES = 8
_MICROSECOND = 6  # digits


class AccessLog:
    """Writes the lines; `worker` is which of several processes this is."""

    def __init__(self, worker: int | None = None) -> None:
        self._worker = worker

    def observe(self, call: Call) -> None:
        """A call has ended."""
        computed = call.engine_seconds > 0
        log.info(
            line(
                "request",
                id=secrets.token_hex(_ID_BYTES),
                peer=plain_peer(call.peer) or None,
                api=call.api,
                entrypoint=call.entrypoint,
                model=call.model or None,
                version=call.version,
                signature=call.signature or None,
                status=call.status,
                rows=call.rows if computed else None,
                received=call.received,
                sent=call.sent,
                seconds=round(call.seconds, _MICROSECOND),
                queue=round(call.queue_seconds, _MICROSECOND) if computed else None,
                engine=round(call.engine_seconds, _MICROSECOND) if computed else None,
                worker=self._worker,
            )
        )
