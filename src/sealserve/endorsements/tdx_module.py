"""The part of TCB info that describes the TDX module, the firmware that runs trust domains.

Of the first generation of the module (version 0) TCB info says only what it must look like, and
judges it with the platform. Of each later one it has an identity (`TDX_01` for version 1), with
levels of its own. Whether a TD's module fits is the verifier's to say. Source: Intel SGX and TDX
Provisioning Certification Service API, version 4, "Get TDX TCB Info".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sealserve.endorsements.levels import IsvLevel, isv_levels
from sealserve.endorsements.signed_json import Members
from sealserve.errors import FormatError

_MAX_IDENTITIES = 256
_ID = re.compile(r"TDX_([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class TdxModule:
    """What a TDX module must look like. Byte strings in the order of the report's memory."""

    mr_signer: bytes
    """48 bytes, zero for Intel's."""
    attributes: bytes
    """8 bytes."""
    attributes_mask: bytes
    """8 bytes."""


@dataclass(frozen=True, slots=True)
class TdxModuleIdentity:
    """One generation of the module, and how its versions stand."""

    version: int
    module: TdxModule
    levels: tuple[IsvLevel, ...]
    """In the order in which they must be tried."""


def parse_tdx_module(info: Members) -> TdxModule:
    """The description of version 0; raises FormatError."""
    return _module(info.nested("tdxModule"))


def parse_tdx_module_identities(info: Members) -> tuple[TdxModuleIdentity, ...]:
    """The identities of later versions, none where the statement has none; raises FormatError.

    Those with an id of another form are left alone, as members are that nobody knows.
    """
    if "tdxModuleIdentities" not in info:
        return ()
    identities = tuple(
        TdxModuleIdentity(
            version=int(found[1], 16),
            module=_module(identity),
            levels=isv_levels(identity, maximum_svn=0xFF),
        )
        for identity in info.tables("tdxModuleIdentities", _MAX_IDENTITIES)
        if (found := _ID.fullmatch(identity.text("id")))
    )
    if len({identity.version for identity in identities}) != len(identities):
        raise FormatError("tcbInfo.tdxModuleIdentities: one version of the module is there twice")
    return identities


def _module(description: Members) -> TdxModule:
    return TdxModule(
        mr_signer=description.hexadecimal("mrsigner", 48),
        attributes=description.hexadecimal("attributes", 8),
        attributes_mask=description.hexadecimal("attributesMask", 8),
    )
