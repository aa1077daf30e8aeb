"""Processes that outlive who started them: found again, ended whole, and no others ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sealserve.deploy.compose import process as module
from sealserve.deploy.compose.process import Place

SECONDS = 20.0
ENDS = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
SAYS_READY = "print('ready', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path, "one")
    yield found
    found.end(0.1)


def start(place: Place, program: str = ENDS + SAYS_READY) -> subprocess.Popen[bytes]:
    process = place.start((sys.executable, "-c", program), folder=place.folder, digest="d")
    until(lambda: "ready" in place.log.read_text())
    return process


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_is_known_again_and_ends_when_it_is_asked(place: Place) -> None:
    process = start(place)
    again = Place(place.folder, place.name)
    assert again.pid() == process.pid
    assert again.digest() == "d"
    again.end(SECONDS)
    assert process.wait(SECONDS) == 0
    assert again.pid() is None
    assert not place.note.exists()


def test_it_is_in_a_session_of_its_own_with_no_input_and_few_variables(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_PASSWORD", "hunter2")
    process = start(place)
    assert os.getsid(process.pid) == process.pid
    assert Path(f"/proc/{process.pid}/fd/0").readlink() == Path("/dev/null")
    assert b"hunter2" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    place.end(SECONDS)
    process.wait(SECONDS)


def test_one_that_does_not_listen_to_signals_is_killed(place: Place) -> None:
    process = start(place, STUBBORN + SAYS_READY)
    place.end(0.2)
    assert process.wait(SECONDS) == -signal.SIGKILL


def test_signals_that_were_held_back_while_it_started_reach_it(place: Place) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = start(place)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    place.send(signal.SIGTERM)
    assert process.wait(SECONDS) == 0


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}, {"pid": 2**22}])
def test_an_id_that_was_given_to_another_process_is_left_alone(
    place: Place, change: dict[str, object], tmp_path: Path
) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", ENDS + "signal.pause()"])
    try:
        started = module._started(stranger.pid)
        facts = {"pid": stranger.pid, "started": started, "boot": module._boot(), "digest": ""}
        place.note.write_text(json.dumps({**facts, **change}))
        assert place.pid() is None
        place.end(0.1)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": -1, "boot": ""}'])
def test_a_damaged_note_names_no_process(place: Place, note: str) -> None:
    place.note.write_text(note)
    assert place.pid() is None
    place.end(0.1)


def test_what_a_killed_process_leaves_behind_is_ended_with_it(place: Place) -> None:
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SAYS_READY!r}])"
    child = child.replace("print(", "import signal; print(")
    process = start(place, f"{child}; import signal; signal.pause()")
    process.kill()
    process.wait(SECONDS)
    assert place.pid() is None
    assert list(module._printing_to(place.log))
    place.end(SECONDS)
    assert not list(module._printing_to(place.log))


def test_a_starter_that_is_killed_before_it_wrote_the_note_leaves_no_process(
    place: Place,
) -> None:
    program = (
        "import os, sys, pathlib\n"
        "from sealserve.deploy.compose import process\n"
        "process.write_file = lambda *_: os.kill(os.getpid(), 9)\n"
        "place = process.Place(pathlib.Path(sys.argv[1]), 'one')\n"
        f"place.start((sys.executable, '-c', {SAYS_READY!r}), folder=place.folder, digest='')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(place.folder)], check=False)
    assert ended.returncode == -signal.SIGKILL
    until(lambda: not list(module._printing_to(place.log)))
    assert place.log.read_text() == ""


def test_a_log_beyond_its_limit_keeps_its_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_LIMIT", 1000)
    monkeypatch.setattr(module, "_KEPT", 100)
    place.log.write_text("".join(f"line {number}\n" for number in range(500)))
    place.trim()
    kept = place.log.read_text().splitlines()
    assert kept[-1] == "line 499"
    assert 5 < len(kept) < 20
    assert kept[0].startswith("line ")
