"""One enclave after another in a policy: the new beside the old, later without the old.

Both go wherever the old one is taken by its measurement, and nowhere else. At no point between the
two edits is either refused that the policy in force took. The text stays as its author made it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealserve.appraisal.identities import SgxIdentity
from sealserve.appraisal.policy import parse_policy
from sealserve.errors import ConfigError
from sealserve.policies.editing import Reference, add_measurement
from sealserve.policies.inserting import Edited, with_value
from sealserve.policies.removing import without_value


@dataclass(frozen=True, slots=True)
class Successor:
    """An enclave that is to come; `reference` is known if more than its measurement is."""

    mr_enclave: bytes
    remark: str
    reference: Reference | None = None


def admit(text: str, old: bytes, new: Successor) -> Edited:
    """The policy with `new` in each identity that has `old`.

    Raises ConfigError where nothing takes the old enclave by its measurement, or by its signer
    what is to come; UsageError for a signer or version that such an identity does not take.
    """
    if not _holding(text, old):
        return _taken_already(text, old, new)
    edited = Edited(text, False, f"{new.mr_enclave.hex()} is there already")
    for index, identity in _holding(text, old):
        if new.reference is not None:
            added = add_measurement(edited.text, identity.name, new.reference, create=False)
        elif new.mr_enclave in (identity.mr_enclave or ()):
            continue
        else:
            value, done = new.mr_enclave.hex(), ""
            added = with_value(
                edited.text, index, "mr_enclave", value, remark=new.remark, done=done
            )
        if added.changed:
            names = ", ".join(repr(each.name) for _, each in _holding(added.text, new.mr_enclave))
            edited = Edited(added.text, True, f"{new.mr_enclave.hex()} is now in {names}")
    return edited


def retire(text: str, old: bytes, new: bytes) -> Edited:
    """The policy without `old` in each identity that has both; elsewhere it stays."""
    edited = Edited(text, False, f"{old.hex()} is there no more")
    if old == new:
        return edited
    for index, identity in _holding(text, old):
        if new in (identity.mr_enclave or ()):
            done = f"{old.hex()} is taken out"
            edited = without_value(edited.text, index, "mr_enclave", old, done=done)
    return edited


def measurements(text: str) -> tuple[bytes, ...]:
    """Every enclave that the policy names, in its order, each once."""
    found = [each for one in parse_policy(text).identities for each in _measured(one)]
    return tuple(dict.fromkeys(found))


def _taken_already(text: str, old: bytes, new: Successor) -> Edited:
    """Nothing to do where the new one is taken without the old."""
    if _holding(text, new.mr_enclave):
        return Edited(text, False, f"{new.mr_enclave.hex()} is there already")
    if any(_by_signer(each, new.reference) for each in parse_policy(text).identities):
        return Edited(text, False, "its signer is there, which takes it from this version on")
    raise ConfigError(
        f"no identity of the policy in force has {old.hex()}, or takes the new one by its signer",
        code="policy-succession",
        hint="where enclaves go by their signer, name the SIGSTRUCT of the new one; else add it to "
        "the policy yourself: sealserve policy add-measurement",
    )


def _by_signer(identity: object, new: Reference | None) -> bool:
    if new is None or not isinstance(identity, SgxIdentity) or identity.mr_enclave is not None:
        return False
    low, high = identity.minimum_isv_svn or 0, identity.maximum_isv_svn
    same = (identity.mr_signer, identity.isv_prod_id) == (new.mr_signer, new.isv_prod_id)
    return same and low <= new.isv_svn and (high is None or new.isv_svn <= high)


def _holding(text: str, measurement: bytes) -> list[tuple[int, SgxIdentity]]:
    identities = enumerate(parse_policy(text).identities)
    return [
        (index, each)
        for index, each in identities
        if isinstance(each, SgxIdentity) and measurement in (each.mr_enclave or ())
    ]


def _measured(identity: object) -> tuple[bytes, ...]:
    return tuple(identity.mr_enclave or ()) if isinstance(identity, SgxIdentity) else ()
