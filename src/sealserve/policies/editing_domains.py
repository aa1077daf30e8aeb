"""Adding a TDX trust domain to a policy: by MRTD and all four run-time registers.

A new identity names the measurements, and what the host chose (MRCONFIGID, MROWNER, MROWNERCONFIG,
the service TDs) where it is not zero. The TDX module is not named: whether it is Intel's and up to
date, TCB info judges. Attributes that silence denies are never written here.

An identity that exists gets at most one value more, and only where that value admits this one guest
and no other: its lists are conditions beside each other, so that a value in one of them goes with
every value of the others.
"""

from __future__ import annotations

from typing import Any, Final

from sealserve.appraisal.conditions import Condition, PolicyCode
from sealserve.appraisal.identities import TdxIdentity
from sealserve.appraisal.policy import parse_policy
from sealserve.appraisal.target import of_identity
from sealserve.errors import UsageError
from sealserve.policies.inserting import Edited, find_identity, with_identity, with_value
from sealserve.verifier.claims import TrustDomain

_LISTS: Final = {
    PolicyCode.MR_TD: "mr_td",
    PolicyCode.RTMR0: "rtmr0",
    PolicyCode.RTMR1: "rtmr1",
    PolicyCode.RTMR2: "rtmr2",
    PolicyCode.RTMR3: "rtmr3",
}
_CHOSEN_BY_THE_HOST: Final = ("mr_config_id", "mr_owner", "mr_owner_config", "mr_service_td")


def add_trust_domain(
    text: str, identity: str, target: TrustDomain, remark: str, *, create: bool
) -> Edited:
    """The policy `text` with the trust domain `target` in the identity of that name.

    Where there is none, `create` makes it. Raises ConfigError for a file that is no policy,
    UsageError for a trust domain that this identity, or a new one, is not to take.
    """
    found = find_identity(text, identity, create=create)
    if found is None:
        edited = with_identity(text, _table(identity, target), remark)
        _check_taken(edited.text, identity, target)
        return edited
    index, existing = found
    if not isinstance(existing, TdxIdentity):
        raise UsageError(
            f"the identity {identity!r} is an SGX enclave, and this is a trust domain",
            hint="name another one, with --create where there is none",
        )
    failed = [each for each in of_identity(target, existing) if not each.held]
    if not failed:
        return Edited(text, False, f"{identity!r} takes this trust domain already")
    return _widened(text, index, existing, failed, remark)


def _table(name: str, target: TrustDomain) -> dict[str, Any]:
    table: dict[str, Any] = {"name": name, "tee": "TDX", "mr_td": [target.mr_td.hex()]}
    table |= {f"rtmr{number}": [value.hex()] for number, value in enumerate(target.rtmrs)}
    for key in _CHOSEN_BY_THE_HOST:
        value = getattr(target, key)
        if value is not None and any(value):
            table[key] = value.hex()
    return table


def _widened(
    text: str, index: int, existing: TdxIdentity, failed: list[Condition], remark: str
) -> Edited:
    name = existing.name
    others = [each for each in failed if each.code not in _LISTS]
    if others:
        raise _not_taken(name, others[0])
    own = "make an identity of its own: another name, with --create"
    if len(failed) > 1:
        keys = ", ".join(_LISTS[each.code] for each in failed)
        raise UsageError(
            f"{keys} are all new to the identity {name!r}: added one by one, each would also go "
            "with the old values of the others",
            hint=own,
        )
    (wrong,) = failed
    key = _LISTS[wrong.code]
    wider = [
        other for other in _LISTS.values() if other != key and len(_values(existing, other)) > 1
    ]
    if wider:
        raise UsageError(
            f"the identity {name!r} takes several values for {', '.join(wider)}: a value more for "
            f"{key} would go with each of them",
            hint=own,
        )
    done = f"{key} {wrong.found} is now in {name!r}"
    return with_value(text, index, key, wrong.found, remark=remark, done=done)


def _values(identity: TdxIdentity, key: str) -> tuple[bytes, ...]:
    """What a register may hold; nothing where that is anything, which was said aloud."""
    return getattr(identity, key) or ()


def _check_taken(text: str, name: str, target: TrustDomain) -> None:
    made = parse_policy(text).identity(name)
    for each in of_identity(target, made):
        if not each.held:
            raise _not_taken(name, each)


def _not_taken(name: str, condition: Condition) -> UsageError:
    return UsageError(
        f"the identity {name!r} would not take this trust domain: {condition}",
        hint=f"{condition.fix} (docs/policy-reference.md says what each key lets in)",
    )
