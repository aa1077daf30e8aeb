"""How many predictions were asked for and how they ended, in Prometheus' text format.

The name and its labels are TensorFlow Serving's (2.21, servables/tensorflow/util.cc), so that
dashboards made for it go on working. Label values are models that are configured and gRPC status
names: a peer cannot make new ones.

Format: Prometheus exposition format 0.0.4.
"""

from __future__ import annotations

from collections import Counter

from sealserve.serving.calls import Call

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DEFAULT_PATH = "/monitoring/prometheus/metrics"
REQUEST_COUNT = ":tensorflow:serving:request_count"

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Metrics:
    """The counters of one server; belongs to its event loop."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str]] = Counter()

    def observe(self, call: Call) -> None:
        """One more call that has ended."""
        self._requests[call.model, call.status] += 1

    def render(self) -> str:
        """All counters as text."""
        lines = [
            f"# HELP {REQUEST_COUNT} Predictions, by model and gRPC status.",
            f"# TYPE {REQUEST_COUNT} counter",
        ]
        for (model, status), number in sorted(self._requests.items()):
            labels = f'model_name="{model.translate(_ESCAPED)}",status="{status}"'
            lines.append(f"{REQUEST_COUNT}{{{labels}}} {number}")
        return "\n".join(lines) + "\n"
