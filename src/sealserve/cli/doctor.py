"""`sealserve doctor`: what this machine has and lacks, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from sealserve.cli.output import json_option, print_json
from sealserve.deploy.clouds import CLOUDS
from sealserve.deploy.description.reading import load_description
from sealserve.deploy.doctor import Report, examine, examine_sgx
from sealserve.deploy.finding import Finding
from sealserve.deploy.sgx import Machine
from sealserve.errors import UsageError


@click.command()
@click.option("--pccs", metavar="URL", help="The collateral service to ask for an answer.")
@click.option("--cloud", type=click.Choice(CLOUDS), help="What a machine of this cloud needs, too.")
@click.option("--sgx", is_flag=True, help="All about this machine's SGX (or TDX), and only that.")
@click.option(
    "--description",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --sgx: the service that is to run here; is there memory for it?",
)
@json_option
def doctor(
    pccs: str | None, cloud: str | None, sgx: bool, description: Path | None, as_json: bool
) -> int:
    """Report what this machine has and lacks for the lab and for hardware, and what to do.

    The exit code is 0 if the lab can run here, and 1 if it cannot. What hardware, edge and
    deployment lack is reported, and does not change it. With --sgx each finding also says what was
    expected, and the exit code is 0 if nothing that enclaves need is missing.

    \b
    Example:
      sealserve doctor
      sealserve doctor --sgx --description sealserve.toml
      sealserve doctor --cloud azure
      sealserve doctor --pccs https://localhost:8081/sgx/certification/v4 --json
    """
    if description is not None and not sgx:
        raise UsageError("--description goes with --sgx")
    if sgx:
        described = load_description(description) if description else None
        report = examine_sgx(Machine(Path("/")), description=described, pccs=pccs, cloud=cloud)
    else:
        report = examine(pccs=pccs, cloud=cloud)
    if as_json:
        verdict = {"evidence_is_ready" if sgx else "lab_can_run": _is_good(report, thorough=sgx)}
        verdict["hardware_is_ready"] = report.hardware_is_ready
        print_json({**verdict, "findings": [asdict(finding) for finding in report.findings]})
    else:
        _print(report, thorough=sgx)
        click.echo(_summary(report, thorough=sgx))
    return 0 if _is_good(report, thorough=sgx) else 1


def _is_good(report: Report, *, thorough: bool) -> bool:
    return report.evidence_is_ready if thorough else report.lab_can_run


def _print(report: Report, *, thorough: bool) -> None:
    width = max(len(finding.name) for finding in report.findings)
    area = ""
    for finding in report.findings:
        if finding.area != area:
            area = finding.area
            click.secho(area, bold=True)
        click.echo(f"  {_mark(finding)}  {finding.name:<{width}}  {finding.found}")
        indent = f"      {'':<{width}}  "
        if thorough and finding.expected and not finding.good:
            click.echo(f"{indent}expected: {finding.expected}")
        if finding.advice:
            click.echo(f"{indent}{click.style(finding.advice, fg='yellow')}")


def _mark(finding: Finding) -> str:
    if finding.good:
        return click.style("ok", fg="green")
    return click.style("--", fg="red" if finding.needed else "yellow")


def _summary(report: Report, *, thorough: bool) -> str:
    ready = "Enclaves can run here." if report.hardware_is_ready else "Enclaves cannot run here."
    if not thorough:
        lab = "The lab can run here." if report.lab_can_run else "The lab cannot run here yet."
        return f"{lab} {ready}"
    if report.evidence_is_ready:
        return "Nothing that evidence needs is missing; sealserve selftest --hardware tries it."
    if any(finding.area == "guest" for finding in report.findings):
        return "This TDX guest lacks something: the lines in red."
    if not report.hardware_is_ready:
        return ready
    return "Enclaves can run here, but nothing that verifies their evidence can be fetched."
