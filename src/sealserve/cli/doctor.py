"""`sealserve doctor`: what this machine has and lacks, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict

import click

from sealserve.cli.output import json_option, print_json
from sealserve.deploy.clouds import CLOUDS
from sealserve.deploy.doctor import Report, examine


@click.command()
@click.option("--pccs", metavar="URL", help="The collateral service to ask for an answer.")
@click.option("--cloud", type=click.Choice(CLOUDS), help="What a machine of this cloud needs, too.")
@json_option
def doctor(pccs: str | None, cloud: str | None, as_json: bool) -> int:
    """Report what this machine has and lacks for the lab and for hardware, and what to do.

    The exit code is 0 if the lab can run here, and 1 if it cannot. What hardware, edge and
    deployment lack is reported, and does not change it.

    \b
    Example:
      sealserve doctor
      sealserve doctor --cloud azure
      sealserve doctor --pccs https://localhost:8081/sgx/certification/v4 --json
    """
    report = examine(pccs=pccs, cloud=cloud)
    if as_json:
        print_json(
            {
                "lab_can_run": report.lab_can_run,
                "hardware_is_ready": report.hardware_is_ready,
                "findings": [asdict(finding) for finding in report.findings],
            }
        )
    else:
        _print(report)
    return 0 if report.lab_can_run else 1


def _print(report: Report) -> None:
    width = max(len(finding.name) for finding in report.findings)
    area = ""
    for finding in report.findings:
        if finding.area != area:
            area = finding.area
            click.secho(area, bold=True)
        mark = click.style("ok", fg="green") if finding.good else click.style("--", fg="yellow")
        click.echo(f"  {mark}  {finding.name:<{width}}  {finding.found}")
        if finding.advice:
            click.echo(f"      {'':<{width}}  {click.style(finding.advice, fg='yellow')}")
    lab = "The lab can run here." if report.lab_can_run else "The lab cannot run here yet."
    ready = "Enclaves can run here." if report.hardware_is_ready else "Enclaves cannot run here."
    click.echo(f"{lab} {ready}")
