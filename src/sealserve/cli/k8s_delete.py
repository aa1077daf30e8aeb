"""`sealserve k8s delete`: a service out of its cluster, its data only if that is asked for."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict

import click

from sealserve.cli.interruption import clean_end
from sealserve.cli.k8s_options import service_options, wait_option
from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.kubernetes.live.applying import delete_all
from sealserve.deploy.kubernetes.live.rollout import STEP
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.plan import COMPONENTS
from sealserve.errors import NetworkError, UsageError

GONE_SECONDS = 300.0


@click.command()
@service_options
@click.option(
    "--data", is_flag=True, help="The namespace too: claims, Secrets and all else that is in it."
)
@click.option("--yes", is_flag=True, help="Ask nobody.")
@wait_option(GONE_SECONDS, "its pods have to end")
@json_option
def delete(service: Service, data: bool, yes: bool, seconds: float, as_json: bool) -> None:
    """Remove a service from its cluster, what clients reach first, and wait until its pods ended.

    Namespace, claims, Secrets and the policy stay, so that `apply` brings it back; with --data they
    go too, and with them the key service's database, if it is inside.

    \b
    Example:
      sealserve k8s delete sealserve.toml
      sealserve k8s delete sealserve.toml --data --yes
    """
    _confirm(service, data, yes)
    with clean_end():
        removed = delete_all(service, note, data=data)
        _wait_gone(service, seconds, data)
    if as_json:
        print_json({"removed": [asdict(each) for each in removed]})
    elif not removed:
        note(f"there is nothing of {service.plan.name} in {service.cluster.context}")
    else:
        kept = "" if data else f"; the namespace {service.namespace} and its data stay"
        click.echo(f"removed {len(removed)} objects{kept}")


def _confirm(service: Service, data: bool, yes: bool) -> None:
    if yes:
        return
    what = f"{service.plan.name} from {service.cluster.context}"
    if not sys.stdin.isatty():
        raise UsageError("nothing was removed: nobody is at a terminal to say yes", hint="--yes")
    loss = ", WITH ALL ITS DATA" if data else ""
    if not click.confirm(f"Remove {what}{loss}?", err=True):
        raise UsageError("nothing was removed: you said no")


def _wait_gone(service: Service, seconds: float, data: bool) -> None:
    deadline = time.monotonic() + seconds
    while left := _left(service, data):
        if time.monotonic() > deadline:
            raise NetworkError(
                f"still there after {seconds:.0f} s: {', '.join(left)}", code="not-gone"
            )
        time.sleep(STEP)


def _left(service: Service, data: bool) -> list[str]:
    pods = [pod["metadata"]["name"] for name in COMPONENTS for pod in service.pods(name)]
    space = service.cluster.find("Namespace", service.namespace) if data else None
    return [*pods, *([f"namespace {service.namespace}"] if space is not None else [])]
