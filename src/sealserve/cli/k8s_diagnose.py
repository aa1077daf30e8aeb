"""`sealserve k8s diagnose`: why a service in a cluster does not serve, in a sentence each."""

from __future__ import annotations

import click

from sealserve.cli.k8s_options import service_options
from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Finding
from sealserve.deploy.kubernetes.live.diagnosis.causes.explaining import worst
from sealserve.deploy.kubernetes.live.diagnosis.diagnosing import diagnose as ask_why
from sealserve.deploy.kubernetes.live.service import Service


@click.command()
@service_options
@json_option
def diagnose(service: Service, as_json: bool) -> int:
    """Say why the service of the description FILE does not serve in its cluster, and what to do.

    From objects, events and logs, and from the audit log of a key service inside. Nothing is
    changed. The exit code is 0 if no error is found, otherwise that of the first: 4 denied by
    policy, 5 integrity, 3 network, 2 rejected evidence, 1 configuration; warnings change none.

    \b
    Example:
      sealserve k8s diagnose sealserve.toml
      sealserve k8s diagnose sealserve.toml --for lab --json
    """
    diagnosis = ask_why(service)
    found = diagnosis.findings
    if as_json:
        print_json(
            {
                "simulated": service.plan.target.simulated,
                "findings": [each.as_dict() for each in found],
                "unseen": list(diagnosis.unseen),
            }
        )
        return worst(found)
    for each in found:
        click.echo("\n".join(lines(each)))
    if not found:
        click.echo("nothing is wrong that can be seen")
    if diagnosis.unseen:
        note(f"not to be seen from here: {', '.join(diagnosis.unseen)}")
    return worst(found)


def lines(finding: Finding) -> list[str]:
    """A finding as it is printed."""
    pods = [f"  pods: {', '.join(finding.pods)}"] if finding.pods else []
    first = f"{finding.severity.value}: {finding.what} [{finding.code}]"
    return [first, f"  hint: {finding.cure}", *pods]
