"""What linters of an operator's files find, printed and counted in one way."""

from __future__ import annotations

from collections.abc import Iterable

import click

from sealserve.deploy.weakness import Severity, Weakness

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def counted(found: Iterable[Weakness]) -> dict[str, int]:
    """How many there are of each severity."""
    severities = [each.severity for each in found]
    return {f"{severity}s": severities.count(severity) for severity in Severity}


def print_weaknesses(file: str, found: Iterable[Weakness]) -> None:
    """Each as compilers write them, what follows, and what to do; `file` where it names none."""
    for each in found:
        severity = click.style(f"{each.severity}:", fg=_COLOURS[each.severity], bold=True)
        place = each.file or file
        where = place if each.line is None else f"{place}:{each.line}"
        click.echo(f"{where}: {severity} {each.message} [{each.code}]")
        click.echo(f"  so: {each.consequence}")
        click.echo(f"  hint: {each.cure}")
