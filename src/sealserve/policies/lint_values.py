"""Doubts about single values: measurements that look like slips of the pen, odd lists.

A measurement is the output of a hash, so what looks like anything but noise was not measured: all
zeros, a short pattern over and over, two that differ in a digit, one that stands for two things.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sealserve.appraisal.identities import Identity, SgxIdentity
from sealserve.appraisal.policy import Policy
from sealserve.policies.finding import Doubt, Severity
from sealserve.policies.places import Path

_LONGEST_PATTERN: Final = 8  # bytes
_REMEMBERED: Final = 3  # places of one value beside which a further one is held
# The guide of TensorFlow Serving Cluster PPML and its repository: examples, measured elsewhere.
PUBLISHED_EXAMPLES: Final = frozenset(
    bytes.fromhex(value)
    for value in (
        "39b02dbf3cd6d6c68eb227a5da019c3721162085116a614ab4be0d1f81199d8f",
        "ae483edd52e38b2ef67f3962b75ad47f987db8d3a42d0cd1ca7b6ee4c7035a6e",
        "7de5ab70f2cd92cb7c0f9274befe3493470cec5a2bc7b2df2e224a614ec7fd90",
        "b11a7be39a7ba685e1807f1d295d65bbd8ac5436da615f686312f34419786ae8",
    )
)


class Measured(NamedTuple):
    """A measurement, and where it stands."""

    path: Path
    key: str
    value: bytes


def doubts_of_values(policy: Policy) -> Iterator[Doubt]:
    """What is doubtful in measurements, lists and names."""
    measured = [each for each in _measurements(policy) if any(each.value)]
    yield from _zeros(policy)
    for each in measured:
        yield from _one(each)
    yield from _pairs(measured)
    yield from _lists(policy)
    yield from _names(policy)


def _measurements(policy: Policy) -> Iterator[Measured]:
    for index, identity in enumerate(policy.identities):
        for key, values in _lists_of(identity):
            for place, value in enumerate(values):
                yield Measured(("identities", index, key, place), key, value)
        if isinstance(identity, SgxIdentity) and identity.mr_signer is not None:
            yield Measured(("identities", index, "mr_signer"), "mr_signer", identity.mr_signer)


def _lists_of(identity: Identity) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    if isinstance(identity, SgxIdentity):
        yield "mr_enclave", identity.mr_enclave or ()
        return
    yield "mr_td", identity.mr_td
    yield "mr_seam", identity.mr_seam or ()
    for number, values in enumerate(identity.rtmrs):
        yield f"rtmr{number}", values or ()


def _zeros(policy: Policy) -> Iterator[Doubt]:
    """Zeros where a hash belongs; a run-time register that nothing was measured into is zero."""
    for each in _measurements(policy):
        if not any(each.value) and not each.key.startswith("rtmr"):
            yield _doubt(each, "zeros", f"{each.key} is all zeros, which nothing has")
    if policy.trust_root is not None and not any(policy.trust_root):
        yield Doubt(
            Severity.ERROR,
            ("trust_root",),
            "zeros",
            "trust_root is all zeros, which no certificate has",
            'write the fingerprint of the root, or "intel"',
        )


def _one(each: Measured) -> Iterator[Doubt]:
    size = len(each.value)
    for length in range(1, _LONGEST_PATTERN + 1):
        if size % length == 0 and each.value == each.value[:length] * (size // length):
            pattern = each.value[:length].hex()
            yield _doubt(
                each,
                "pattern",
                f"{each.key} is {pattern} over and over, as no hash is",
                severity=Severity.WARNING,
            )
            break
    if each.value in PUBLISHED_EXAMPLES:
        yield _doubt(
            each,
            "example",
            f"{each.key} is an example from the published guide, not yours",
            severity=Severity.WARNING,
        )


def _pairs(measured: list[Measured]) -> Iterator[Doubt]:
    """What is odd about a value beside one before it; each is looked up, not compared with all."""
    same: dict[bytes, list[Measured]] = {}
    nearly: dict[tuple[int, str], Measured] = {}
    for each in measured:
        earlier = same.setdefault(each.value, [])
        for other in earlier:
            yield from _same(other, each)
        earlier[_REMEMBERED:] = ()
        earlier.append(each)
        if len(earlier) > 1:
            continue
        digits = each.value.hex()
        rests = [(place, digits[:place] + digits[place + 1 :]) for place in range(len(digits))]
        for other in [nearly[rest] for rest in rests if rest in nearly][:1]:
            yield _doubt(
                each,
                "one-digit",
                f"{each.key} differs in one digit from {_place(other)}, as no two hashes do",
                severity=Severity.WARNING,
            )
        nearly.update(dict.fromkeys(rests, each))


def _same(first: Measured, second: Measured) -> Iterator[Doubt]:
    if {first.key, second.key} == {"mr_enclave", "mr_signer"}:
        yield _doubt(second, "two-meanings", f"{second.key} is the same value as {_place(first)}")
    elif first.key == second.key and first.path[:2] == second.path[:2]:
        yield _doubt(
            second,
            "twice",
            f"{second.key} has {second.value.hex()} twice",
            severity=Severity.WARNING,
        )
    elif first.key == second.key == "mr_enclave":
        yield _doubt(
            second,
            "twice",
            f"this MRENCLAVE stands in two identities: {_place(first)}, too",
            severity=Severity.WARNING,
        )


def _place(each: Measured) -> str:
    numbers = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in each.path)
    return numbers.removeprefix(".")


def _doubt(
    each: Measured, code: str, message: str, *, severity: Severity = Severity.ERROR
) -> Doubt:
    hint = "compare with what `sealserve evidence show` prints of the SIGSTRUCT or the quote"
    return Doubt(severity, each.path, code, message, hint)


def _lists(policy: Policy) -> Iterator[Doubt]:
    platform = policy.platform
    lists: dict[Path, Iterable[object]] = {
        ("platform", "fmspcs"): platform.fmspcs or (),
        ("platform", "platform_ids"): platform.platform_ids or (),
    }
    for index, rule in enumerate(policy.rules):
        lists["rules", index, "identities"] = rule.identities
        lists["rules", index, "asked_for"] = rule.asked_for or ()
        lists["rules", index, "secrets"] = rule.secrets or ()
    for index, each in enumerate(policy.exceptions):
        lists["exceptions", index, "advisory_ids"] = each.advisory_ids
        lists["exceptions", index, "tcb_statuses"] = each.tcb_statuses
        lists["exceptions", index, "rules"] = each.rules or ()
        lists["exceptions", index, "fmspcs"] = each.fmspcs or ()
    for path, values in lists.items():
        yield from _list(path, tuple(values))


def _list(path: Path, values: tuple[object, ...]) -> Iterator[Doubt]:
    for place, value in enumerate(values):
        shown = value.hex() if isinstance(value, bytes) else str(value)
        if value in values[:place]:
            yield Doubt(
                Severity.WARNING,
                (*path, place),
                "twice",
                f"{path[-1]} has {shown} twice",
                "remove one, or correct what was meant to differ",
            )
        if isinstance(value, bytes) and not any(value):
            yield Doubt(
                Severity.ERROR,
                (*path, place),
                "zeros",
                f"{path[-1]} has all zeros, which no platform has",
                "`sealserve quote verify` prints fmspc, ppid and platform_instance_id",
            )


def _names(policy: Policy) -> Iterator[Doubt]:
    for index, rule in enumerate(policy.rules):
        for place, name in enumerate(rule.asked_for or ()):
            if re.fullmatch(r"[0-9.]+", name):
                yield Doubt(
                    Severity.WARNING,
                    ("rules", index, "asked_for", place),
                    "address",
                    f"asked_for has the address {name}: TLS clients send host names, never "
                    "addresses",
                    "give the key service a name, and let its clients connect to that",
                )
