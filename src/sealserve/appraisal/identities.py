"""Reference values: what a target must be, as the model owner writes it down.

An SGX enclave is named by its measurement, or by its signer with product and least version, or by
both; a TDX trust domain by its initial contents and its run-time measurements. Whatever else the
hardware reports must be as in the plainest target unless it is named: what that is, `target.py`
says where it judges it. Fields have Intel's names; docs/policy-reference.md describes each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Discriminator, Tag, model_validator

from sealserve.appraisal.attributes import misc_select_bytes
from sealserve.appraisal.fields import (
    Bytes8,
    Bytes16,
    Bytes32,
    Bytes48,
    Bytes64,
    Name,
    RunTimeMeasurements,
    SomeOf,
    Table,
    Uint16,
    Uint32,
)


class SgxIdentity(Table):
    """An SGX enclave: every value that is named must be as named."""

    name: Name
    tee: Literal["SGX"] = "SGX"
    mr_enclave: SomeOf[Bytes32] | None = None
    mr_signer: Bytes32 | None = None
    isv_prod_id: Uint16 | None = None
    minimum_isv_svn: Uint16 | None = None
    maximum_isv_svn: Uint16 | None = None
    attributes: Bytes16 | None = None
    attributes_mask: Bytes16 | None = None
    misc_select: Uint32 | None = None
    misc_select_mask: Uint32 | None = None
    config_id: Bytes64 | None = None
    minimum_config_svn: Uint16 | None = None
    isv_ext_prod_id: Bytes16 | None = None
    isv_family_id: Bytes16 | None = None

    @model_validator(mode="after")
    def _names_an_enclave(self) -> Self:
        by_signer = (self.mr_signer, self.isv_prod_id, self.minimum_isv_svn)
        if any(part is None for part in by_signer) and any(part is not None for part in by_signer):
            raise ValueError("mr_signer, isv_prod_id and minimum_isv_svn go together: name all")
        if self.maximum_isv_svn is not None and (
            self.minimum_isv_svn is None or self.maximum_isv_svn < self.minimum_isv_svn
        ):
            raise ValueError("maximum_isv_svn needs a minimum_isv_svn that is not above it")
        if self.mr_enclave is None and self.mr_signer is None:
            raise ValueError(
                "no enclave is named: give mr_enclave, "
                "or mr_signer with isv_prod_id and minimum_isv_svn"
            )
        return self

    @model_validator(mode="after")
    def _masks_agree(self) -> Self:
        _check_mask("attributes", self.attributes, self.attributes_mask)
        _check_mask("misc_select", *self.misc_select_bytes)
        return self

    @property
    def misc_select_bytes(self) -> tuple[bytes | None, bytes | None]:
        """MISCSELECT and its mask as they stand in memory, 4 bytes each."""
        value, mask = self.misc_select, self.misc_select_mask
        return (
            None if value is None else misc_select_bytes(value),
            None if mask is None else misc_select_bytes(mask),
        )


class TdxIdentity(Table):
    """A TDX trust domain: every value that is named must be as named."""

    name: Name
    tee: Literal["TDX"]
    mr_td: SomeOf[Bytes48]
    rtmr0: RunTimeMeasurements
    """Here and in the three that follow, None is the word "any": whatever is measured there."""
    rtmr1: RunTimeMeasurements
    rtmr2: RunTimeMeasurements
    rtmr3: RunTimeMeasurements
    mr_seam: SomeOf[Bytes48] | None = None
    mr_signer_seam: Bytes48 | None = None
    mr_config_id: Bytes48 | None = None
    mr_owner: Bytes48 | None = None
    mr_owner_config: Bytes48 | None = None
    mr_service_td: Bytes48 | None = None
    td_attributes: Bytes8 | None = None
    td_attributes_mask: Bytes8 | None = None
    xfam: Bytes8 | None = None

    @model_validator(mode="after")
    def _mask_agrees(self) -> Self:
        _check_mask("td_attributes", self.td_attributes, self.td_attributes_mask)
        return self

    @property
    def rtmrs(self) -> tuple[RunTimeMeasurements, ...]:
        """What each of the four registers may hold."""
        return self.rtmr0, self.rtmr1, self.rtmr2, self.rtmr3


def _check_mask(key: str, value: bytes | None, mask: bytes | None) -> None:
    if value is None and mask is None:
        return
    if value is None or mask is None:
        raise ValueError(f"{key} and {key}_mask go together: name both")
    if not any(mask):
        raise ValueError(f"{key}_mask is zero, and would pin nothing: name neither")
    if any(bits & ~masked for bits, masked in zip(value, mask, strict=True)):
        raise ValueError(f"{key} has bits that {key}_mask leaves out: make both say the same")


def _tee_of(identity: object) -> str | None:
    """The tag of an identity; None is a fault."""
    if isinstance(identity, Mapping):
        return str(identity.get("tee", "SGX"))
    return getattr(identity, "tee", None)


def _of_one_tee(identity: object) -> object:
    """`identity`, unless it has a key that only the other kind of TEE knows."""
    kinds: dict[str, type[Table]] = {"SGX": SgxIdentity, "TDX": TdxIdentity}
    own = kinds.get(str(_tee_of(identity)))
    if own is not None and isinstance(identity, Mapping):
        for tee, other in kinds.items():
            foreign = [
                key for key in identity if key in set(other.model_fields) - set(own.model_fields)
            ]
            if foreign:
                raise ValueError(f'{foreign[0]} belongs to tee = "{tee}", which this is not')
    return identity


Identity: TypeAlias = Annotated[
    Annotated[SgxIdentity, Tag("SGX")] | Annotated[TdxIdentity, Tag("TDX")],
    Discriminator(_tee_of),
    BeforeValidator(_of_one_tee),
]
