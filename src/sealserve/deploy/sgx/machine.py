"""A machine as its files show it: the real one, or a folder that looks like one. Only reads.

Sources: Linux, `Documentation/filesystems/proc.rst` (cpuinfo, mounts, sys/kernel); group(5); the
marks of containers: podman-run(1) (`/run/.containerenv`), Docker's `/.dockerenv`, Kubernetes,
"Configure Service Accounts for Pods" (the folder of its token).
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

_LIMIT = 1 << 20  # bytes of a file that is read
_HERE = Path("/")
_CONTAINERS = {
    "run/.containerenv": "podman",
    ".dockerenv": "Docker",
    "var/run/secrets/kubernetes.io/serviceaccount": "Kubernetes",
}


@dataclass(frozen=True, slots=True)
class User:
    """Who will run the enclave, by numbers."""

    uid: int
    gids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Group:
    """A line of /etc/group."""

    name: str
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine whose files are under `root`, for `user`: by default whoever runs this."""

    root: Path
    user: User | None = None

    @property
    def is_here(self) -> bool:
        """It is the one that this runs on, so that it can be asked by other ways than files."""
        return self.root == _HERE

    def path(self, name: str) -> Path:
        """The file of this name, without a leading slash."""
        return self.root / name

    def text(self, name: str) -> str:
        """A small file, empty where it cannot be read."""
        try:
            with self.path(name).open("rb") as stream:
                return stream.read(_LIMIT).decode(errors="replace")
        except OSError:
            return ""

    def exists(self, name: str) -> bool:
        """Whether there is such a file, as far as this user can see."""
        try:
            return self.path(name).exists()
        except OSError:
            return False

    @property
    def flags(self) -> frozenset[str]:
        """What the kernel says of the first processor; nothing where it does not say."""
        return frozenset(self.of_processor("flags").split())

    def of_processor(self, key: str) -> str:
        """One value of the first processor's in /proc/cpuinfo."""
        for line in self.text("proc/cpuinfo").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
        return ""

    @property
    def release(self) -> str:
        """The kernel's, such as `5.15.0-1037-azure`; empty where it is not known."""
        return self.text("proc/sys/kernel/osrelease").strip()

    @property
    def container(self) -> str | None:
        """The kind of container that this is, None outside of one."""
        return next((kind for mark, kind in _CONTAINERS.items() if self.exists(mark)), None)

    def may_use(self, name: str) -> bool:
        """Whether the user may read and write the file."""
        path = self.path(name)
        if self.user is None:
            return os.access(path, os.R_OK | os.W_OK)
        found = path.stat()
        if self.user.uid == 0:
            return True
        if found.st_uid == self.user.uid:
            wanted = stat.S_IRUSR | stat.S_IWUSR
        elif found.st_gid in self.user.gids:
            wanted = stat.S_IRGRP | stat.S_IWGRP
        else:
            wanted = stat.S_IROTH | stat.S_IWOTH
        return found.st_mode & wanted == wanted

    def group(self, gid: int) -> Group:
        """The group of that number, under its number where it has no name."""
        for line in self.text("etc/group").splitlines():
            name, _, number, members, *_ = (line + ":::").split(":")
            if number == str(gid):
                return Group(name, frozenset(members.split(",")) - {""})
        return Group(str(gid), frozenset())


def version_in(text: str) -> tuple[int, int]:
    """The first version in a text, (0, 0) without one."""
    match = re.search(r"(\d{1,4})\.(\d{1,4})", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def gibibytes(size: int) -> str:
    """A number of bytes as people say it."""
    return f"{size / (1 << 30):.1f} GiB"
