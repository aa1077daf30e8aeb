"""A span for every request, sent to a collector of OpenTelemetry's; needs the extra `otel`.

A span is made when the request has ended: where it came from is the caller's `traceparent`, and a
caller that says its trace is not recorded is not recorded here. Spans wait in a queue with an end
and leave in a thread of their own. When the collector is slow or away they are dropped and counted;
no request ever waits.

The SDK would let the environment choose what is sent, to whom and by what code. An enclave's
environment is its host's, so every variable of OpenTelemetry's is taken away before the SDK is
imported, everything is said here, and `collector` sends the spans.

Sources: W3C Trace Context, 3.2 (traceparent); OpenTelemetry's semantic conventions 1.40, RPC and
HTTP server spans.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sealserve import __version__
from sealserve.errors import UsageError
from sealserve.logline import line
from sealserve.serving.calls import Call
from sealserve.serving.watching.collector import SEND_SECONDS, Sender, collector_url
from sealserve.serving.watching.peers import plain_peer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger(__name__)

QUEUE_SPANS = 2048
BATCH_SPANS = 512
DELAY_SECONDS = 2.0  # between batches that are not full
CLOSE_SECONDS = 5.0
_FAILED = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE"})


def require_packages() -> None:
    """Raise UsageError where the extra is not installed."""
    try:
        found = importlib.util.find_spec("opentelemetry.sdk.trace")
        found = found and importlib.util.find_spec("opentelemetry.exporter.otlp.proto.common")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise UsageError(
            "--trace_endpoint needs OpenTelemetry", hint="pip install 'sealserve[otel]'"
        )


class Tracer:
    """Makes spans of calls. One for each process, made after any fork: it starts a thread."""

    def __init__(
        self, endpoint: str, ca: bytes | None, *, engine: str, dropped: Callable[[], None]
    ) -> None:
        """`ca`: PEM, None for the public authorities. `dropped` is told of every span lost here."""
        require_packages()
        _forget_environment()
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider, sampling
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._sender = Sender(collector_url(endpoint), ca)
        self._dropped = dropped
        self._made = 0
        self._no_context = Context()
        self._extract = TraceContextTextMapPropagator().extract
        self._kind = trace.SpanKind.SERVER
        self._error = trace.Status(trace.StatusCode.ERROR)
        self._provider = TracerProvider(
            sampler=sampling.ParentBased(sampling.ALWAYS_ON),
            resource=Resource(
                {
                    "service.name": "sealserve",
                    "service.version": __version__,
                    "process.pid": os.getpid(),
                    "sealserve.engine": engine,
                }
            ),
            span_limits=SpanLimits(max_attributes=32, max_attribute_length=256),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _exporter(self._sender),
                max_queue_size=2 * QUEUE_SPANS,  # ours ends before that, and says so
                max_export_batch_size=BATCH_SPANS,
                schedule_delay_millis=DELAY_SECONDS * 1000,
                export_timeout_millis=SEND_SECONDS * 1000,
            )
        )
        self._tracer = self._provider.get_tracer("sealserve.serving", __version__)

    def observe(self, call: Call) -> None:
        """A call has ended."""
        if self._made - self._sender.done >= QUEUE_SPANS:
            self._dropped()
            return
        end = time.time_ns()
        span = self._tracer.start_span(
            f"{call.method} {call.api}".rstrip() if call.entrypoint == "REST" else call.method,
            context=self._parent(call.traceparent),
            kind=self._kind,
            attributes=_attributes(call),
            start_time=end - int(call.seconds * 1e9),
        )
        if not span.is_recording():
            return
        if call.http_status >= 500 or (not call.http_status and call.status in _FAILED):
            span.set_status(self._error)
        self._made += 1
        span.end(end)

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what waits, for so long; then give it up."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        self._sender.hurry(seconds)

        def end() -> None:
            self._provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(over.set)

        threading.Thread(target=end, name="last-spans", daemon=True).start()
        try:
            async with asyncio.timeout(seconds):
                await over.wait()
        except TimeoutError:
            log.warning(line("spans_lost", count=self._made - self._sender.done))

    def _parent(self, traceparent: str) -> Any:
        if not traceparent:
            return self._no_context
        return self._extract({"traceparent": traceparent}, self._no_context)


def _attributes(call: Call) -> dict[str, str | int | float]:
    """What happened, in OpenTelemetry's words where it has some; nothing that the caller wrote."""
    found: dict[str, str | int | float] = {
        "sealserve.api": call.api,
        "sealserve.received_bytes": call.received,
        "sealserve.sent_bytes": call.sent,
    }
    host, _, port = plain_peer(call.peer).rpartition(":")
    if port.isdecimal():
        found |= {"network.peer.address": host.strip("[]"), "network.peer.port": int(port)}
    if call.entrypoint == "REST":
        found["http.request.method"] = call.method
        found["http.response.status_code"] = call.http_status
    else:
        found["rpc.system.name"] = "grpc"
        found["rpc.method"] = call.method
        found["rpc.response.status_code"] = call.status
    if call.status != "OK":
        found["error.type"] = call.status
    if call.model:
        found["sealserve.model"] = call.model
    if call.version is not None:
        found["sealserve.version"] = str(call.version)  # 64 bits are too many for some backends
    if call.engine_seconds:
        found["sealserve.signature"] = call.signature
        found["sealserve.rows"] = call.rows
        found["sealserve.queue_seconds"] = call.queue_seconds
        found["sealserve.engine_seconds"] = call.engine_seconds
    return found


def _exporter(sender: Sender) -> Any:
    """The SDK's end of it: a class of the SDK's, which is imported late."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Exporter(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            taken = sender.send(encode_spans(spans).SerializeToString(), len(spans))
            return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

        def shutdown(self) -> None:
            sender.close()

    return Exporter()


def _forget_environment() -> None:
    """Take away what would configure the SDK behind our back."""
    names = [name for name in os.environ if name.startswith("OTEL_")]
    for name in names:
        del os.environ[name]
    if names:
        log.warning(line("environment_ignored", names=sorted(names)))
