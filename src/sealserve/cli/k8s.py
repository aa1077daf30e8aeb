"""`sealserve k8s`: a service in a Kubernetes cluster, rendered from its description."""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.k8s_apply import apply
from sealserve.cli.k8s_delete import delete
from sealserve.cli.k8s_diagnose import diagnose
from sealserve.cli.k8s_logs import logs
from sealserve.cli.k8s_scale import scale
from sealserve.cli.k8s_status import status
from sealserve.cli.k8s_upgrade import upgrade
from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.description.reading import load_description
from sealserve.deploy.kubernetes.render import CHARTS_FOLDER, OVERLAYS_FOLDER
from sealserve.deploy.kubernetes.render import render as render_everything
from sealserve.deploy.kubernetes.targets import TARGETS, own_target
from sealserve.deploy.writing import write_new


@click.group()
def k8s() -> None:
    """A service in a Kubernetes cluster: rendered for kubectl and Helm, or applied and kept here.

    \b
    Example:
      sealserve k8s render sealserve.toml --out cluster
      sealserve k8s apply sealserve.toml --ca ssl_configure/server/cert.pem
    """


@k8s.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write into; nothing there is overwritten.",
)
@json_option
def render(file: Path, out: Path, as_json: bool) -> None:
    """Render a Kustomize base with overlays, and Helm charts, from the description FILE.

    The same description gives the same bytes. No cluster is asked, and no secret is written.

    \b
    Example:
      sealserve k8s render sealserve.toml --out cluster
      kubectl apply -k cluster/kustomize/overlays/generic
    """
    description = load_description(file)
    rendered = render_everything(description)
    written = write_new(out, rendered.files)
    target = own_target(description.cloud)
    folders = {
        name: {
            "title": each.title,
            "overlay": str(out / OVERLAYS_FOLDER / name),
            "chart": str(out / CHARTS_FOLDER / name),
        }
        for name, each in TARGETS.items()
    }
    if as_json:
        print_json(
            {
                "description_sha256": description.digest,
                "files": [str(path) for path in written],
                "targets": folders,
                "own_target": target.name,
                "to_seal": list(rendered.to_seal),
            }
        )
        return
    click.echo(f"description  sha256 {description.digest}")
    click.echo(f"written      {len(written)} files below {out}")
    for name, each in folders.items():
        click.echo(f"{name:<11}  {each['overlay']}, {each['chart']}: {each['title']}")
    click.echo(f"apply        kubectl apply -k {folders[target.name]['overlay']}")
    for path in rendered.to_seal:
        note(f"{out / path}: seal it for {path.removeprefix('to-seal/')}")


for each in (apply, status, diagnose, scale, upgrade, logs, delete):
    k8s.add_command(each)
