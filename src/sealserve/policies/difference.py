"""One difference between two policies, and how extents read in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sealserve.policies.extent import NOT_STATED, AnyOf, Asks, Change, Extent, Range, compare

_SHOWN: Final = 8  # values of a list
_UNSTATED: Final = ", or not stated"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: what it lets in, where it is, and in words what it is."""

    change: Change
    place: str
    """`rule 'digits'`, for one."""
    text: str

    def as_dict(self) -> dict[str, str]:
        """The difference as a JSON object."""
        return {"change": self.change.value, "place": self.place, "text": self.text}


def differences(
    place: str, old: Mapping[str, Extent], new: Mapping[str, Extent]
) -> Iterator[Difference]:
    """What changed at `place`, key by key; both have the same keys."""
    for key, before in old.items():
        change = compare(before, new[key])
        if change is not None:
            yield Difference(change, place, f"{key}: {_step(before, new[key])}")


def _step(old: Extent, new: Extent) -> str:
    """What happened between two extents of one key, by the values that came and went."""
    if isinstance(old, AnyOf) and isinstance(new, AnyOf) and None not in (old.values, new.values):
        return _moves(old.values or frozenset(), new.values or frozenset())
    if isinstance(old, Asks) and isinstance(new, Asks) and old.unnamed == new.unnamed:
        return _moves(frozenset(old.names.patterns), frozenset(new.names.patterns))
    return f"was {_written(old)}, is {_written(new)}"


def _moves(before: frozenset[object], after: frozenset[object]) -> str:
    steps = (("added", after - before), ("removed", before - after))
    return ", ".join(f"{word} {shown(values)}" for word, values in steps if values)


def _written(extent: Extent) -> str:
    if isinstance(extent, Asks):
        return shown(extent.names.patterns) + (" or no name" if extent.unnamed else "")
    if isinstance(extent, AnyOf):
        return "any" if extent.values is None else shown(extent.values)
    if isinstance(extent, Range):
        return _numbers(extent) + (_UNSTATED if extent.unstated else "")
    return str(extent.bits) + (_UNSTATED if extent.unstated else "")


def _numbers(extent: Range) -> str:
    if extent.high is None:
        return f"{extent.low} or more"
    return str(extent.low) if extent.low == extent.high else f"{extent.low} to {extent.high}"


def shown(value: object) -> str:
    """A value as the file has it; of many, the first few."""
    if isinstance(value, (list, tuple, frozenset)):
        texts = [shown(each) for each in value]
        texts = sorted(texts) if isinstance(value, frozenset) else texts
        more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
        return (", ".join(texts[:_SHOWN]) or "none") + more
    if isinstance(value, bytes):
        return value.hex() if any(value) else "zero"
    return "not stated" if value is NOT_STATED else str(value)
