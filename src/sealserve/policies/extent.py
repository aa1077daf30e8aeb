"""How much a condition of a policy lets in, as values that can be compared.

Two policies differ in words that mean the same or more or less: `mr_enclave` may name one more
build, `minimum_isv_svn` may have been lowered, a key may be gone. An extent is the set of what one
key lets in, so that "more" and "less" are inclusions of sets and not opinions about keys. Some
verifiers do not state every field: what an identity does not name, it lets in unstated, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from sealserve.appraisal import attributes
from sealserve.appraisal.attributes import Bits
from sealserve.appraisal.identities import Identity, SgxIdentity, TdxIdentity
from sealserve.appraisal.secret_names import SecretNames

NOT_STATED = None
"""The value of a field that the verifier does not state."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Any of these values; None is every value there is."""

    values: frozenset[object] | None

    def within(self, other: AnyOf) -> bool:
        """Whether everything in this is in `other`."""
        if other.values is None:
            return True
        return self.values is not None and self.values <= other.values


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; None is no end."""

    low: int
    high: int | None = None
    unstated: bool = False

    def within(self, other: Range) -> bool:
        """Whether everything in this is in `other`."""
        ends = other.high is None or (self.high is not None and self.high <= other.high)
        return self.low >= other.low and ends and self.unstated <= other.unstated


@dataclass(frozen=True, slots=True)
class Pinned:
    """Values whose bits under the mask are as pinned."""

    bits: Bits
    unstated: bool = False

    def within(self, other: Pinned) -> bool:
        """Whether everything in this is in `other`."""
        return self.unstated <= other.unstated and not any(
            ~mine & wanted or (value ^ expected) & wanted
            for value, mine, expected, wanted in zip(
                self.bits.value, self.bits.mask, other.bits.value, other.bits.mask, strict=True
            )
        )


@dataclass(frozen=True, slots=True)
class Asks:
    """Secrets that are asked for by one of these names; or, with `unnamed`, by none."""

    names: SecretNames
    unnamed: bool = False

    def within(self, other: Asks) -> bool:
        """Whether everything in this is in `other`."""
        return self.unnamed <= other.unnamed and self.names.within(other.names)


Extent: TypeAlias = AnyOf | Range | Pinned | Asks


class Change(StrEnum):
    """What a change lets in."""

    WIDER = "wider"
    NARROWER = "narrower"
    OTHER = "other"


def compare(old: Extent, new: Extent) -> Change | None:
    """What the step from `old` to `new`, two extents of one key, lets in; None: the same."""
    if old == new:
        return None
    if within(old, new):
        return Change.WIDER
    return Change.NARROWER if within(new, old) else Change.OTHER


def within(first: Extent, second: Extent) -> bool:
    """Whether everything in `first` is in `second`; extents of different kinds never are."""
    match first, second:
        case (AnyOf(), AnyOf()) | (Range(), Range()) | (Pinned(), Pinned()) | (Asks(), Asks()):
            return first.within(second)  # type: ignore[arg-type]  # of one kind, as matched
    return False


def extents(identity: Identity) -> Mapping[str, Extent]:
    """What an identity lets in, by key; keys that only make sense together are one."""
    return _of_enclave(identity) if isinstance(identity, SgxIdentity) else _of_domain(identity)


def _of_enclave(identity: SgxIdentity) -> Mapping[str, Extent]:
    svn = identity.minimum_config_svn
    return {
        "mr_enclave": any_of(identity.mr_enclave),
        "mr_signer": _single(identity.mr_signer),
        "isv_prod_id": _single(identity.isv_prod_id),
        "isv_svn": Range(identity.minimum_isv_svn or 0, identity.maximum_isv_svn),
        "attributes": Pinned(
            attributes.SILENT_SGX.pinned(identity.attributes, identity.attributes_mask),
            unstated=identity.attributes is None,
        ),
        "misc_select": Pinned(
            attributes.SILENT_MISC_SELECT.pinned(*identity.misc_select_bytes),
            unstated=identity.misc_select is None,
        ),
        "config_id": _named_or_zero(identity.config_id, 64),
        "config_svn": Range(0, 0, unstated=True) if svn is None else Range(svn),
        "isv_ext_prod_id": _named_or_zero(identity.isv_ext_prod_id, 16),
        "isv_family_id": _named_or_zero(identity.isv_family_id, 16),
    }


def _of_domain(identity: TdxIdentity) -> Mapping[str, Extent]:
    measurements = {f"rtmr{number}": any_of(each) for number, each in enumerate(identity.rtmrs)}
    bits = attributes.SILENT_TD.pinned(identity.td_attributes, identity.td_attributes_mask)
    stated = ("mr_signer_seam", "mr_config_id", "mr_owner", "mr_owner_config")
    return {
        "mr_td": any_of(identity.mr_td),
        **measurements,
        "mr_seam": any_of(identity.mr_seam),
        **{key: any_of([getattr(identity, key) or bytes(48)]) for key in stated},
        "mr_service_td": _service_tds(identity, bits),
        "td_attributes": Pinned(bits),
        "xfam": _single(identity.xfam),
    }


def _service_tds(identity: TdxIdentity, bits: Bits) -> AnyOf:
    """Of a TD that may migrate they must be stated, and every TD of the identity may or none."""
    if attributes.td_migratable(bits.value):
        return AnyOf(frozenset((identity.mr_service_td or bytes(48),)))
    return _named_or_zero(identity.mr_service_td, 48)


def any_of(values: Iterable[object] | None) -> AnyOf:
    """The extent of a list of a policy; a list that is not there lets everything in."""
    return AnyOf(None if values is None else frozenset(values))


def _single(value: object | None) -> AnyOf:
    return AnyOf(None if value is None else frozenset((value,)))


def _named_or_zero(value: bytes | None, size: int) -> AnyOf:
    """Of a field that may not be stated: where it is not named, zero and nothing are let in."""
    return AnyOf(frozenset((bytes(size), NOT_STATED) if value is None else (value,)))
