"""The demo, whole: it holds, it leaves nothing running, and nothing secret shows anywhere."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sealserve.models.digits import held_out

SECONDS = 110


class Watch:
    """What `ps` could show of every process with a word of ours, while a block runs."""

    def __init__(self, word: bytes) -> None:
        self.word = word
        self.seen: set[bytes] = set()
        self._ended = threading.Event()

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            self.seen.update(processes(self.word))


def processes(word: bytes) -> Iterator[bytes]:
    """Arguments and environment of the processes in whose arguments `word` stands."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes()
                if word in arguments:
                    yield arguments + (entry / "environ").read_bytes()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Watch, dict]]:
    folder = tmp_path_factory.mktemp("demo") / "kept"
    with Watch(b"sealserve") as watch:
        ended = subprocess.run(
            [sys.executable, "-m", "sealserve", "demo", "--json", "--keep", str(folder)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    yield folder, watch, json.loads(ended.stdout)
    shutil.rmtree(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_demo_that_is_ended_leaves_nothing_running(tmp_path: Path, number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sealserve", "demo", "--keep", str(tmp_path / "kept")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as demo:
        wait_until(lambda: (tmp_path / "kept" / "logs" / "qe.log").exists())
        demo.send_signal(number)
        assert demo.wait(60) != 0
    wait_until(lambda: not any(str(tmp_path) in folder for folder in working_folders()))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def secrets(folder: Path) -> dict[str, list[bytes]]:
    """Every secret of the demo in every spelling it could leak in."""
    key = (folder / "owner" / "wrap.key").read_bytes()
    spellings = {"wrap key": [key, key.hex().encode(), base64.b64encode(key)]}
    key = (folder / "owner" / "kek").read_bytes()
    spellings["key-encryption key"] = [key, key.hex().encode(), base64.b64encode(key)]
    for pem in folder.rglob("*key.pem"):
        body = b"".join(pem.read_bytes().splitlines()[1:-1])
        spellings[str(pem.relative_to(folder))] = [body[:60]]
    return spellings


def test_the_demo_holds_in_every_step(played: tuple[Path, Watch, dict]) -> None:
    _, _, told = played
    assert told["holds"] is True
    assert len(told["steps"]) == 10
    checks = [check for step in told["steps"] for check in step["checks"]]
    assert all(check["holds"] for check in checks)
    assert sum("exit code" in check["check"] for check in checks) == 4
    assert checks[-1]["check"] == "it is whole: 3 released, 2 denied"


@pytest.mark.long
def test_it_holds_with_trust_domains_in_place_of_enclaves(tmp_path: Path) -> None:
    words = ["demo", "--tee", "tdx", "--oneway", "--json", "--keep", str(tmp_path / "kept")]
    ended = subprocess.run(
        [sys.executable, "-m", "sealserve", *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    facts = [fact for step in json.loads(ended.stdout)["steps"] for fact in step["facts"]]
    assert any("rtmr3 FAILS: " in fact for fact in facts)
    policy = (tmp_path / "kept" / "owner" / "policy.toml").read_text()
    assert 'tee = "TDX"' in policy


def test_nothing_of_the_demo_runs_on(played: tuple[Path, Watch, dict]) -> None:
    folder, _, _ = played
    assert list(processes(str(folder).encode())) == []
    assert not any(str(folder).encode() in os.fsencode(path) for path in working_folders())


def working_folders() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                yield str((entry / "cwd").readlink())


def test_no_secret_shows_in_arguments_environments_or_logs(
    played: tuple[Path, Watch, dict],
) -> None:
    folder, watch, told = played
    logs = [path.read_bytes() for path in (folder / "logs").iterdir()]
    logs += [path.read_bytes() for path in (folder / "owner").glob("*.jsonl")]
    databases = [path.read_bytes() for path in (folder / "owner").glob("keyservice.db*")]
    assert databases, "the key service has one"
    logs += databases
    shown = [*watch.seen, *logs, json.dumps(told).encode()]
    assert len(watch.seen) > 5, "the watch has seen the demo's processes"
    for name, spellings in secrets(folder).items():
        for spelling in spellings:
            assert not any(spelling in text for text in shown), f"{name} leaks"


def test_the_platform_has_no_plaintext_and_no_key_of_the_owner(
    played: tuple[Path, Watch, dict],
) -> None:
    folder, _, _ = played
    model = (folder / "owner/plain/models/digits/1/saved_model.pb").read_bytes()
    kept = b"".join(p.read_bytes() for p in (folder / "platform").rglob("*") if p.is_file())
    assert model[1000:1064] not in kept
    assert held_out()[0][:1].tobytes() not in kept
    owner = {
        name: spellings
        for name, spellings in secrets(folder).items()
        if not name.startswith("platform")
    }
    for name, spellings in owner.items():
        assert not any(spelling in kept for spelling in spellings), f"the platform has {name}"


def test_every_file_that_holds_a_secret_is_for_its_owner_alone(
    played: tuple[Path, Watch, dict],
) -> None:
    folder, _, _ = played
    private = [*folder.rglob("*key.pem"), *folder.rglob("wrap.key"), *folder.rglob("ssl.cfg")]
    private += [
        *folder.rglob("kek"),
        *folder.rglob("keyservice.db*"),
        *folder.rglob("*.jsonl"),
        *(folder / "owner" / "plain").rglob("*.pb"),
    ]
    assert len(private) >= 8
    for path in private:
        sealed = path.read_bytes()[:8] == b"GRAFS_PF"
        mode = stat.S_IMODE(path.stat().st_mode)
        assert sealed or mode & 0o077 == 0, f"{path} has mode {mode:o}"
