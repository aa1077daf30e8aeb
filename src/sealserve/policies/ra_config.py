"""`ra_config.json`, the published solution's list of accepted enclaves, read by the letter.

The guide of *TensorFlow Serving Cluster PPML* (Confidential Computing Zoo) documents it: four
switches, `verify_mr_enclave`, `verify_mr_signer`, `verify_isv_prod_id` and `verify_isv_svn`, each
`"on"` or `"off"`, and a list `mrs` of `mr_enclave`, `mr_signer`, `isv_prod_id` and `isv_svn`. Its
key server reads the file in ways that its authors did not mean (docs/migration.md has the list). So
one rule holds here: a value is read where what its author meant and what that server made of it are
the same, and everything else is an error with its line. Nothing is guessed, and nothing is dropped.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sealserve.policies.finding import Finding, Severity
from sealserve.policies.insecure import Allowed, by_name
from sealserve.policies.located_json import Located, Member, parse_json

SWITCHES: Final = ("verify_mr_enclave", "verify_mr_signer", "verify_isv_prod_id", "verify_isv_svn")
MEASUREMENTS: Final = ("mr_enclave", "mr_signer")
NUMBERS: Final = ("isv_prod_id", "isv_svn")
ENTRIES: Final = "mrs"
PUBLISHED_LIMIT: Final = 100  # entries: their server drops the rest

_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}")
_UINT16: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One enclave of the list, and its line."""

    line: int
    mr_enclave: bytes
    mr_signer: bytes
    isv_prod_id: int
    isv_svn: int


@dataclass(frozen=True, slots=True)
class RaConfig:
    """What the file says."""

    off: tuple[Member, ...]
    """The checks that it switches off."""
    allowed: tuple[Allowed, ...]
    """The insecure switches that it switches on."""
    entries: tuple[Entry, ...]


def parse_ra_config(text: str) -> tuple[RaConfig, tuple[Finding, ...]]:
    """What `text` says, and every fault in it; with an error among them it must not be used.

    Raises ConfigError, with the line, where the text is not JSON.
    """
    return _Reader().read(parse_json(text, "ra_config.json"))


class _Reader:
    """Collects the faults, so that a person learns of all of them at once."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []

    def read(self, document: Located) -> tuple[RaConfig, tuple[Finding, ...]]:
        members = self._members(document, "the document", {*SWITCHES, ENTRIES}, insecure=True)
        switched = {
            name: self._switch(member) for name, member in members.items() if name != ENTRIES
        }
        off = tuple(members[name] for name in SWITCHES if switched.get(name) is False)
        if len(off) == len(SWITCHES):
            self._error(
                off[0].line,
                "all-off",
                "all four checks are off, so the published server accepts every enclave there is",
                "switch on what identifies your enclave, and name it in mrs",
            )
        entries = self._entries(members[ENTRIES]) if ENTRIES in members else ()
        allowed = tuple(
            Allowed(members[name].line, lenience)
            for name, on in switched.items()
            if on and (lenience := by_name(name))
        )
        return RaConfig(off, allowed, entries), tuple(self._findings)

    def _switch(self, member: Member) -> bool | None:
        """Whether a switch is on; None, and an error, where it is neither on nor off."""
        value = member.value.value
        if isinstance(value, str) and value in ("on", "off"):
            return value == "on"
        self._error(
            member.value.line,
            "switch",
            f"{member.key} is {_shown(value)}: the published server switches a check off for "
            'most values but "on"',
            'write "on" or "off", in lower case and in quotes',
        )
        return None

    def _entries(self, member: Member) -> tuple[Entry, ...]:
        values = member.value.value
        if not isinstance(values, list) or not values:
            self._error(
                member.value.line,
                "mrs",
                f"{ENTRIES} is {_shown(values)}, expected a list of at least one enclave",
                "add the values that `sealserve evidence show FILE.sig` prints",
            )
            return ()
        if len(values) > PUBLISHED_LIMIT:
            self._error(
                values[PUBLISHED_LIMIT].line,
                "beyond-100",
                f"the published server dropped this entry and {len(values) - PUBLISHED_LIMIT - 1} "
                "after it, so nobody knows whether they are meant to be in force",
                f"import at most {PUBLISHED_LIMIT}, and add the rest to the policy by name",
            )
        read = [self._entry(value, index) for index, value in enumerate(values)]
        return self._without_repeats(entry for entry in read if entry is not None)

    def _entry(self, value: Located, index: int) -> Entry | None:
        members = self._members(value, f"{ENTRIES}[{index}]", {*MEASUREMENTS, *NUMBERS})
        hashes = {name: self._hash(members[name]) for name in MEASUREMENTS if name in members}
        numbers = {name: self._number(members[name]) for name in NUMBERS if name in members}
        enclave, signer = hashes.get("mr_enclave"), hashes.get("mr_signer")
        product, svn = numbers.get("isv_prod_id"), numbers.get("isv_svn")
        if enclave is None or signer is None or product is None or svn is None:
            return None
        return Entry(value.line, enclave, signer, product, svn)

    def _without_repeats(self, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        seen: dict[tuple[object, ...], Entry] = {}
        for entry in entries:
            key = (entry.mr_enclave, entry.mr_signer, entry.isv_prod_id, entry.isv_svn)
            if key in seen:
                self._warn(
                    entry.line,
                    "repeated",
                    f"this is the enclave of line {seen[key].line} once more",
                    "remove one of them, or correct what was meant to differ",
                )
            seen.setdefault(key, entry)
        return tuple(seen.values())

    def _hash(self, member: Member) -> bytes | None:
        value = member.value.value
        if isinstance(value, str) and _HEX.fullmatch(value) and value.strip("0"):
            return bytes.fromhex(value)
        if value == "*":
            found = "a wildcard, which would stand for every enclave"
        elif isinstance(value, str) and _HEX.fullmatch(value):
            found = "all zeros, which no enclave has"
        elif isinstance(value, str):
            found = f"{_shown(value)} of {len(value)} characters"
        else:
            found = _shown(value)
        self._error(
            member.value.line,
            "hex",
            f"{member.key} is {found}; the published server reads what it cannot read as zeros",
            "write the 64 hex digits that `sealserve evidence show FILE.sig` prints",
        )
        return None

    def _number(self, member: Member) -> int | None:
        value = member.value.value
        if value == "0" and isinstance(value, str):
            return 0  # the guide's own way to write it, and what its server makes of it
        if type(value) is int and 0 <= value <= _UINT16:
            return value
        quoted = isinstance(value, str) and value.isascii() and value.isdecimal()
        self._error(
            member.value.line,
            "quoted-number" if quoted else "number",
            f"{member.key} is {_shown(value)}"
            + (": the published server reads every number in quotes as 0" if quoted else ""),
            f"write {value} without quotes, if your enclave has that and not 0"
            if quoted
            else f"write a whole number from 0 to {_UINT16}, without quotes",
        )
        return None

    def _members(
        self, value: Located, what: str, known: set[str], *, insecure: bool = False
    ) -> Mapping[str, Member]:
        """The members of an object by name; each unknown, repeated or missing one is an error."""
        if not isinstance(value.value, tuple):
            self._error(
                value.line,
                "object",
                f"{what} is {_shown(value.value)}, expected an object",
                "compare with the guide's example",
            )
            return {}
        members: dict[str, Member] = {}
        for member in value.value:
            if member.key in members:
                self._error(
                    member.line,
                    "repeated-key",
                    f"{member.key} stands in {what} twice, first on line "
                    f"{members[member.key].line}: the published server reads only that one",
                    "remove the one that is wrong",
                )
            elif member.key in known or (insecure and by_name(member.key)):
                members[member.key] = member
            else:
                self._unknown(member, what, known)
        for name in sorted(known - members.keys()):
            self._error(
                value.line,
                "missing-key",
                f"{name} is missing in {what}: the published server crashes",
                f"add {name}",
            )
        return members

    def _unknown(self, member: Member, what: str, known: set[str]) -> None:
        nearest = difflib.get_close_matches(member.key.lower(), sorted(known), n=1, cutoff=0.0)[0]
        self._error(
            member.line,
            "unknown-key",
            f"{what} has an unknown key {_shown(member.key)}",
            f"the nearest that exists is {nearest}",
        )

    def _error(self, line: int, code: str, message: str, hint: str) -> None:
        self._findings.append(Finding(Severity.ERROR, line, f"ra-config.{code}", message, hint))

    def _warn(self, line: int, code: str, message: str, hint: str) -> None:
        self._findings.append(Finding(Severity.WARNING, line, f"ra-config.{code}", message, hint))


def _shown(value: object) -> str:
    """A value as its file has it, cut short."""
    if isinstance(value, tuple):
        return "an object"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)[:80] if not isinstance(value, str) else f'"{value[:80]}"'
