"""The rows of a board as text for Prometheus.

Written here and not by a library, because names are TensorFlow Serving's: its counters do not end
in `_total`, and every library that knows the rule puts it there.

Format: Prometheus exposition format 0.0.4. Limits of buckets are written as TensorFlow Serving does
(util/prometheus_exporter.cc): six digits at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from sealserve.serving.watching.measures import Joined, Kind, Measure

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Values = Sequence[float]
Samples = Mapping[tuple[str, ...], Values]
"""By the values of the labels: one number, or buckets and sum."""

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_JOIN: Mapping[Joined, Callable[[Iterable[float]], float]] = {
    Joined.SUM: sum,
    Joined.MOST: max,
    Joined.LEAST: min,
}


def joined(measure: Measure, each: Sequence[Values]) -> Values:
    """The cells of all processes, as one."""
    join = _JOIN[measure.joined]
    return [join(row[cell] for row in each) for cell in range(measure.cells)]


def exposed(measure: Measure, samples: Samples) -> Iterator[str]:
    """The lines of one metric; none where nothing was counted."""
    if not samples:
        return
    yield f"# HELP {measure.name} {measure.meaning}"
    yield f"# TYPE {measure.name} {measure.kind}"
    for labels, values in sorted(samples.items()):
        inside = [
            f'{name}="{value.translate(_ESCAPED)}"'
            for name, value in zip(measure.labels, labels, strict=True)
        ]
        if measure.kind is Kind.HISTOGRAM:
            yield from _histogram(measure, inside, values)
        else:
            yield f"{measure.name}{_braces(inside)} {_number(values[0])}"


def _histogram(measure: Measure, inside: list[str], values: Values) -> Iterator[str]:
    total = 0.0
    for bound, count in zip((*measure.bounds, None), values[:-1], strict=True):
        total += count
        limit = 'le="+Inf"' if bound is None else f'le="{bound:g}"'
        yield f"{measure.name}_bucket{_braces([*inside, limit])} {_number(total)}"
    yield f"{measure.name}_sum{_braces(inside)} {_number(values[-1])}"
    yield f"{measure.name}_count{_braces(inside)} {_number(total)}"


def _braces(labels: list[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
