"""`sealserve k8s logs`: what all pods of a service print, each line with whose it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Final

import click

from sealserve.cli.k8s_options import service_options
from sealserve.cli.output import note
from sealserve.deploy.kubernetes.live.pods import Container
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.plan import COMPONENTS, Component
from sealserve.errors import NetworkError, SealServeError

LOOK_AGAIN: Final = 2.0  # seconds, for pods that came


@click.command()
@service_options
@click.argument("component", required=False, type=click.Choice(COMPONENTS))
@click.option("--follow", is_flag=True, help="Go on with what is printed from now on.")
@click.option("--previous", is_flag=True, help="Of containers that ended and were started anew.")
@click.option(
    "--lines",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="How many lines of each, from the end.",
)
def logs(
    service: Service, component: Component | None, follow: bool, previous: bool, lines: int
) -> None:
    """Print the logs of all pods, or of one component, each line with its pod and container.

    With --follow, of pods that come later too, until interrupted.

    \b
    Example:
      sealserve k8s logs sealserve.toml
      sealserve k8s logs sealserve.toml server --follow
    """
    wanted = COMPONENTS if component is None else (component,)
    if follow:
        _follow(service, wanted, lines)
        return
    for container in _containers(service, wanted):
        for line in container.log(lines=lines, previous=previous).splitlines():
            click.echo(f"{_head(container)}{line}")


def _containers(service: Service, wanted: tuple[Component, ...]) -> Iterator[Container]:
    """Every container, those that only prepare first."""
    for component in wanted:
        for pod in service.pods(component):
            specification = pod["spec"]
            every = [*specification.get("initContainers", []), *specification["containers"]]
            yield from (service.container(pod, each["name"]) for each in every)


def _follow(service: Service, wanted: tuple[Component, ...], lines: int) -> None:
    """Each container once for each time it is started; of those that come later, all lines."""
    followed: set[tuple[str, str]] = set()
    shown: int | None = lines
    while True:
        try:
            for container, started in _started(service, wanted):
                key = container.pod, started
                if key not in followed:
                    followed.add(key)
                    arguments = (container, shown)
                    threading.Thread(target=_print, args=arguments, daemon=True).start()
            shown = None
        except NetworkError as error:
            note(str(error))
        time.sleep(LOOK_AGAIN)


def _started(service: Service, wanted: tuple[Component, ...]) -> Iterator[tuple[Container, str]]:
    """Containers that run or have run, with the identity that they have until the next start."""
    for component in wanted:
        for pod in service.pods(component):
            status = pod["status"]
            every = [
                *status.get("initContainerStatuses", []),
                *status.get("containerStatuses", []),
            ]
            for each in every:
                if identity := each.get("containerID"):
                    yield service.container(pod, each["name"]), str(identity)


def _print(container: Container, lines: int | None) -> None:
    try:
        for line in container.follow(lines=lines):
            click.echo(f"{_head(container)}{line}")
    except SealServeError as error:
        note(f"{_head(container)}{error}")


def _head(container: Container) -> str:
    return f"{container.pod} {container.name} | "
