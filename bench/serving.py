"""The model server beside engines in process, other servers, a bare echo, and itself.

Ours is `sealserve serve` as it is started everywhere, as a process of its own, over mutual TLS
unless a line says otherwise; so are the peers, in plaintext, all on loopback. Subjects of one table
take turns in rounds, and a ratio is the median over the rounds. Clients are on the same cores and
the same for all subjects of a comparison.

1. ResNet-50, batch 1: throughput and waits (`_serving_resnet`).
2. 64 numbers: the way of a request through a server (`_serving_small`).
3. 150 MB: time and memory (`_serving_large`).
4. From the start of a process to its first answer, by stages; sealed and attested
   (`_serving_start`).
5. Imports and installed sizes (`_serving_footprint`).

What confidentiality costs is in these: lines beside *plaintext*, beside the *plain file*, and
*attested* beside the *key file*. MLServer, LitServe and TensorFlow are installed by
`make bench-serving`; lines that need one that is missing say so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import (
    _serving_footprint,
    _serving_large,
    _serving_resnet,
    _serving_small,
    _serving_start,
)
from bench._serving_site import make_site
from bench.measure import PROJECT, Result


def run() -> Iterator[Result]:
    """All of it, about ten minutes on two cores."""
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix="serving-") as name:
        site = make_site(Path(name))
        for part in (_serving_resnet, _serving_small, _serving_large, _serving_start):
            yield from part.measure(site)
    yield from _serving_footprint.measure()
