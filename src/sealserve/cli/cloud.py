"""`sealserve cloud`: what is known of clouds, and Intel's configuration for them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from sealserve.cli.cloud_maa import maa_policy
from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.verification import Moment
from sealserve.deploy.clouds import CLOUDS, load_cloud
from sealserve.deploy.clouds.endings import endings, sentence
from sealserve.deploy.clouds.qcnl import render_qcnl
from sealserve.deploy.clouds.rows import Row, cloud_rows, common_rows
from sealserve.files import PUBLIC, write_file

_cloud_argument = click.argument("name", metavar="NAME", type=click.Choice(CLOUDS))
_region_option = click.option("--region", metavar="REGION", help="One of the cloud's regions.")


@click.group()
def cloud() -> None:
    """What is known of clouds with SGX, and the quote provider's configuration for them.

    Each fact has its source, and says what no document confirms; docs/clouds.md has them all.

    \b
    Example:
      sealserve cloud list
      sealserve cloud show azure
      sealserve cloud qcnl alibaba --region cn-hangzhou
      sealserve cloud maa-policy server.sig
    """


cloud.add_command(maa_policy)


@cloud.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the clouds: their machines, and where PCK certificates come from.

    \b
    Example:
      sealserve cloud list
      sealserve cloud list --json
    """
    clouds = [(name, load_cloud(name)) for name in CLOUDS]
    if as_json:
        listed = [
            {
                "name": name,
                "title": each.title,
                "families": [family.name for family in each.families],
                "pccs_url": each.service.pccs_url,
            }
            for name, each in clouds
        ]
        print_json({"clouds": listed})
        return
    width = max(map(len, CLOUDS))
    for name, each in clouds:
        families = ", ".join(family.name for family in each.families)
        click.echo(f"{click.style(f'{name:<{width}}', bold=True)}  {each.title}: {families}")
        click.echo(f"{'':<{width}}  {each.service.pccs_url}")


@cloud.command()
@_cloud_argument
@_region_option
@click.option("--at", type=Moment(), help="The time to warn for.  [default: now]")
@json_option
def show(name: str, region: str | None, at: datetime | None, as_json: bool) -> None:
    """Show all that is known of the cloud NAME, with sources, and warn of what ends.

    What no document confirms is marked.

    \b
    Example:
      sealserve cloud show azure --region weu
      sealserve cloud show tencent --json
    """
    chosen = load_cloud(name)
    rows = [*cloud_rows(chosen, region), *common_rows()]
    now = at or datetime.now(UTC)
    warnings = [sentence(each, now) for each in endings(chosen)]
    if as_json:
        facts = [row._asdict() for row in rows]
        found: dict[str, Any] = {"name": name, "title": chosen.title, "region": region}
        print_json({**found, "facts": facts, "warnings": warnings})
        return
    _print(chosen.title, rows)
    for warning in warnings:
        note(f"{click.style('note', fg='yellow')}: {warning}")


def _print(title: str, rows: list[Row]) -> None:
    click.secho(title, bold=True)
    width = max(len(row.name) for row in rows)
    area = ""
    for row in rows:
        if row.area != area:
            area = row.area
            click.secho(area, bold=True)
        click.echo(f"  {row.name:<{width}}  {row.value}")
        if row.unconfirmed:
            mark = click.style("UNCONFIRMED", fg="yellow")
            click.echo(f"  {'':<{width}}  {mark}: {row.unconfirmed}")
        click.echo(click.style(f"  {'':<{width}}  [{row.source}]", dim=True))


@cloud.command()
@_cloud_argument
@_region_option
@click.option("--pccs", metavar="URL", help="A service to ask in the place of the cloud's.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; it must not exist.  [default: standard output]",
)
@json_option
def qcnl(name: str, region: str | None, pccs: str | None, out: Path | None, as_json: bool) -> None:
    """Render sgx_default_qcnl.conf for the cloud NAME: where Intel's libraries ask.

    TLS is always verified: the authority of a private PCCS is added to the system's trusted ones.
    With --json the file's content is under `content`.

    \b
    Example:
      sealserve cloud qcnl azure --out sgx_default_qcnl.conf
      sealserve cloud qcnl tencent --region bj
      sealserve cloud qcnl generic --pccs https://pccs.example:8081/sgx/certification/v4/
    """
    chosen = load_cloud(name)
    text = render_qcnl(chosen, region=region, pccs=pccs)
    if out is not None:
        write_file(out, text, mode=PUBLIC, replace=False)
    if as_json:
        print_json({"file": None if out is None else str(out), "content": text.decode()})
    elif out is None:
        click.echo(text.decode(), nl=False)
    else:
        click.echo(f"wrote {out}")
    doubts = [chosen.service.unconfirmed] if pccs is None else []
    if region is not None and chosen.regions is not None and region not in chosen.regions.names:
        doubts.append(f"the region {region}")
    for doubt in filter(None, doubts):
        note(f"{click.style('note', fg='yellow')}: not confirmed: {doubt}")
