"""podman and docker, as far as compositions need them: found, asked, told.

`compose up` starts; everything else is asked of the engine itself, by labels, since podman-compose
knows neither changes nor orphans, leaves networks, and prints errors with exit code 0. Sources:
docker and podman CLI references; podman_compose.py 1.0.3.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sealserve.deploy.compose.composefile import NAME_LABEL, PROJECT_LABEL
from sealserve.deploy.images import roles
from sealserve.errors import ConfigError, NetworkError

SECONDS: Final = 120.0  # for one command; starting has its own deadline
PIDS_LIMIT: Final = 1024  # where podman-compose does not know a service's own


@dataclass(frozen=True, slots=True)
class Container:
    """One container; `restarts` counts how often its policy has started it again."""

    name: str
    service: str
    state: str
    exit_code: int
    restarts: int
    started: str
    labels: dict[str, str]
    ports: dict[str, str]
    """What is published, `127.0.0.1:8500`, by the port inside, `8500/tcp`."""


@dataclass(frozen=True, slots=True)
class Engine:
    """podman or docker, and the words that begin a compose command."""

    name: str
    program: str
    compose: tuple[str, ...]

    @property
    def owner_is_root(self) -> bool:
        """Whether user ids inside are those of the machine."""
        return self.name == "docker" or os.geteuid() == 0

    def run(self, *words: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """A command to its end, whatever that is; raises NetworkError at the deadline."""
        return _run((self.program, *words), seconds)

    def ask(self, *words: str) -> str:
        """What a command that must succeed prints; raises NetworkError."""
        ended = self.run(*words)
        if ended.returncode:
            raise NetworkError(
                f"`{self.name} {words[0]}` ended with exit code {ended.returncode}: "
                f"{_last_line(ended.stderr)}",
                hint=f"does `{self.name} info` work for this user?",
            )
        return ended.stdout

    def up(self, file: Path, project: str, *, groups: Sequence[int], seconds: float) -> str:
        """Have the compose tool start what does not run; returns what it printed."""
        extra: list[str] = []
        if self.name == "podman":
            extra = [f"--podman-run-args={words}" for words in self._run_words(groups)]
        words = (*self.compose, *extra, "-f", str(file), "-p", project, "up", "-d")
        ended = _run(words, seconds)
        printed = ended.stdout + ended.stderr
        if ended.returncode:
            raise ConfigError(
                f"`{' '.join(self.compose)} up` ended with exit code {ended.returncode}: "
                f"{_last_line(printed)}"
            )
        return printed

    def _run_words(self, groups: Sequence[int]) -> Iterator[str]:
        """What podman-compose hands to podman, for it does not know these keys of the file."""
        yield f"--pids-limit={PIDS_LIMIT}"
        yield "--read-only-tmpfs=false"  # else more than /tmp is writable
        yield from (f"--group-add={group}" for group in groups)
        if not self.owner_is_root:
            yield f"--userns=keep-id:uid={roles.USER_ID},gid={roles.USER_ID}"

    def containers(self, project: str) -> tuple[Container, ...]:
        """All of the project's, whatever their state."""
        names = self.ask(
            *("ps", "-a", "--filter", f"label={PROJECT_LABEL}={project}"),
            *("--format", "{{.Names}}"),
        ).split()
        if not names:
            return ()
        return tuple(map(_container, json.loads(self.ask("container", "inspect", *names))))

    def has_image(self, image: str) -> bool:
        """Whether it is on this machine."""
        return self.run("image", "inspect", image).returncode == 0

    def last_exit_code(self, container: str) -> int | None:
        """Of a container that its policy may have started again; None where nobody knows."""
        event = "died" if self.name == "podman" else "die"
        words = ["events", "--since", "24h"]
        words += ["--filter", f"container={container}", "--filter", f"event={event}"]
        if self.name == "podman":
            words += ["--stream=false", "--format", "json"]
        else:
            words += ["--until", "0s", "--format", "{{json .}}"]
        lines = self.run(*words).stdout.splitlines()
        try:
            last = json.loads(lines[-1])
            code = last.get("ContainerExitCode") or last["Actor"]["Attributes"]["exitCode"]
            return int(code)
        except (IndexError, KeyError, TypeError, ValueError):
            return None

    def signal(self, container: str, name: str) -> None:
        """Send a signal to its first process."""
        self.ask("kill", "--signal", name, container)

    def remove(self, container: str, *, seconds: int) -> None:
        """Stop it within `seconds`, kill it then, and remove it."""
        self.run("stop", "-t", str(seconds), container, seconds=SECONDS + seconds)
        self.ask("rm", "-f", container)


def find_engine(name: str) -> Engine | None:
    """The engine of that name with a compose tool; None where one of the two is not installed."""
    program = shutil.which(name)
    if program is None:
        return None
    for words in _COMPOSE[name]:
        path = shutil.which(words[0])
        if path is not None and _answers((path, *words[1:], "version")):
            return Engine(name, program, (path, *words[1:]))
    return None


_COMPOSE: Final = {
    "podman": (("podman-compose",),),
    "docker": (("docker", "compose"), ("docker-compose",)),
}


def _answers(words: Sequence[str]) -> bool:
    try:
        return _run(words, 20.0).returncode == 0
    except NetworkError:
        return False


def _run(words: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NetworkError(
            f"`{Path(words[0]).name} {words[1]}` did not end in {seconds:.0f} s"
        ) from None
    except OSError as error:
        raise ConfigError(f"{words[0]} cannot be run: {error.strerror}") from error


def _container(facts: dict[str, Any]) -> Container:
    labels = facts["Config"]["Labels"]
    state = facts["State"]
    published = (facts.get("NetworkSettings") or {}).get("Ports") or {}
    return Container(
        name=facts["Name"].lstrip("/"),
        service=labels.get(NAME_LABEL, ""),
        state=state["Status"],
        exit_code=state["ExitCode"],
        restarts=facts.get("RestartCount", 0),
        started=str(state.get("StartedAt", "")),
        labels=labels,
        ports={
            inside: f"{bound[0]['HostIp'] or '127.0.0.1'}:{bound[0]['HostPort']}"
            for inside, bound in published.items()
            if bound
        },
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "(nothing printed)"
