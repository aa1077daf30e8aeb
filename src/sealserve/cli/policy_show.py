"""`sealserve policy show`: the policy in force."""

from __future__ import annotations

import click

from sealserve.cli.administration_options import Access, administration_options
from sealserve.cli.output import json_option, print_json
from sealserve.errors import UsageError


@click.command()
@administration_options
@json_option
def show(access: Access, as_json: bool) -> None:
    """Print the policy that is in force, as it was applied; --json says when, and by whom.

    \b
    Example:
      sealserve policy show --config keyservice.toml > policy.toml
    """
    with access.open() as admin:
        found = admin.policy()
    if found.text is None:
        raise UsageError("no policy is in force", code="no-policy")
    if as_json:
        print_json(
            {
                "policy": found.text,
                "policy_sha256": found.sha256,
                "revision": found.revision,
                "applied_at": None if found.applied_at is None else found.applied_at.isoformat(),
                "applied_by": found.applied_by,
            }
        )
        return
    click.echo(found.text, nl=False)
