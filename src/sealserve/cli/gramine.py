"""`sealserve gramine`: what an enclave is made of; each command is in a module beside this."""

from __future__ import annotations

import click

from sealserve.cli.gramine_lint import lint
from sealserve.cli.gramine_measure import measure
from sealserve.cli.gramine_render import render
from sealserve.cli.gramine_verify_build import verify_build


@click.group()
def gramine() -> None:
    """Make Gramine manifests from a description, look for their weaknesses, measure the enclave.

    \b
    Example:
      sealserve gramine render sealserve.toml --out enclave
    """


gramine.add_command(render)
gramine.add_command(lint)
gramine.add_command(measure)
gramine.add_command(verify_build)
