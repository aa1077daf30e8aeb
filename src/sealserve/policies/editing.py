"""Adding a reference value to a policy file, without touching anything else in it.

The text is edited where the value belongs, so that comments, order and layout stay as their author
made them. What comes out is read again and must be the old document with exactly the intended
change: a file whose form this does not know is refused, never damaged.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from typing import Any, Final

from sealserve.appraisal.identities import SgxIdentity, TdxIdentity
from sealserve.appraisal.policy import parse_policy
from sealserve.errors import ConfigError, UsageError
from sealserve.policies.places import Path, Places
from sealserve.policies.toml_text import basic_string

_AFTER_VALUE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*(,)?")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a SIGSTRUCT says of its enclave, and a remark on where that comes from."""

    mr_enclave: bytes
    mr_signer: bytes
    isv_prod_id: int
    isv_svn: int
    remark: str


@dataclass(frozen=True, slots=True)
class Edited:
    """The new text, and what was done in a sentence; `changed` is false where nothing had to be."""

    text: str
    changed: bool
    done: str


def add_measurement(text: str, identity: str, reference: Reference, *, create: bool) -> Edited:
    """The policy `text` with `reference`'s MRENCLAVE added to the identity of that name.

    Where there is none, `create` makes it. Raises ConfigError for a file that is no policy,
    UsageError where the value does not belong to that identity.
    """
    found = _find(text, identity, create=create)
    measurement = reference.mr_enclave.hex()
    if found is None:
        table: dict[str, Any] = {"name": identity, "mr_enclave": [measurement]}
        return _with_identity(text, table, reference.remark)
    index, existing = found
    if existing.mr_enclave is None:
        raise UsageError(
            f"the identity {identity!r} goes by its signer: an MRENCLAVE would narrow it to one "
            "build",
            hint="add it by its signer (--by-signer), or to another identity",
        )
    _check_signer(existing, reference)
    if reference.mr_enclave in existing.mr_enclave:
        return Edited(text, False, f"{measurement} is already in {identity!r}")
    path = ("identities", index, "mr_enclave")
    edited = _append(text, path, f'"{measurement}"', reference.remark)
    expected = tomllib.loads(text)
    expected["identities"][index]["mr_enclave"].append(measurement)
    return _checked(edited, expected, f"{measurement} is now in {identity!r}")


def add_signer(text: str, identity: str, reference: Reference, *, create: bool) -> Edited:
    """The policy `text` with an identity of that name that takes every build of the signer.

    It takes the product of `reference` from its security version on. Raises like
    `add_measurement`; the identity that exists is never widened.
    """
    found = _find(text, identity, create=create)
    if found is None:
        table = {
            "name": identity,
            "mr_signer": reference.mr_signer.hex(),
            "isv_prod_id": reference.isv_prod_id,
            "minimum_isv_svn": reference.isv_svn,
        }
        return _with_identity(text, table, reference.remark)
    _, existing = found
    if existing.mr_signer is None or existing.mr_enclave is not None:
        raise UsageError(
            f"the identity {identity!r} goes by MRENCLAVE: its builds are named one by one",
            hint="leave out --by-signer, or name another identity",
        )
    _check_signer(existing, reference)
    return Edited(text, False, f"{identity!r} takes this build already")


def _find(text: str, name: str, *, create: bool) -> tuple[int, SgxIdentity] | None:
    """The place and value of the identity; None where it is to be made."""
    policy = parse_policy(text)
    for index, identity in enumerate(policy.identities):
        if identity.name != name:
            continue
        if isinstance(identity, TdxIdentity):
            raise UsageError(
                f"the identity {name!r} is a TDX trust domain, and a SIGSTRUCT is of an enclave"
            )
        return index, identity
    if create:
        return None
    names = [identity.name for identity in policy.identities]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    raise UsageError(
        f"the policy has no identity {name!r}"
        + (f"; the nearest name is {nearest[0]!r}" if nearest else ""),
        hint="correct the name, or make a new identity: --create",
    )


def _check_signer(existing: SgxIdentity, reference: Reference) -> None:
    """Raise UsageError where the identity asks for another signer, product or version."""
    if existing.mr_signer is None or existing.minimum_isv_svn is None:
        return
    pairs = (
        ("mr_signer", reference.mr_signer.hex(), existing.mr_signer.hex()),
        ("isv_prod_id", reference.isv_prod_id, existing.isv_prod_id),
    )
    for key, found, expected in pairs:
        if found != expected:
            raise UsageError(
                f"the SIGSTRUCT has {key} {found}, the identity {existing.name!r} {expected}",
                hint="add it to another identity, or sign the enclave as this one expects",
            )
    if reference.isv_svn < existing.minimum_isv_svn:
        raise UsageError(
            f"the SIGSTRUCT has isv_svn {reference.isv_svn}, the identity {existing.name!r} takes "
            f"{existing.minimum_isv_svn} or more",
            hint="older versions were shut out on purpose: sign with a newer one",
        )


def _append(text: str, path: Path, value: str, remark: str) -> str:
    """`text` with `value` at the end of the array at `path`, laid out like the entry before it."""
    places = Places(text)
    array = places.span(path)
    count = sum(1 for each in places.paths() if each[:-1] == path)
    last = places.span((*path, count - 1))
    line_start = text.rfind("\n", 0, last.start) + 1
    indent = text[line_start : last.start]
    after = _AFTER_VALUE.match(text, last.end)
    comma = bool(after and after[1])
    line_end = text.find("\n", after.end() if after and comma else last.end, array.end)
    if line_start < array.start or indent.strip() or line_end < 0:
        return f"{text[: last.end]}, {value}{text[last.end :]}"
    new_line = f"{indent}{value},{_comment(remark)}{_newline(text)}"
    before = text[: last.end] + ("" if comma else ",")
    return before + text[last.end : line_end + 1] + new_line + text[line_end + 1 :]


def _with_identity(text: str, table: dict[str, Any], remark: str) -> Edited:
    """`text` with a new identity after the last one, or at its end."""
    expected = tomllib.loads(text)
    expected.setdefault("identities", []).append(table)
    places = Places(text)
    ends = [places.span(path).end for path in places.paths() if path[0] == "identities"]
    line_end = text.find("\n", max(ends)) if ends else -1
    at = len(text) if line_end < 0 else line_end + 1
    newline = _newline(text)
    lines = ["", f"[[identities]]{_comment(remark)}"]
    lines += [f"{key} = {_written(value)}" for key, value in table.items()]
    before = text[:at] if text[:at].endswith("\n") or not text[:at] else text[:at] + newline
    return _checked(
        before + newline.join(lines) + newline + text[at:],
        expected,
        f"the identity {table['name']!r} is new; no rule names it yet",
    )


def _written(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return basic_string(value) if isinstance(value, str) else str(value)


def _checked(text: str, expected: dict[str, Any], done: str) -> Edited:
    try:
        same = tomllib.loads(text) == expected
    except ValueError:
        same = False
    if not same:
        raise ConfigError(
            "the policy is written in a form that cannot be edited here",
            hint="add the value by hand; `sealserve evidence show FILE.sig` prints it",
        )
    parse_policy(text)
    return Edited(text, True, done)


def _comment(remark: str) -> str:
    printable = _UNPRINTABLE.sub("?", remark)[:100]
    return f"  # {printable}" if printable else ""


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
