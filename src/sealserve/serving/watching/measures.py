"""What the server measures: every metric, with its name, its meaning and its labels.

Two families. Those that begin with `:tensorflow:` are TensorFlow Serving's own, name, kind, labels
and buckets, so that dashboards made for it go on working; each cites where that server makes it.
Those that begin with `sealserve_serving_` are ours. docs/serving-watching.md explains all of them.

Labels hold configured models, statuses and codes of ours, and folders and sizes of which only so
many are told apart: a peer cannot make new ones.

Sources: TensorFlow Serving 2.21, tensorflow_serving/util/prometheus_exporter.cc (how names and
limits are written); core/lib/monitoring/sampler.h of TensorFlow (exponential buckets).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

STOCK = ":tensorflow:"
PREFIX = "sealserve_serving_"

STATES = ("start", "loading", "available", "unloading", "end")
"""Of versions, in the order of ModelVersionStatus (apis/get_model_status.proto)."""


class Kind(StrEnum):
    """As the text format calls them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Joined(StrEnum):
    """What the numbers of several processes are together."""

    SUM = "sum"
    MOST = "most"
    LEAST = "least"


@dataclass(frozen=True)
class Measure:
    """One metric. `bounds` are the upper ends of a histogram's buckets but the last.

    `passing`: it is of a process and goes with it, where others count on.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    joined: Joined = Joined.SUM
    passing: bool = False

    @property
    def cells(self) -> int:
        """A number; or the buckets, and the sum."""
        return len(self.bounds) + 2 if self.kind is Kind.HISTOGRAM else 1


def _exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """TensorFlow's `Buckets::Exponential`; its last bucket, which has no end, is not among them."""
    bounds = [scale]
    while len(bounds) < count:
        bounds.append(bounds[-1] * growth)
    return tuple(bounds)


_LATENCY = _exponential(10, 1.8, 33)  # microseconds; servables/tensorflow/util.cc
_EXAMPLES = _exponential(1, 2, 15)  # servables/tensorflow/util.cc
_BATCH = _exponential(1, 2, 14)  # batching/batching_util.h
_QUEUING = _exponential(100, 1.2, 52)  # microseconds; batching/batching_session.cc
_SECONDS = (
    *(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


def _stock(
    name: str, kind: Kind, meaning: str, *labels: str, bounds: tuple[float, ...] = ()
) -> Measure:
    return Measure(STOCK + name, kind, meaning, labels, bounds)


# servables/tensorflow/util.cc
REQUESTS = _stock(
    "serving:request_count", Kind.COUNTER, "Requests, by status.", "model_name", "status"
)
REQUEST_LATENCY = _stock(
    "serving:request_latency",
    Kind.HISTOGRAM,
    "Microseconds of requests that went well.",
    *("model_name", "API", "entrypoint"),
    bounds=_LATENCY,
)
RUNTIME_LATENCY = _stock(
    "serving:runtime_latency",
    Kind.HISTOGRAM,
    "Microseconds in the engine, of requests that went well.",
    *("model_name", "API", "runtime"),
    bounds=_LATENCY,
)
EXAMPLES = _stock(
    "serving:request_example_counts",
    Kind.HISTOGRAM,
    "Examples in a request.",
    "model",
    bounds=_EXAMPLES,
)
EXAMPLES_TOTAL = _stock(
    "serving:request_example_count_total", Kind.COUNTER, "Examples in all requests.", "model"
)
# servables/tensorflow/saved_model_warmup_util.cc
WARMUP_LATENCY = _stock(
    "serving:model_warmup_latency",
    Kind.HISTOGRAM,
    "Microseconds of the warm-up of a version.",
    *("model_path", "status"),
    bounds=_LATENCY,
)
WARMUP_RECORDS = _stock(
    "serving:model_warmup_records_read",
    Kind.COUNTER,
    "Recorded requests read for the warm-up of a version.",
    *("model_path", "status"),
)
# cc/saved_model/loader.cc of TensorFlow
LOAD_ATTEMPTS = _stock(
    "cc:saved_model:load_attempt_count",
    Kind.COUNTER,
    "Loads of a version that ended in success or fail.",
    *("model_path", "status"),
)
LOAD_LATENCY = _stock(
    "cc:saved_model:load_latency",
    Kind.COUNTER,
    "Microseconds spent in loading a version.",
    "model_path",
)
# batching/batching_session.cc and batching/batching_util.h
QUEUING_LATENCY = _stock(
    "serving:batching_session:queuing_latency",
    Kind.HISTOGRAM,
    "Microseconds that a request waited for its batch to run.",
    "thread_pool_name",
    bounds=_QUEUING,
)
WRAPPED_RUNS = _stock("serving:batching_session:wrapped_run_count", Kind.COUNTER, "Batches run.")
INPUT_BATCH = _stock(
    "serving:batching_session:input_batch_size",
    Kind.HISTOGRAM,
    "Rows of a request that is batched.",
    bounds=_BATCH,
)
PROCESSED_BATCH = _stock(
    "serving:batching_session:processed_batch_size",
    Kind.HISTOGRAM,
    "Rows of a batch, with its padding.",
    bounds=_BATCH,
)
PADDING = _stock(
    "serving:batching_session:padding_size",
    Kind.HISTOGRAM,
    "Rows of padding in a batch.",
    "execution_batch_size",
    bounds=_BATCH,
)


def _ours(
    name: str, kind: Kind, meaning: str, *labels: str, bounds: tuple[float, ...] = ()
) -> Measure:
    return Measure(PREFIX + name, kind, meaning, labels, bounds)


def _state(name: str, meaning: str, *labels: str, joined: Joined = Joined.SUM) -> Measure:
    return Measure(PREFIX + name, Kind.GAUGE, meaning, labels, joined=joined, passing=True)


QUEUE_SECONDS = _ours(
    "queue_duration_seconds",
    Kind.HISTOGRAM,
    "From the decoded request to the beginning of the engine's work.",
    "model_name",
    bounds=_SECONDS,
)
ENGINE_SECONDS = _ours(
    "engine_duration_seconds",
    Kind.HISTOGRAM,
    "The engine's work for a request, or for the batch that it was in.",
    "model_name",
    bounds=_SECONDS,
)
ROWS = _ours("rows_total", Kind.COUNTER, "Rows of all predictions that went well.", "model_name")
RECEIVED = _ours(
    "received_bytes_total", Kind.COUNTER, "Bytes of messages and bodies received.", "entrypoint"
)
SENT = _ours("sent_bytes_total", Kind.COUNTER, "Bytes of messages and bodies sent.", "entrypoint")
IN_FLIGHT = _state("requests_in_flight", "Requests that are being served now.", "entrypoint")
HANDSHAKES = _ours(
    "tls_handshakes_total",
    Kind.COUNTER,
    "TLS handshakes that ended; on gRPC, connections that a request came over.",
    *("entrypoint", "result"),
)
VERSIONS = _state(
    "versions", "Versions of a model in a state, in all processes.", "model_name", "state"
)
AVAILABLE = _state(
    "available_version",
    "The highest version that is served.",
    "model_name",
    joined=Joined.LEAST,
)
LOAD_FAILURES = _ours(
    "load_failures_total",
    Kind.COUNTER,
    "Versions that could not be loaded, by code.",
    *("model_name", "code"),
)
SPANS_DROPPED = _ours(
    "spans_dropped_total",
    Kind.COUNTER,
    "Spans that were not kept, because the collector is slow or away.",
)
READY = _state("ready", "1 if every process serves and is not about to stop.", joined=Joined.LEAST)
SIMULATED = _state("simulated", "1 if the key rests on evidence of a lab.", joined=Joined.MOST)
UNATTESTED = _state(
    "unattested", "1 if the key was got without any attestation.", joined=Joined.MOST
)
UNSEALED = _state("unsealed", "1 if models are served without any key.", joined=Joined.MOST)
PLAINTEXT = _state("plaintext", "1 if requests travel without TLS.", joined=Joined.MOST)
CERTIFICATE_EXPIRY = _state(
    "certificate_expiry_timestamp_seconds",
    "End of the TLS certificate that is shown.",
    joined=Joined.LEAST,
)
BUILD = _state("build_info", "1, with what serves.", "version", "engine", joined=Joined.MOST)

ALL: tuple[Measure, ...] = (
    REQUESTS,
    REQUEST_LATENCY,
    RUNTIME_LATENCY,
    EXAMPLES,
    EXAMPLES_TOTAL,
    WARMUP_LATENCY,
    WARMUP_RECORDS,
    LOAD_ATTEMPTS,
    LOAD_LATENCY,
    QUEUING_LATENCY,
    WRAPPED_RUNS,
    INPUT_BATCH,
    PROCESSED_BATCH,
    PADDING,
    QUEUE_SECONDS,
    ENGINE_SECONDS,
    ROWS,
    RECEIVED,
    SENT,
    IN_FLIGHT,
    HANDSHAKES,
    VERSIONS,
    AVAILABLE,
    LOAD_FAILURES,
    SPANS_DROPPED,
    READY,
    SIMULATED,
    UNATTESTED,
    UNSEALED,
    PLAINTEXT,
    CERTIFICATE_EXPIRY,
    BUILD,
)
