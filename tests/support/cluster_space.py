"""Namespaces and cgroups in which a whole cluster lives, and with whose end it is gone.

The keeper is process 1 of a PID namespace, beside a network, a mount and a UTS namespace of its
own. It reads a pipe that only the test run holds: when that run ends, however it ends, so does the
keeper, and the kernel ends every process in there; interfaces, rules of netfilter and mounts go
with their namespaces. What the kernel does not remove are cgroups and the folder: `sweep` does, at
the end and before the next start. Nothing leads out of the network namespace.
Sources: pid_namespaces(7), network_namespaces(7), mount_namespaces(7), cgroups(7).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
NAME = "sealserve-cluster"
NODE_ADDRESS = "10.210.0.1"
END_SECONDS = 30.0
RUN_SECONDS = 120.0
TRIES, STEP = 20, 0.5
# Sysctls of the whole machine that kubelet wants set: in there they seem to be.
SEEMING = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}

KEEPER = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who is left behind in here is reaped
print("kept", flush=True)
sys.stdin.read()
"""

PREPARE = f"""
set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/seeming
for each in {" ".join(f"{name}={value}" for name, value in SEEMING.items())}; do
  place=/run/seeming/$(echo "${{each%=*}}" | tr / .)
  echo "${{each#*=}}" >"$place"
  mount --bind "$place" "/proc/sys/${{each%=*}}"
done
hostname {NAME}
ip link set lo up
ip link add node0 type veth peer node1
ip address add {NODE_ADDRESS}/32 dev node0
ip link set node0 up
ip link set node1 up
ip route add default dev node0
sysctl -qw net.ipv4.ip_forward=1
"""


@dataclass
class Space:
    """The namespaces, and the programs that were started in them."""

    folder: Path
    keeper: subprocess.Popen[str]
    process: int  # the keeper's, as this side sees it
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def inside(self, *command: str | Path) -> list[str]:
        """The command line that runs `command` in there."""
        enter = ["nsenter", "--target", str(self.process), "--net", "--mount", "--pid", "--uts"]
        return [*enter, "--wd=" + str(self.folder), "--", *map(str, command)]

    def run(
        self, *command: str | Path, check: bool = True, seconds: float = RUN_SECONDS, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """One command in there, to its end."""
        ended = subprocess.run(
            self.inside(*command),
            **{"stdin": subprocess.DEVNULL, **more},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        said = ended.stdout + ended.stderr
        assert not check or ended.returncode == 0, f"{' '.join(map(str, command))}\n{said}"
        return ended

    def start(self, name: str, *command: str | Path, **environment: str) -> None:
        """Start a program that stays; it writes to NAME.log."""
        with self.log(name).open("ab") as log:
            self.started[name] = subprocess.Popen(
                self.inside(*command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def last_words(self, name: str, lines: int = 15) -> str:
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])

    def check_alive(self) -> None:
        for name, process in self.started.items():
            assert process.poll() is None, f"{name} ended:\n{self.last_words(name)}"

    def close(self) -> None:
        """End everything in there; the folder stays."""
        assert self.keeper.stdin is not None and self.keeper.stdout is not None
        with suppress(BrokenPipeError):
            self.keeper.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.keeper.wait(END_SECONDS)
        self.keeper.kill()
        self.keeper.wait()
        self.keeper.stdout.close()
        for process in self.started.values():
            process.wait(END_SECONDS)


@contextmanager
def space(folder: Path) -> Iterator[Space]:
    """A space whose files are in `folder`; one at a time on a machine."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sweep(folder)
        (folder / "logs").mkdir(parents=True)
        made = _make(folder)
        try:
            made.run("sh", "-c", PREPARE)
            yield made
        finally:
            made.close()
            sweep(folder, but="logs")


def _make(folder: Path) -> Space:
    namespaces = ["--net", "--mount", "--pid", "--uts", "--propagation", "slave"]
    keeper = subprocess.Popen(
        [
            *("unshare", *namespaces, "--fork", "--kill-child", "--mount-proc", "--"),
            *(sys.executable, "-I", "-c", KEEPER),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == "kept\n", "no namespaces to be had"
    children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()
    (folder / "keeper").write_text(children[0])
    for controller in controllers():
        group = controller / NAME
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # empty ones take no process
            if (controller / name).exists():
                (group / name).write_text((controller / name).read_text())
    return Space(folder, keeper, int(children[0]))


def controllers() -> Sequence[Path]:
    """Each hierarchy of cgroups: several in version 1, one in version 2."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [each for each in CGROUPS.iterdir() if each.is_dir() and not each.is_symlink()]


def sweep(folder: Path, *, but: str = "") -> None:
    """Remove what a run left, except its folder `but`."""
    sweep_cgroups()
    for each in folder.iterdir() if folder.exists() else ():
        if each.name != but:
            _remove(each)


def _remove(path: Path) -> None:
    for _ in range(TRIES):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if not path.exists():
            return
        time.sleep(STEP)
    raise AssertionError(f"{path} cannot be removed")


def sweep_cgroups() -> None:
    """End who is still in our cgroups, and remove them from the leaves up."""
    deadline = time.monotonic() + END_SECONDS
    while left := [each / NAME for each in controllers() if (each / NAME).exists()]:
        for group in left:
            for folder in sorted((group, *group.rglob("*/")), reverse=True):
                _end(folder)
                with suppress(OSError):
                    folder.rmdir()
        assert time.monotonic() < deadline, f"cgroups stay: {left}"
        time.sleep(0.1)


def _end(group: Path) -> None:
    with suppress(OSError):
        for process in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
