"""Who watches one process of the server: metrics always, the log and traces if asked for."""

from __future__ import annotations

from sealserve.serving.access_log import AccessLog
from sealserve.serving.calls import Observer, Watch
from sealserve.serving.flags import Flags
from sealserve.serving.metrics import Metrics


class Observing:
    """The observers of one process. `worker` is which of several it is, None: the only one."""

    def __init__(
        self, flags: Flags, metrics: Metrics | None = None, worker: int | None = None
    ) -> None:
        self.metrics = metrics or Metrics(runtime=flags.engine)
        observers: list[Observer] = [self.metrics.observe]
        if flags.access_log:
            observers.append(AccessLog(worker).observe)
        self.watch = Watch(observers, begun=self.metrics.begun, origins=len(observers) > 1)
