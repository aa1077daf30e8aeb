"""`sealserve k8s scale`: more servers, or fewer."""

from __future__ import annotations

from dataclasses import asdict

import click

from sealserve.cli.k8s_options import service_options, wait_option
from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.kubernetes.live.scaling import after_apply
from sealserve.deploy.kubernetes.live.scaling import scale as have
from sealserve.deploy.kubernetes.live.service import Service

POD_SECONDS = 1200.0
POD_WAIT = "each pod has to get ready, or to be gone"


@click.command()
@service_options
@click.argument("replicas", type=click.IntRange(min=1, max=100_000))
@wait_option(POD_SECONDS, POD_WAIT)
@json_option
def scale(service: Service, replicas: int, seconds: float, as_json: bool) -> None:
    """Have REPLICAS servers of the service that FILE describes, and wait until they serve.

    Where an autoscaler decides, REPLICAS becomes the least that it keeps, and the most where that
    was less. More than the nodes have enclave memory for is refused. What is set here holds until
    the next `k8s apply`, whose description says another number.

    \b
    Example:
      sealserve k8s scale sealserve.toml 4
    """
    scaled = have(service, replicas, seconds=seconds, tell=note)
    later = after_apply(service.plan, replicas, scaled.bounds)
    if as_json:
        simulated = service.plan.target.simulated
        print_json({**asdict(scaled), "next_apply": later, "simulated": simulated})
        return
    click.echo(f"serving   {scaled.serving}, before {scaled.before}")
    if scaled.bounds is not None:
        click.echo(f"bounds    {scaled.bounds} ({scaled.autoscaler})")
    if later is not None:
        click.echo(f"later     {later}")
