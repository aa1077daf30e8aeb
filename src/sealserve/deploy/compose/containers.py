"""A composition in containers: made as `compose.yaml` says, mended, asked, ended in order.

A container whose service is described otherwise now, or no more, is removed before the compose tool
makes it anew; the others run on. What is mounted for writing, the key service's own folder, is
never removed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from sealserve.deploy.compose.composefile import (
    DIGEST_LABEL,
    NAME_LABEL,
    STOP_SECONDS,
    compose_document,
    compose_text,
    render_nginx,
    service_digests,
)
from sealserve.deploy.compose.engine import Container, Engine
from sealserve.deploy.compose.hardware import Sgx
from sealserve.deploy.compose.plan import KEY_SERVICE, PROXY, Composition
from sealserve.deploy.compose.probe import Ask, answers, has_certificate
from sealserve.deploy.compose.state import State
from sealserve.deploy.compose.status import Status, failure
from sealserve.deploy.compose.waiting import Waiting
from sealserve.deploy.images.roles import USER_ID
from sealserve.errors import ConfigError
from sealserve.files import PUBLIC, write_file

COMPOSE_FILE: Final = "compose.yaml"
POLL_SECONDS: Final = 1.0
_PROXY_RESTARTS: Final = 10

Tell = Callable[[str], None]


def up(
    composition: Composition,
    engine: Engine,
    sgx: Sgx | None,
    state: State,
    facts: Mapping[str, Any],
    *,
    tell: Tell,
    seconds: float,
) -> None:
    """Make what is not there and what has changed, and wait until all of it is ready.

    Raises what became of the first service that did not get so far; it is stopped then, for its
    restart policy would have it ask for keys for ever.
    """
    document = compose_document(composition, sgx, state=state.path)
    _check_images(document, engine)
    _check_owners(composition, engine)
    names = [str(each["labels"][NAME_LABEL]) for each in document["services"].values()]
    state.write({**facts, "services": names})
    text = render_nginx(composition) if composition.has_proxy else ""
    if text:
        write_file(state.path / "nginx.conf", text.encode(), mode=PUBLIC)
    compose = state.path / COMPOSE_FILE
    write_file(compose, compose_text(composition, document).encode(), mode=PUBLIC)
    wanted = service_digests(document)
    _remove_stale(composition.project, engine, wanted, tell)
    waiting = Waiting(seconds, tell)
    before = engine.containers(composition.project)
    if wanted.keys() - {each.name for each in before if each.state == "running"}:
        tell(f"{COMPOSE_FILE}: {engine.name} starts what does not run")
        groups = sgx.groups if sgx is not None else ()
        printed = engine.up(compose, composition.project, groups=groups, seconds=seconds)
        found = engine.containers(composition.project)
        missing = wanted.keys() - {each.name for each in found}
        if missing:
            lines = printed.strip().splitlines()
            raise failure(min(missing), 1, lines, f"{compose} is what {engine.name} was given")
        _follow(engine, before, found, tell)
    _wait(composition, engine, waiting, tell)


def status(
    state: State, project: str, engine: Engine, *, simulated: bool, name: str, ask: Ask
) -> Iterator[Status]:
    """Each service, the key service first and the proxy last; servers are asked under `name`."""
    record = state.record() or {}
    found = {each.service: each for each in engine.containers(project)}
    for service in record.get("services", ()):
        each = found.get(service)
        if each is None:
            yield Status(service, "not there", "", False, simulated)
            continue
        address = next(iter(each.ports.values()), "")
        ready = each.state == "running" and _answers(each, name, ask)
        yield Status(service, each.state, address, ready, simulated)


def down(project: str, engine: Engine, *, tell: Tell) -> None:
    """Remove all containers, what clients reach first, and the network."""
    for each in sorted(engine.containers(project), key=_order, reverse=True):
        tell(f"{each.service}: ends")
        engine.remove(each.name, seconds=STOP_SECONDS)
    if project in engine.ask("network", "ls", "--format", "{{.Name}}").split():
        engine.ask("network", "rm", project)


def _order(container: Container) -> tuple[int, int]:
    first = {KEY_SERVICE: 0, PROXY: 2}.get(container.service, 1)
    number = re.search(r"[0-9]+$", container.service)
    return first, int(number[0]) if number else 0


def _answers(container: Container, name: str, ask: Ask) -> bool:
    if container.service == KEY_SERVICE:
        return any(answers(address, "tcp") for address in container.ports.values())
    return any(ask(address, name) for address in container.ports.values())


def _check_images(document: Mapping[str, Any], engine: Engine) -> None:
    images = {str(each["image"]) for each in document["services"].values()}
    if any(each.get("pull_policy") != "never" for each in document["services"].values()):
        return
    missing = sorted(image for image in images if not engine.has_image(image))
    if missing:
        raise ConfigError(
            f"{engine.name} has no image {', '.join(missing)}",
            hint="sealserve image build makes them; --registry names where they are; "
            "--with processes does without",
        )


def _check_owners(composition: Composition, engine: Engine) -> None:
    """The folders with private keys must be of the user that reads them in the container."""
    needed = USER_ID if engine.owner_is_root else os.geteuid()
    service = composition.key_service
    for folder in (composition.lab, service.folder if service else None):
        if folder is not None and folder.stat().st_uid != needed:
            raise ConfigError(
                f"{folder} is of user {folder.stat().st_uid}, and is used by user {needed} in the "
                "container: its private keys are for their owner alone",
                hint=f"chown -R {needed}:{needed} {folder}",
            )


def _remove_stale(project: str, engine: Engine, wanted: Mapping[str, str], tell: Tell) -> None:
    for each in sorted(engine.containers(project), key=_order, reverse=True):
        if each.name not in wanted:
            tell(f"{each.service}: is described no more, ends")
        elif each.labels.get(DIGEST_LABEL) != wanted[each.name]:
            tell(f"{each.service}: has changed, starts anew")
        else:
            continue
        engine.remove(each.name, seconds=STOP_SECONDS)


def _follow(
    engine: Engine, before: Sequence[Container], found: Sequence[Container], tell: Tell
) -> None:
    """Have an nginx that ran on ask for the addresses of servers that were started."""
    started = {each.service: each.started for each in before}
    new = {each.service for each in found if each.started != started.get(each.service)}
    for each in found:
        if each.service == PROXY and new and PROXY not in new:
            tell(f"{PROXY}: looks for the servers' addresses again")
            engine.signal(each.name, "HUP")


def _wait(composition: Composition, engine: Engine, waiting: Waiting, tell: Tell) -> None:
    ready: set[str] = set()
    began = {each.name: each.restarts for each in engine.containers(composition.project)}
    while True:
        found = sorted(engine.containers(composition.project), key=_order)
        for each in found:
            if each.state != "running" or each.name in ready:
                continue
            if _answers(each, composition.description.domain, has_certificate):
                ready.add(each.name)
                tell(f"{each.service}: ready, {next(iter(each.ports.values()), '')}")
        left = [each for each in found if each.name not in ready]
        if not left:
            return
        for each in left:
            if _has_ended(each, began.get(each.name, 0)):
                raise _ended(each, engine)
        if waiting.late:
            raise failure(
                left[0].service, None, _last_lines(left[0], engine), _where(left[0], engine)
            )
        waiting.pause(POLL_SECONDS, [each.service for each in left])


def _has_ended(container: Container, restarts: int) -> bool:
    """Whether it ended for a reason that stays; nginx does until it finds the servers by name."""
    again = container.restarts - restarts
    if container.service == PROXY:
        return again >= _PROXY_RESTARTS
    return again > 0 or container.state in ("exited", "dead", "stopped")


def _ended(container: Container, engine: Engine) -> Exception:
    code = engine.last_exit_code(container.name) or container.exit_code or 1
    lines = _last_lines(container, engine)
    engine.run("stop", "-t", "10", container.name)
    return failure(container.service, code, lines, _where(container, engine))


def _last_lines(container: Container, engine: Engine) -> list[str]:
    logs = engine.run("logs", "--tail", "30", container.name)
    return (logs.stdout + logs.stderr).strip().splitlines()


def _where(container: Container, engine: Engine) -> str:
    return f"{engine.name} logs {container.name} has all of it"
