"""An upgrade on paper: from what to what, in which order, and what holds wherever it ends.

The order is the whole safety of it. The policy takes both enclaves before the first new one asks
for its key, and loses one only when no server runs it any more: the old one at the end, the new one
if it went back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sealserve.deploy.kubernetes.live.fields import Object
from sealserve.deploy.kubernetes.live.upgrade.revisions import Revision, former
from sealserve.errors import UsageError


class At(Enum):
    """How far an upgrade has come; `value` is what is true then, `{both}` if the policy changes."""

    NOTHING = "nothing was changed"
    ADMITTING = "the servers are as before{admitting}"
    ADMITTED = "the servers are as before{both}"
    ROLLING = (
        "the servers are being changed, or about to be: old ones serve until new ones do{both}"
    )
    ROLLED = "all servers are new{both}"
    RETIRING = "all servers are new{retiring}"
    DONE = "all servers are new{one}"
    RETURNING = "the former servers are being put back, and serve meanwhile{both}"
    WITHDRAWING = "the former servers serve{withdrawing}"
    RETURNED = "the former servers serve, and the policy is as before"


@dataclass(frozen=True, slots=True)
class Change:
    """From one enclave to another: MRENCLAVEs, None where it is not known or not needed.

    `rolls`: the servers' template changes. `back` is the template that is put back if it fails.
    """

    old: bytes | None
    new: bytes | None
    rolls: bool
    back: Object | None

    @property
    def of_policy(self) -> bool:
        """Whether the policy has to take another enclave."""
        return None not in (self.old, self.new) and self.old != self.new

    @property
    def by_signer(self) -> bool:
        """Whether the policy names no enclave, and is to take the new one by its signer."""
        return self.rolls and self.old is None


@dataclass(slots=True)
class Journal:
    """How far an upgrade has come, for whoever is told that it ended."""

    at: At = At.NOTHING
    change: Change | None = None
    back_to: str = ""  # the template that it goes back to, where it does


@dataclass(frozen=True, slots=True)
class Side:
    """What runs, or is to run: a template, and its enclave if that is known."""

    template: Object
    measurement: bytes | None


def sides(found: Sequence[Revision], now: Revision, *, rolls: bool) -> tuple[Side | None, Side]:
    """What an upgrade comes from, and what runs: the same, unless an earlier run has begun it."""
    runs = Side(now.template, now.measurement)
    before = former(found, now)
    if rolls:
        return runs, runs
    return None if before is None else Side(before.template, before.measurement), runs


def find_back(found: Sequence[Revision], now: Revision, wanted: str) -> Revision:
    """The revision of a template's hash, or the one before; UsageError where there is none."""
    chosen = (
        next((each for each in found if each.hash == wanted), None)
        if wanted
        else former(found, now)
    )
    if chosen is None:
        kept = ", ".join(each.hash for each in found)
        raise UsageError(
            "there is no such former template of the servers",
            code="no-revision",
            hint=f"kept are {kept}; or upgrade with the former description",
        )
    return chosen


def holds(at: At, change: Change | None) -> str:
    """What is true now, in a sentence."""
    if change is None or not change.of_policy or change.old is None or change.new is None:
        return at.value.partition("{")[0].partition(", and the policy")[0]
    old, new = change.old.hex(), change.new.hex()
    return at.value.format(
        admitting=f"; the policy takes {old}, and perhaps {new} already",
        both=f"; the policy takes {old} (old) and {new} (new)",
        retiring=f"; the policy takes {new}, and perhaps still {old}",
        one=f"; the policy takes {new}",
        withdrawing=f"; the policy takes {old}, and perhaps still {new}",
    )


def owner_must(old: bytes, new: bytes) -> str:
    """What the owner of a key service elsewhere has to do first."""
    return (
        f"its owner adds {new.hex()} beside {old.hex()}: sealserve policy add-measurement, then "
        "sealserve policy apply; then --policy-accepts. Or name its admin API: --admin-server"
    )
