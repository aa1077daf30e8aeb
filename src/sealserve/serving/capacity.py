"""How much of the machine the engine may use: the processors there are, and the flags.

TensorFlow's three flags map to an engine with streams as follows: `intra_op` is the number of
threads, `inter_op` the number of requests that are computed side by side (streams, which share the
threads), `session_parallelism` sets both. Zero means automatic: all processors, and one stream for
the shortest answer to one request, or as many as threads for the most answers in all. More threads
than processors only wait for each other, so there are never more.

Sources: sched(7), Documentation/admin-guide/cgroup-v2.rst (cpu.max), cgroup-v1/cpu (cfs_quota_us).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from sealserve.errors import ConfigError

GOALS = ("latency", "throughput")
_V2_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_V1_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_V1_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


@dataclass(frozen=True)
class Capacity:
    """Threads in all, and the streams that share them."""

    threads: int
    streams: int


def available_processors() -> int:
    """The processors this process may use: its affinity, cut by its container's quota."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota = cgroup_limit(_V2_LIMIT.read_text()) if _V2_LIMIT.exists() else _v1_limit()
    except (OSError, ValueError):
        quota = None  # no limit that we know of: not a reason not to serve
    return allowed if quota is None else max(1, min(allowed, quota))


def cgroup_limit(text: str) -> int | None:
    """The processors in `QUOTA PERIOD` (microseconds, or `max` for no limit), rounded up."""
    quota, period = text.split()
    if quota == "max" or int(quota) < 0:
        return None
    return math.ceil(int(quota) / int(period))


def plan(
    processors: int,
    *,
    session: int = 0,
    intra_op: int = 0,
    inter_op: int = 0,
    optimize_for: str = "latency",
) -> Capacity:
    """Threads and streams for these flags; ConfigError where TensorFlow Serving refuses them."""
    if optimize_for not in GOALS:
        raise ConfigError(f"--optimize_for is one of {', '.join(GOALS)}, not {optimize_for!r}")
    if min(session, intra_op, inter_op) < 0:
        raise ConfigError("--tensorflow_*_parallelism is a number of threads, not below 0")
    if session and intra_op and inter_op:
        raise ConfigError(
            "all of --tensorflow_session_parallelism, --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism are set",
            hint="set the first alone, or the other two",
        )
    if not (intra_op or inter_op):
        intra_op = inter_op = session
    threads = min(intra_op, processors) if intra_op else processors
    automatic = threads if optimize_for == "throughput" else 1
    return Capacity(threads=threads, streams=min(inter_op, threads) if inter_op else automatic)


def _v1_limit() -> int | None:
    return cgroup_limit(f"{_V1_QUOTA.read_text()} {_V1_PERIOD.read_text()}")
