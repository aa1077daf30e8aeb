"""podman as this host lets it run, with a store of its own that is gone afterwards.

Hosts differ: some have no registry within reach, some run only runc, some manage no cgroups by
systemd, some may not raise a limit. All of that is found out by trying, and told in a skip's reason
where nothing works. What is made lives in one folder, and so does the network's configuration.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sealserve.deploy.images.roles import USER_ID

BASE = "SEALSERVE_TEST_BASE"  # an image by digest, to be taken in the place of one made here
PULLED = "docker.io/library/debian:bookworm-slim"
MADE = "localhost/sealserve-test-base"
SUITE = "bookworm"
NOFILE, NPROC = 4096, 4096
RUN_SECONDS = 300
PULL_SECONDS = 60
MAKE_SECONDS = 900
STRICT = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:size=256m"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
)
LIMITS = ("--memory", "1500m", "--pids-limit", "256")


class Podman:
    """podman with its own store; `environment` is for programs that call podman themselves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
        self.environment["CONTAINERS_STORAGE_CONF"] = str(folder / "storage.conf")
        (folder / "storage.conf").write_text(
            '[storage]\ndriver = "overlay"\n'
            f'graphroot = "{folder / "graph"}"\nrunroot = "{folder / "run"}"\n'
        )
        self.configure({}, {})

    def configure(self, engine: dict[str, str], containers: dict[str, list[str]]) -> None:
        tables = {
            "engine": {**engine, "tmp_dir": str(self.folder / "tmp"), "events_logger": "none"},
            "containers": containers,
            "network": {"network_config_dir": str(self.folder / "networks")},
        }
        lines = []
        for name, values in tables.items():
            lines.append(f"[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        (self.folder / "containers.conf").write_text("\n".join(lines) + "\n")

    def run(
        self, *words: str, check: bool = True, seconds: float = RUN_SECONDS, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """One podman command to its end."""
        ended = subprocess.run(
            ["podman", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            **{"stdin": subprocess.DEVNULL, **options},  # type: ignore[call-overload]
        )
        assert not check or ended.returncode == 0, f"podman {' '.join(words)}\n{ended.stderr}"
        return ended

    def give(self, folder: Path) -> None:
        """Give all in `folder` to the user of the images, as its container sees it."""
        owner = f"{USER_ID}:{USER_ID}"
        rootless = [] if os.geteuid() == 0 else ["podman", "unshare"]
        command = [*rootless, "chown", "-R", owner, str(folder)]
        subprocess.run(command, env=self.environment, check=True, timeout=RUN_SECONDS)

    def take_back(self, folder: Path) -> None:
        """The other way round, so that we may read and remove it."""
        if os.geteuid() != 0:
            command = ["podman", "unshare", "chown", "-R", "0:0", str(folder)]
            subprocess.run(command, env=self.environment, check=True, timeout=RUN_SECONDS)

    def clear(self) -> None:
        """Remove every container, network and image of this store."""
        self.run("rm", "--all", "--force", "--time", "0", check=False)
        self.run("network", "prune", "--force", check=False)
        self.run("rmi", "--all", "--force", check=False)
        overlay = self.folder / "graph" / "overlay"
        if os.geteuid() != 0:
            self.run("unshare", "rm", "-rf", str(self.folder / "graph"), check=False)
        elif overlay.is_mount():  # podman binds it to itself, and leaves it so
            subprocess.run(["umount", str(overlay)], timeout=RUN_SECONDS, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def podman_host(folder: Path) -> Iterator[tuple[Podman, str]]:
    """podman and the base image, by digest; skips with the reason where there is none."""
    if shutil.which("podman") is None:
        pytest.skip("podman is missing (Debian, Ubuntu: podman, runc, catatonit, debootstrap)")
    podman = Podman(folder)
    try:
        base = _base_image(podman)
        _find_a_way(podman, base)
        yield podman, base
    finally:
        podman.clear()


def _base_image(podman: Podman) -> str:
    """Pulled where a registry is to be had; made by debootstrap otherwise."""
    if given := os.environ.get(BASE):
        podman.run("pull", "--quiet", given, seconds=RUN_SECONDS)
        return given
    with suppress(subprocess.TimeoutExpired):
        if podman.run("pull", "--quiet", PULLED, check=False, seconds=PULL_SECONDS).returncode == 0:
            return f"{PULLED.rpartition(':')[0]}@{_digest(podman, PULLED)}"
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip(
            f"no registry gives {PULLED}, and no base image can be made here (Debian, Ubuntu: "
            f"debootstrap, as root); {BASE} names another by digest"
        )
    root = podman.folder / "root"
    _do(["debootstrap", "--variant=minbase", SUITE, str(root)])
    for archive in (root / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    _do(["tar", "-C", str(root), "-cf", str(podman.folder / "base.tar"), "."])
    podman.run("import", "--quiet", str(podman.folder / "base.tar"), f"{MADE}:latest")
    shutil.rmtree(root)
    (podman.folder / "base.tar").unlink()
    return f"{MADE}@{_digest(podman, f'{MADE}:latest')}"


def _digest(podman: Podman, name: str) -> str:
    return podman.run("image", "inspect", "--format", "{{.Digest}}", name).stdout.strip()


def _do(command: Sequence[str]) -> None:
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=MAKE_SECONDS, check=False
    )
    if ended.returncode:
        pytest.skip(f"{command[0]} failed: {(ended.stderr or ended.stdout).strip()[-400:]}")


def _find_a_way(podman: Podman, base: str) -> None:
    """The first configuration with which a strict container runs."""
    hard = {
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "nproc": resource.getrlimit(resource.RLIMIT_NPROC)[1],
    }
    most = {"nofile": NOFILE, "nproc": NPROC}
    limits = []
    for name, value in hard.items():
        number = most[name] if value == resource.RLIM_INFINITY else min(value, most[name])
        limits.append(f"{name}={number}:{number}")
    told = ""
    for engine in ({}, {"cgroup_manager": "cgroupfs"}, {"runtime": "runc"}, _MODEST):
        for containers in ({}, {"default_ulimits": limits}):
            podman.configure(engine, containers)
            tried = podman.run("run", "--rm", *STRICT, *LIMITS, base, "true", check=False)
            if tried.returncode == 0:
                return
            told = tried.stderr.strip().splitlines()[-1]
    pytest.skip(f"podman runs no container here: {told}")


_MODEST = {"runtime": "runc", "cgroup_manager": "cgroupfs"}
