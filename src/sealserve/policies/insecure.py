"""The switches by which Gramine's verifier accepts what it should not, and what they stand for.

The published key server's start script exports all four; some keep them beside `ra_config.json`, as
keys of that file. Each one that is on is an error with its line, until its owner turns it into an
exception: named, justified, dated, and for the advisories that were looked at.

Source: Gramine documentation, "Attestation and Secret Provisioning", RA_TLS_ALLOW_* variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sealserve.policies.finding import Finding, Severity
from sealserve.verifier.claims import TcbStatus

_MENTIONED: Final = re.compile(
    r"(?<![A-Za-z0-9_])RA_TLS_(?P<name>ALLOW_[A-Z_]+)(?:=(?P<value>\"[^\"]*\"|'[^']*'|[^\s;&|]*))?"
)


class Lenience(StrEnum):
    """What a switch lets pass, by the name of its variable without `RA_TLS_`."""

    DEBUG = "allow_debug_enclave_insecure"
    OUTDATED = "allow_outdated_tcb_insecure"
    CONFIGURATION = "allow_hw_config_needed"
    HARDENING = "allow_sw_hardening_needed"


# A status of two words passed only with both switches on.
_NEEDED: Final = {
    TcbStatus.SW_HARDENING_NEEDED: {Lenience.HARDENING},
    TcbStatus.CONFIGURATION_NEEDED: {Lenience.CONFIGURATION},
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: {Lenience.HARDENING, Lenience.CONFIGURATION},
    TcbStatus.OUT_OF_DATE: {Lenience.OUTDATED},
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: {Lenience.OUTDATED, Lenience.CONFIGURATION},
}


@dataclass(frozen=True, slots=True)
class Allowed:
    """A switch that is on, where it stands."""

    line: int
    lenience: Lenience
    script: str | None = None
    """The start script that it stands in; None is `ra_config.json` itself."""


def by_name(name: str) -> Lenience | None:
    """The switch that goes by `name`, with or without the `_insecure` that two of them end in."""
    for lenience in Lenience:
        if name in (lenience.value, lenience.value.removesuffix("_insecure")):
            return lenience
    return None


def tcb_statuses(allowed: Iterable[Allowed]) -> tuple[TcbStatus, ...]:
    """The statuses that pass with these switches on, beside UpToDate."""
    on = {each.lenience for each in allowed}
    return tuple(status for status, needed in _NEEDED.items() if needed <= on)


def read_start_script(text: str, name: str) -> tuple[tuple[Allowed, ...], tuple[Finding, ...]]:
    """The switches that a shell script turns on, and those of which one cannot tell.

    Gramine takes `1` for on and everything else for off. A value that the shell works out is an
    error, and so is a switch that is mentioned without a value; lines that are comments are not
    read.
    """
    allowed: list[Allowed] = []
    findings: list[Finding] = []
    for number, line in enumerate(text.splitlines(), start=1):
        mentions = () if line.lstrip().startswith("#") else _MENTIONED.finditer(line)
        for mention in mentions:
            lenience = by_name(mention["name"].lower())
            value = mention["value"]
            if lenience is None or value is None or re.search(r"[$`\\]", value):
                findings.append(_unclear(name, number, mention[0]))
            elif value.strip("\"'") == "1":
                allowed.append(Allowed(number, lenience, name))
    return tuple(allowed), tuple(findings)


def _unclear(name: str, line: int, text: str) -> Finding:
    return Finding(
        Severity.ERROR,
        line,
        "ra-config.start-script",
        f"it says {text[:80]!r}, and nobody can tell from here what that comes to",
        "write 1 or 0, or remove it",
        file=name,
    )


def refusals(allowed: Iterable[Allowed]) -> tuple[Finding, ...]:
    """The error that each switch is, as long as nothing answers for it."""
    return tuple(
        Finding(
            Severity.ERROR,
            each.line,
            "ra-config.insecure",
            f"{each.lenience} is on, for every enclave and without end",
            "switch it off; or answer for it: --exception-reason, --exception-expires, and "
            "--exception-advisory for each advisory that you have looked at",
            file=each.script,
        )
        for each in allowed
    )
