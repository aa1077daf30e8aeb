"""Weigh what a run has kept, as the product would run it: `python -m fuzz.judge TARGET FOLDER`.

Prints one JSON object, a `Verdict`. Judged are the seeds, the hostile inputs, the corpus that the
run has built (at most 2000 of it) and the candidates; escapes are made small first.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fuzz.cost import BYTES_LIMIT, peak_bytes, processor_seconds
from fuzz.minimise import escape, minimise
from fuzz.target import Target
from fuzz.targets import TARGETS

MOST_OF_A_CORPUS = 2000
_SHOWN = 240  # bytes of an escape that are worth reading in hex


@dataclass
class Verdict:
    """What the inputs of one target cost at most, and what was wrong with them."""

    inputs: int = 0
    seconds: float = 0.0
    slowest: str = ""
    bytes: int = 0
    largest: str = ""
    faults: list[str] = field(default_factory=list)


def judge(target: Target, folder: Path) -> Verdict:
    """The verdict on all inputs that there are."""
    verdict = Verdict()
    for seed in target.seeds():  # what is imported or made once is no cost of an input
        escape(target.run, target.refusals, seed)
    for name, data in inputs(target, folder):
        verdict.inputs += 1
        if place := escape(target.run, target.refusals, data):
            verdict.faults.append(_escaped(target, folder, name, data, place[0]))
        _weigh(verdict, target, name, data)
    return verdict


def inputs(target: Target, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every input to judge, with a name to find it by."""
    for number, seed in enumerate(target.seeds()):
        yield f"seed {number}", seed
    for name, data in target.hostile().items():
        yield f"hostile: {name}", data
    for part, most in (("corpus", MOST_OF_A_CORPUS), ("candidates", None), ("escapes", None)):
        for path in sorted((folder / part).glob("*"))[:most]:
            yield f"{part}/{path.name}", path.read_bytes()


def _weigh(verdict: Verdict, target: Target, name: str, data: bytes) -> None:
    seconds = processor_seconds(target.run, data)
    if seconds > verdict.seconds:
        verdict.seconds, verdict.slowest = seconds, name
    if seconds > target.seconds:
        verdict.faults.append(f"{name}: {seconds * 1e3:.0f} ms of processor time")
    held = peak_bytes(target.run, data)
    if held > verdict.bytes:
        verdict.bytes, verdict.largest = held, name
    if held > BYTES_LIMIT:
        verdict.faults.append(f"{name}: {held / 2**20:.1f} MiB of memory")


def _escaped(target: Target, folder: Path, name: str, data: bytes, kind: str) -> str:
    place = escape(target.run, target.refusals, data)
    small = minimise(data, lambda shorter: escape(target.run, target.refusals, shorter) == place)
    path = folder / f"minimal-{name.replace('/', '-').replace(' ', '-')}"
    path.write_bytes(small)
    shown = small.hex() if len(small) <= _SHOWN else f"{len(small)} bytes"
    where = f"{Path(place[1]).name}:{place[2]}" if place else "?"
    return f"{name}: {kind} escapes from {where}; minimised in {path}: {shown}"


if __name__ == "__main__":
    print(json.dumps(asdict(judge(TARGETS[sys.argv[1]], Path(sys.argv[2])))))
