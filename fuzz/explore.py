"""One target under atheris, in a process of its own: `fuzz.explore TARGET FOLDER SECONDS`.

libFuzzer mutates, guided by the coverage of `sealserve` and `tomllib`. An exception that is none
of the target's refusals does not end the run: its input is kept in FOLDER/escapes, one for each
place that it comes from. Inputs that seem dear go to FOLDER/candidates, for `fuzz.judge` to weigh.
What a crash of the interpreter, a hang or 1 GiB of memory leave behind is libFuzzer's own, in
FOLDER/artifacts.

No dear input is missed for being hidden behind another: of memory, whatever raises the high-water
mark of the process is kept, and one that does not cost no more than one that was kept; of time,
whatever is over the limit or a new record, and instrumented code is never the faster one.
"""

from __future__ import annotations

import hashlib
import resource
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sealserve", "tomllib"]):
    from fuzz.target import Target
    from fuzz.targets import TARGETS

from fuzz.minimise import Signature, signature

MOST_CANDIDATES = 64
HANG_SECONDS = 10
MEMORY_MIB = 1024
_RAISES_THE_MARK = 256  # KiB
_NEW_RECORD = 1.25


class Explorer:
    """Calls the target; keeps what escapes and what seems dear."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._target = target
        self._escapes = folder / "escapes"
        self._candidates = folder / "candidates"
        self._seen: set[Signature] = set()
        self._record = target.seconds / 50
        self._kept = 0

    def __call__(self, data: bytes) -> None:
        mark, start = _high_water_mark(), time.thread_time()
        try:
            self._target.run(data)
        except self._target.refusals:
            pass
        except Exception as error:  # noqa: BLE001  (what escapes is what is looked for)
            self._keep_escape(error, data)
        seconds = time.thread_time() - start
        if _high_water_mark() - mark > _RAISES_THE_MARK:
            self._keep_candidate(data)
        elif seconds > min(self._target.seconds, self._record * _NEW_RECORD):
            self._record = max(seconds, self._record)
            self._keep_candidate(data)

    def _keep_escape(self, error: Exception, data: bytes) -> None:
        place = signature(error)
        if place not in self._seen:
            self._seen.add(place)
            (self._escapes / f"{place[0]}-{_name(data)}").write_bytes(data)

    def _keep_candidate(self, data: bytes) -> None:
        if self._kept < MOST_CANDIDATES:
            self._kept += 1
            (self._candidates / _name(data)).write_bytes(data)


def _high_water_mark() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def main(name: str, folder: Path, seconds: int) -> None:
    """Explore for so long; does not return."""
    target = TARGETS[name]
    for part in ("corpus", "seeds", "escapes", "candidates", "artifacts"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (folder / "seeds" / _name(seed)).write_bytes(seed)
    dictionary = folder / "words"
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    atheris.Setup(
        [
            sys.argv[0],
            str(folder / "corpus"),
            str(folder / "seeds"),
            *([f"-dict={dictionary}"] if target.words else []),
            f"-artifact_prefix={folder / 'artifacts'}/",
            f"-max_total_time={seconds}",
            f"-max_len={target.longest}",
            f"-timeout={HANG_SECONDS}",
            f"-rss_limit_mb={MEMORY_MIB}",
            "-print_final_stats=1",
        ],
        Explorer(target, folder),
    )
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
