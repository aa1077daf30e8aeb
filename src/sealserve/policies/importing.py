"""From `ra_config.json` to a policy: text in, text and findings out.

All four values of an entry are checked, whatever its switches say: a check that was off is a
warning here and no hole. The platform is judged as every policy judges it, so the insecure switches
of the published server come along only as an exception that somebody answers for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sealserve.errors import UsageError
from sealserve.policies.checking import check_policy
from sealserve.policies.finding import Finding, Severity, errors, in_order
from sealserve.policies.insecure import (
    Allowed,
    Lenience,
    read_start_script,
    refusals,
    tcb_statuses,
)
from sealserve.policies.ra_config import Entry, RaConfig, parse_ra_config
from sealserve.policies.toml_text import basic_string

RA_CONFIG_LIMIT: Final = 32 << 10  # bytes: the published server reads a hundred enclaves at most
_NAME: Final = 60  # characters of the secret's name that begin other names


@dataclass(frozen=True, slots=True)
class Answer:
    """Who switches checks off answers for it: why, until when, and for which advisories."""

    reason: str
    expires: date
    advisory_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the file does not say: which secret its enclaves may have, and how."""

    secret: str
    encoding: str
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """The start script of the published key server: its name and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Imported:
    """The policy's text, None where a finding is an error, and the findings in their order."""

    text: str | None
    enclaves: int
    findings: tuple[Finding, ...]


def import_ra_config(text: str, wish: Wish, now: datetime, script: Script | None) -> Imported:
    """The policy that means what `text` meant, for one secret.

    Raises ConfigError for a text that is not JSON, UsageError for an answer to nothing or one that
    does not stand.
    """
    config, found = parse_ra_config(text)
    allowed, of_script = read_start_script(script.text, script.name) if script else ((), ())
    allowed = config.allowed + allowed
    findings = [*found, *of_script, *_still_checked(config)]
    if wish.answer is None:
        findings += refusals(allowed)
    else:
        _check_answer(wish.answer, allowed, now)
    if errors(findings):
        return Imported(None, len(config.entries), in_order(findings))
    lines = _policy(config, wish, allowed, hashlib.sha256(text.encode()).hexdigest())
    policy = "\n".join(lines) + "\n"
    checked = check_policy(policy, now)
    if errors(checked.findings):
        raise UsageError(
            "the imported policy is not sound: " + "; ".join(map(str, errors(checked.findings))),
            hint="correct the values that are named in ra_config.json, or the options",
        )
    return Imported(policy, len(config.entries), in_order(findings))


def _still_checked(config: RaConfig) -> Iterator[Finding]:
    for member in config.off:
        key = member.key.removeprefix("verify_")
        yield Finding(
            Severity.WARNING,
            member.line,
            "ra-config.off",
            f"{member.key} is off; the policy checks {key} all the same",
            f"if every {key} is meant, widen the identity by hand",
        )


def _check_answer(answer: Answer, allowed: tuple[Allowed, ...], now: datetime) -> None:
    if not allowed:
        raise UsageError(
            "an exception is described, and no insecure switch is on that needs one",
            hint="leave out the --exception options",
        )
    if answer.expires < now.date():
        raise UsageError(f"the exception would have ended already, on {answer.expires}")


def _policy(
    config: RaConfig, wish: Wish, allowed: tuple[Allowed, ...], digest: str
) -> Iterator[str]:
    groups = _groups(config.entries)
    rule = wish.secret[:_NAME]
    names = [f"{rule} enclave {number}" for number in range(1, len(groups) + 1)]
    yield "# Imported from ra_config.json (SHA-256 " + digest + ")."
    yield "# An enclave must be one of those named here, in all four values, on an up-to-date"
    yield "# platform under Intel's root, without debug. Line numbers are those of that file."
    yield "version = 2"
    yield 'trust_root = "intel"'
    for name, entries in zip(names, groups, strict=True):
        yield from _identity(name, entries)
    yield ""
    yield "[[rules]]"
    yield f"name = {basic_string(rule)}"
    yield f"identities = [{', '.join(map(basic_string, names))}]"
    yield f"secret = {basic_string(wish.secret)}"
    yield f'encoding = "{wish.encoding}"'
    if wish.answer is not None:
        yield from _exception(rule, wish.answer, allowed)


def _groups(entries: tuple[Entry, ...]) -> list[list[Entry]]:
    """The entries by signer, product and version: each group is one identity."""
    groups: dict[tuple[bytes, int, int], list[Entry]] = {}
    for entry in entries:
        key = (entry.mr_signer, entry.isv_prod_id, entry.isv_svn)
        groups.setdefault(key, []).append(entry)
    return list(groups.values())


def _identity(name: str, entries: list[Entry]) -> Iterator[str]:
    first = entries[0]
    yield ""
    yield "[[identities]]"
    yield f"name = {basic_string(name)}"
    yield "mr_enclave = ["
    for entry in entries:
        yield f'  "{entry.mr_enclave.hex()}",  # line {entry.line}'
    yield "]"
    yield f'mr_signer = "{first.mr_signer.hex()}"'
    yield f"isv_prod_id = {first.isv_prod_id}"
    yield f"minimum_isv_svn = {first.isv_svn}"
    yield f"maximum_isv_svn = {first.isv_svn}  # exact, as there; without it later ones pass, too"


def _exception(rule: str, answer: Answer, allowed: tuple[Allowed, ...]) -> Iterator[str]:
    yield ""
    for each in allowed:
        file = _in_a_comment(each.script or "ra_config.json")
        yield f"# {each.lenience} was on: {file}, line {each.line}."
    yield "[[exceptions]]"
    yield f"name = {basic_string(f'switches of the old server for {rule}')}"
    yield f"reason = {basic_string(answer.reason)}"
    yield f"expires = {answer.expires.isoformat()}"
    statuses = tcb_statuses(allowed)
    if statuses:
        yield f"tcb_statuses = [{', '.join(map(basic_string, statuses))}]"
    if answer.advisory_ids:
        yield f"advisory_ids = [{', '.join(map(basic_string, answer.advisory_ids))}]"
    if any(each.lenience is Lenience.DEBUG for each in allowed):
        yield "dangerously_allow_debug = true"
    yield f"rules = [{basic_string(rule)}]"


def _in_a_comment(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:100]
