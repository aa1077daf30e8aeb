"""A composition from its description to what runs, and back: which way, up, status, down.

Without SGX and without a lab nothing starts. What runs one way is not started another way beside
it: it is ended first.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

from sealserve.deploy.compose import containers, processes
from sealserve.deploy.compose.engine import Engine, find_engine
from sealserve.deploy.compose.hardware import find_sgx
from sealserve.deploy.compose.plan import Composition, Way, check
from sealserve.deploy.compose.probe import Ask, has_certificate
from sealserve.deploy.compose.state import State
from sealserve.deploy.compose.status import Status
from sealserve.errors import ConfigError, NetworkError, UsageError

WAYS: Final[tuple[Way, ...]] = get_args(Way)
_INSTALL: Final = {
    "podman": "on Debian and Ubuntu: apt-get install podman podman-compose",
    "docker": "install Docker's engine with its compose plugin",
}

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What is in force for a description, by its record."""

    way: Way
    digest: str
    domain: str
    project: str
    simulated: bool


def in_force(state: State) -> Found | None:
    """What was brought up and not down again; None where nothing was."""
    record = state.record()
    if record is None:
        return None
    return Found(
        cast(Way, record["with"]),
        record["description_sha256"],
        record["domain"],
        record["project"],
        record["simulated"],
    )


def choose(asked: Way | None, state: State) -> tuple[Way, str]:
    """How to run it, and why: as asked, as it runs already, or with what is installed."""
    found = in_force(state)
    if found is not None:
        if asked not in (None, found.way):
            raise UsageError(
                f"it runs with {found.way} already",
                hint=f"sealserve down ends that; then --with {asked}",
            )
        return found.way, "as before"
    if asked is not None:
        return asked, "as asked"
    for name in _INSTALL:
        engine = find_engine(name)
        if engine is not None and _works(engine):
            return cast(Way, name), f"{name} and its compose are installed; others: --with"
    return "processes", "neither podman nor docker works here with a compose tool"


def bring_up(
    composition: Composition, way: Way, state: State, *, tell: Tell, seconds: float
) -> None:
    """Have all of it run and be ready within `seconds`; raises what keeps it from that."""
    check(composition, way)
    lab = composition.simulated
    sgx = None if lab else find_sgx(gramine=way == "processes")
    if lab:
        tell(
            f"SIMULATED: {composition.lab} stands in for SGX hardware, and nobody vouches for any "
            "enclave here"
        )
    facts = _facts(composition, way)
    with state.held(make=True):
        found = in_force(state)
        if found is not None and found.way != way:
            raise UsageError(f"it runs with {found.way} by now", hint="sealserve down")
        if found is not None and found.digest != composition.description.digest:
            tell(
                f"the description has changed: sha256 {found.digest[:12]} -> "
                f"{composition.description.digest[:12]}"
            )
        if way == "processes":
            processes.up(composition, state, facts, tell=tell, seconds=seconds)
        else:
            engine = engine_of(way)
            containers.up(composition, engine, sgx, state, facts, tell=tell, seconds=seconds)


def statuses(state: State, ask: Ask = has_certificate) -> tuple[Status, ...]:
    """Each service that is in force; `ask` says whether a server serves."""
    found = in_force(state)
    if found is None:
        return ()
    facts: dict[str, Any] = {"simulated": found.simulated, "name": found.domain, "ask": ask}
    if found.way == "processes":
        return tuple(processes.status(state, **facts))
    return tuple(containers.status(state, found.project, engine_of(found.way), **facts))


def bring_down(state: State, *, tell: Tell) -> bool:
    """End all of it and remove what is kept of it; whether there was anything."""
    if not state.path.exists():
        return False
    with state.held():
        found = in_force(state)
        if found is not None and found.way == "processes":
            processes.down(state, tell=tell)
        elif found is not None:
            containers.down(found.project, engine_of(found.way), tell=tell)
        state.remove()
    return found is not None


def log_commands(
    state: State, service: str | None, *, lines: int, follow: bool
) -> dict[str, list[str]]:
    """By service, the command that prints its log; UsageError for a service that there is not."""
    found = in_force(state)
    if found is None:
        return {}
    names = [each.name for each in processes.recorded(state)] if found.way == "processes" else []
    if found.way == "processes":
        tail = ["tail", "-n", str(lines), *(["-F"] if follow else [])]
        files = {name: state.path / f"{name}.log" for name in names}
        known = {name: [*tail, str(file)] for name, file in files.items() if file.exists()}
    else:
        engine = engine_of(found.way)
        words = [engine.program, "logs", "--tail", str(lines), *(["-f"] if follow else [])]
        known = {each.service: [*words, each.name] for each in engine.containers(found.project)}
    if service is None:
        return known
    if service not in known:
        raise UsageError(f"there is no service {service!r}", hint=f"known: {', '.join(known)}")
    return {service: known[service]}


def engine_of(way: Way) -> Engine:
    """The engine; raises ConfigError where it is not installed with its compose."""
    engine = find_engine(way)
    if engine is None:
        raise ConfigError(
            f"{way} with a compose tool is not installed",
            hint=f"{_INSTALL[way]}; or --with processes",
        )
    return engine


def _facts(composition: Composition, way: Way) -> dict[str, Any]:
    return {
        "with": way,
        "description": str(composition.file),
        "description_sha256": composition.description.digest,
        "domain": composition.description.domain,
        "project": composition.project,
        "simulated": composition.simulated,
    }


def _works(engine: Engine) -> bool:
    with suppress(NetworkError, ConfigError):
        return engine.run("info", seconds=20.0).returncode == 0
    return False


def state_of(file: Path) -> State:
    """The state of the description in `file`."""
    return State.of(file.resolve())
