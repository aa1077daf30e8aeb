"""What the `sealserve policy` commands share: how they read files and show findings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from sealserve.appraisal.policy import POLICY_LIMIT
from sealserve.errors import ConfigError
from sealserve.files import read_file
from sealserve.policies.finding import Finding, Severity

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}

policy_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


def read_text(path: Path, *, limit: int = 4 * POLICY_LIMIT) -> str:
    """The UTF-8 text in the file at `path`, its line ends as they are; raises ConfigError."""
    try:
        return read_file(path, limit=limit).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error


def print_findings(path: Path, findings: Iterable[Finding]) -> None:
    """Each finding as `FILE:LINE: severity: …`, as compilers write them, and what to do."""
    for each in findings:
        severity = click.style(f"{each.severity}:", fg=_COLOURS[each.severity], bold=True)
        click.echo(f"{each.file or path}:{each.line}: {severity} {each.message} [{each.code}]")
        click.echo(f"  hint: {each.hint}")


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each severity."""
    listed = list(findings)
    return {
        f"{severity}s": sum(each.severity is severity for each in listed) for severity in Severity
    }
