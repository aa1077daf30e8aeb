"""A composition as plain processes: started in order, found again, mended, ended in order.

What should run is in the record, which is written before anything is started; what does run is
asked of the kernel (`process.py`). So whatever happens in between, `down` knows all there is.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sealserve.deploy.compose.plan import Composition
from sealserve.deploy.compose.probe import Ask, answers
from sealserve.deploy.compose.process import Place
from sealserve.deploy.compose.state import State
from sealserve.deploy.compose.status import Status, failure
from sealserve.deploy.compose.steps import Step, steps
from sealserve.deploy.compose.waiting import Waiting
from sealserve.files import PUBLIC, write_file
from sealserve.hosts import parse_address
from sealserve.ports import free_port

STOP_SECONDS: Final = 45.0  # longer than a server takes to drain
POLL_SECONDS: Final = 0.1
_TAIL_BYTES: Final = 64 << 10

Tell = Callable[[str], None]


def up(
    composition: Composition, state: State, facts: Mapping[str, Any], *, tell: Tell, seconds: float
) -> None:
    """Start what does not run and what has changed, and wait until all of it is ready.

    `facts` go into the record. Raises what became of the first service that did not get so far.
    """
    before = {each.name: each for each in recorded(state)}
    wanted = steps(composition, state.path, lambda name: _port(state, before.get(name)))
    state.write({**facts, "services": [step.to_json() for step in wanted]})
    for name in reversed([name for name in before if name not in {s.name for s in wanted}]):
        tell(f"{name}: is described no more, ends")
        Place(state.path, name).end(STOP_SECONDS)
    waiting = Waiting(seconds, tell)
    started: dict[str, subprocess.Popen[bytes] | None] = {}
    for phase in sorted({step.phase for step in wanted}):
        members = [step for step in wanted if step.phase == phase]
        for step in members:
            if started.get(step.bound_to) is not None:  # what was bound to the old one is lost
                Place(state.path, step.name).end(STOP_SECONDS)
            started[step.name] = _start(step, state, tell)
        for step in members:
            _wait(step, state, started[step.name], waiting)
            tell(f"{step.name}: ready, {step.address}")


def status(state: State, *, simulated: bool, name: str, ask: Ask) -> Iterator[Status]:
    """Each service; a server is asked under `name`."""
    for step in recorded(state):
        place = Place(state.path, step.name)
        place.trim()
        running = place.pid() is not None
        known = "exited" if place.note.exists() else "not started"
        yield Status(
            step.name,
            "running" if running else known,
            step.address,
            running and _serves(step, name, ask),
            simulated,
        )


def _serves(step: Step, name: str, ask: Ask) -> bool:
    return ask(step.address, name) if step.probe == "tls" else answers(step.address, step.probe)


def down(state: State, *, tell: Tell) -> None:
    """End all of it, what clients reach first; nothing of it runs on afterwards."""
    known = recorded(state)
    for phase in sorted({step.phase for step in known}, reverse=True):
        members = [Place(state.path, step.name) for step in known if step.phase == phase]
        for place in members:
            if place.pid() is not None:
                tell(f"{place.name}: ends")
                place.send(signal.SIGTERM)
        for place in members:
            place.wait_ended(STOP_SECONDS)


def recorded(state: State) -> tuple[Step, ...]:
    """What is in force."""
    record = state.record()
    return tuple(map(Step.from_json, record["services"])) if record else ()


def last_lines(log: Path) -> list[str]:
    """The end of what a process has printed."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
            return stream.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def _port(state: State, step: Step | None) -> int:
    """The port that a server has, as long as it runs; a free one otherwise."""
    if step is not None and Place(state.path, step.name).pid() is not None:
        return parse_address(step.address).port
    return free_port()


def _start(step: Step, state: State, tell: Tell) -> subprocess.Popen[bytes] | None:
    """The process, if one was started now."""
    place = Place(state.path, step.name)
    changed = _configure(step, state)
    if place.pid() is not None:
        if place.digest() == step.digest:
            if changed:
                place.send(signal.SIGHUP)
            tell(f"{step.name}: {'is told of a change' if changed else 'runs already'}")
            return None
        tell(f"{step.name}: has changed, starts anew")
        place.end(STOP_SECONDS)
    else:
        tell(f"{step.name}: starts")
        place.end_leftovers()
    return place.start(step.command, folder=Path(step.folder), digest=step.digest)


def _configure(step: Step, state: State) -> bool:
    """Write the file that it reads; whether that changed it."""
    if not step.config:
        return False
    folder = state.path / "nginx"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "nginx.conf"
    if path.exists() and path.read_text() == step.config:
        return False
    write_file(path, step.config.encode(), mode=PUBLIC)
    return True


def _wait(
    step: Step, state: State, process: subprocess.Popen[bytes] | None, waiting: Waiting
) -> None:
    place = Place(state.path, step.name)
    while not _is_ready(step, place, fresh=process is not None):
        ended = place.pid() is None
        if ended or waiting.late:
            code = process.wait() if process is not None and ended else None
            raise failure(step.name, code, last_lines(place.log), f"{place.log} has all of it")
        waiting.pause(POLL_SECONDS, [step.name])


def _is_ready(step: Step, place: Place, *, fresh: bool) -> bool:
    """By what a new process has printed; by an answer where it is old, or prints nothing."""
    if place.pid() is None:
        return False
    if fresh and step.ready:
        return any(step.ready in line for line in last_lines(place.log))
    return answers(step.address, "unix" if step.probe == "unix" else "tcp")
