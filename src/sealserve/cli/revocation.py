"""`sealserve revocation`: what no policy can allow, from the next release on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from sealserve.cli.administration_options import Access, administration_options
from sealserve.cli.output import json_option, print_json
from sealserve.errors import UsageError
from sealserve.keyservice.administration.values import Target, TargetKind

_Command = TypeVar("_Command", bound=Callable[..., Any])
_HELP = {
    TargetKind.MEASUREMENT: "An MRENCLAVE; an MRTD or RTMR: one build.",
    TargetKind.SIGNER: "An MRSIGNER: every build that it signed.",
    TargetKind.PLATFORM: "A platform's id (PPID), of 32 hex digits.",
    TargetKind.SECRET: "A secret, or one version of it.",
}


def target_options(command: _Command) -> _Command:
    """The options of which exactly one names a target; the command is handed `target: Target`."""

    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:
        named = {kind: given.pop(kind.value) for kind in TargetKind}
        found = [Target.parse(kind, text) for kind, text in named.items() if text is not None]
        if len(found) != 1:
            options = ", ".join(f"--{kind}" for kind in TargetKind)
            raise UsageError(f"name exactly one of {options}")
        return command(target=found[0], **given)

    for kind in reversed(TargetKind):
        form = "NAME[@VERSION]" if kind is TargetKind.SECRET else "HEX"
        wrapped = click.option(f"--{kind}", kind.value, metavar=form, help=_HELP[kind])(wrapped)
    return cast(_Command, wrapped)


@click.group()
def revocation() -> None:
    """Revoke measurements, signers, platforms and secrets, whatever the policy says.

    \b
    Example:
      sealserve revocation add --measurement $(printf 'ab%.0s' $(seq 32)) \\
        --reason 'a bug in its parser' --config keyservice.toml
      sealserve revocation list --config keyservice.toml
    """


@revocation.command()
@target_options
@click.option("--reason", required=True, help="Why; it goes on record.")
@administration_options
@json_option
def add(target: Target, reason: str, access: Access, as_json: bool) -> None:
    """Revoke something: from the next release on, in every copy of the service.

    \b
    Example:
      sealserve revocation add --secret resnet50@1 --reason 'the key leaked' \\
        --config keyservice.toml
    """
    with access.open() as admin:
        admin.revoke(target, reason)
    if as_json:
        print_json({"revoked": _facts(target)})
        return
    click.echo(f"revoked {target.kind} {target.value}, from the next release on")


@revocation.command()
@target_options
@click.option("--reason", required=True, help="Why; it goes on record.")
@administration_options
@json_option
def lift(target: Target, reason: str, access: Access, as_json: bool) -> None:
    """Take a revocation back: the policy alone decides again.

    \b
    Example:
      sealserve revocation lift --secret resnet50@1 --reason 'it was another key' \\
        --config keyservice.toml
    """
    with access.open() as admin:
        admin.lift(target, reason)
    if as_json:
        print_json({"lifted": _facts(target)})
        return
    click.echo(f"{target.kind} {target.value} is no longer revoked")


@revocation.command("list")
@administration_options
@json_option
def list_(access: Access, as_json: bool) -> None:
    """List everything that is revoked; who did it and why is in the audit log.

    \b
    Example:
      sealserve revocation list --config keyservice.toml
    """
    with access.open() as admin:
        found = admin.revocations()
    if as_json:
        print_json({"revocations": [_facts(target) for target in found]})
        return
    for target in found:
        click.echo(f"{target.kind:<12} {target.value}")
    if not found:
        click.echo("nothing is revoked")


def _facts(target: Target) -> dict[str, str]:
    return {"kind": str(target.kind), "value": target.value}
