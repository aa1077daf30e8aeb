"""What commands on a running service share: its description, the kind of cluster, the way to it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from sealserve.cli.output import note
from sealserve.deploy.description.reading import load_description
from sealserve.deploy.kubernetes.live.api import connect
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.plan import SIMULATED
from sealserve.deploy.kubernetes.render import plan_for
from sealserve.deploy.kubernetes.targets import TARGETS, find_target, own_target

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.argument("file", type=_FILE),
    click.option(
        "--for",
        "kind",
        type=click.Choice(tuple(TARGETS)),
        help="The kind of cluster.  [default: the description's cloud, or generic]",
    ),
    click.option(
        "--kubeconfig", type=_FILE, help="How to reach it.  [default: KUBECONFIG, ~/.kube/config]"
    ),
    click.option("--context", help="A context of the kubeconfig.  [default: the current one]"),
)


def service_options(command: _Command) -> _Command:
    """The argument FILE and the way to its cluster; the command is handed `service: Service`.

    Every one of them says where nothing is vouched for.
    """

    @functools.wraps(command)  # with the options that it has already
    def wrapped(
        file: Path, kind: str | None, kubeconfig: Path | None, context: str | None, **others: Any
    ) -> Any:
        description = load_description(file)
        target = find_target(kind) if kind else own_target(description.cloud)
        plan = plan_for(description, target)
        if target.simulated:
            note(SIMULATED)
        return command(service=Service(plan, connect(kubeconfig, context)), **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return cast(_Command, wrapped)


def wait_option(seconds: float, what: str) -> Callable[[_Command], _Command]:
    """How long a command waits, handed as `seconds`."""
    return click.option(
        "--wait",
        "seconds",
        type=click.FloatRange(min=1),
        default=seconds,
        show_default=True,
        help=f"How many seconds {what}.",
    )
