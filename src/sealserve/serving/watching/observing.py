"""Who watches one process of the server: metrics always, the log and traces if asked for."""

from __future__ import annotations

from sealserve.serving.calls import Observe, Watch
from sealserve.serving.flags import Flags
from sealserve.serving.watching.access_log import AccessLog
from sealserve.serving.watching.metrics import Metrics
from sealserve.serving.watching.tracing import Tracer


class Observing:
    """The observers of one process; made after any fork, for a tracer starts a thread."""

    def __init__(
        self,
        flags: Flags,
        *,
        trace_ca: bytes | None = None,
        metrics: Metrics | None = None,
        worker: int | None = None,
    ) -> None:
        """`metrics` and `worker`, which of them this is, are for several processes."""
        self.metrics = metrics or Metrics(runtime=flags.engine)
        self._tracer: Tracer | None = None
        observers: list[Observe] = [self.metrics.observe]
        if flags.access_log:
            observers.append(AccessLog(worker).observe)
        if flags.trace_endpoint:
            self._tracer = Tracer(
                flags.trace_endpoint,
                trace_ca,
                engine=flags.engine,
                dropped=self.metrics.span_dropped,
            )
            observers.append(self._tracer.observe)
        self.watch = Watch(observers, begun=self.metrics.begun, origins=len(observers) > 1)

    async def close(self) -> None:
        """Tell what is left to be told, within a deadline."""
        if self._tracer is not None:
            await self._tracer.close()
