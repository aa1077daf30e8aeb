"""`sealserve k8s apply`: from a description to a service in a cluster that answers."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict

import click

from sealserve.cli.interruption import clean_end
from sealserve.cli.k8s_options import service_options, wait_option
from sealserve.cli.k8s_predict import Credentials, client_options, predict_each
from sealserve.cli.k8s_waiting import wait_for
from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.kubernetes.live.applying import apply_all
from sealserve.deploy.kubernetes.live.rollout import components
from sealserve.deploy.kubernetes.live.service import Service

READY_SECONDS = 1200.0


@click.command()
@service_options
@client_options
@wait_option(READY_SECONDS, "all of it has to get ready")
@json_option
def apply(
    service: Service,
    client: Credentials | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Have a cluster run what the description FILE says, and wait until it answers.

    Applied server-side: what others have set on the same fields becomes ours, what the description
    asks for no more is removed, claims and Secrets are left alone. It ends with a prediction of
    each model, over TLS that is verified. What keeps pods from getting ready is told meanwhile; an
    interrupted run changes nothing back, and may be run again.

    \b
    Example:
      sealserve k8s apply sealserve.toml --ca ssl_configure/server/cert.pem
      sealserve k8s apply sealserve.toml --for lab --without-prediction
    """
    note(f"to {service.cluster.context}, namespace {service.namespace}")
    began = time.monotonic()
    with clean_end():
        applied = apply_all(service, note)
        stages = {"applied": time.monotonic() - began}
        took = wait_for(service, components(service), seconds)
        stages |= {f"{name} ready": stages["applied"] + each for name, each in took.items()}
        how, predicted = ("", ()) if client is None else predict_each(service, client)
        if predicted:
            stages["first answer"] = time.monotonic() - began
    if as_json:
        print_json(
            {
                "applied": [asdict(each) for each in applied],
                "seconds": stages,
                "simulated": service.plan.target.simulated,
                "reached": how or None,
                "predictions": [asdict(each) for each in predicted],
            }
        )
        return
    counts = Counter(each.change for each in applied)
    click.echo(f"objects       {', '.join(f'{n} {change}' for change, n in counts.items())}")
    for name, at in stages.items():
        click.echo(f"{at:6.1f} s      {name}")
    for found in predicted:
        click.echo(f"predicted     {found.model}: {found}, by {how}")
