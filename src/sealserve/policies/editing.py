"""Adding an enclave to a policy: by its measurement, or by its signer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sealserve.appraisal.identities import SgxIdentity, TdxIdentity
from sealserve.errors import UsageError
from sealserve.policies.inserting import Edited, find_identity, with_identity, with_value


@dataclass(frozen=True, slots=True)
class Reference:
    """What a SIGSTRUCT or a quote says of its enclave, and a remark on where that comes from."""

    mr_enclave: bytes
    mr_signer: bytes
    isv_prod_id: int
    isv_svn: int
    remark: str


def add_measurement(text: str, identity: str, reference: Reference, *, create: bool) -> Edited:
    """The policy `text` with `reference`'s MRENCLAVE added to the identity of that name.

    Where there is none, `create` makes it. Raises ConfigError for a file that is no policy,
    UsageError where the value does not belong to that identity.
    """
    found = _find(text, identity, create=create)
    measurement = reference.mr_enclave.hex()
    if found is None:
        table: dict[str, Any] = {"name": identity, "mr_enclave": [measurement]}
        return with_identity(text, table, reference.remark)
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
    done = f"{measurement} is now in {identity!r}"
    return with_value(text, index, "mr_enclave", measurement, remark=reference.remark, done=done)


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
        return with_identity(text, table, reference.remark)
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
    found = find_identity(text, name, create=create)
    if found is None:
        return None
    index, identity = found
    if isinstance(identity, TdxIdentity):
        raise UsageError(
            f"the identity {name!r} is a TDX trust domain, and this is an enclave",
            hint="name another one, with --create where there is none",
        )
    return index, identity


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
                f"the enclave has {key} {found}, the identity {existing.name!r} {expected}",
                hint="add it to another identity, or sign the enclave as this one expects",
            )
    if reference.isv_svn < existing.minimum_isv_svn:
        raise UsageError(
            f"the enclave has isv_svn {reference.isv_svn}, the identity {existing.name!r} takes "
            f"{existing.minimum_isv_svn} or more",
            hint="older versions were shut out on purpose: sign with a newer one",
        )
