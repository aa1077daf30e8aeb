"""What one piece of collateral is for: the key under which it is fetched, locked and kept.

The key is a file name, too, so it is spelt strictly: what is no key is no entry of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from sealserve.endorsements.collateral import PckCa, Tee
from sealserve.endorsements.pccs import Update
from sealserve.verifier import Platform

_NAME = re.compile(r"(SGX|TDX)-([0-9a-f]{12})-(platform|processor)-(standard|early)")


@dataclass(frozen=True, slots=True, order=True)
class CollateralKey:
    """One kind of platform, who issues its PCK certificates, and the edition."""

    tee: Tee
    fmspc: bytes
    """6 bytes."""
    ca: PckCa
    update: Update

    @classmethod
    def of(cls, platform: Platform, update: Update) -> CollateralKey:
        """The key of the collateral that `platform` needs."""
        return cls(platform.tee, platform.fmspc, platform.ca, update)

    @classmethod
    def parse(cls, name: str) -> CollateralKey | None:
        """The key with this name, or None where it is no key's."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        tee, fmspc, ca, update = match.groups()
        return cls(cast(Tee, tee), bytes.fromhex(fmspc), cast(PckCa, ca), cast(Update, update))

    @property
    def name(self) -> str:
        """Such as `SGX-00606a000000-platform-standard`."""
        return f"{self.tee}-{self.fmspc.hex()}-{self.ca}-{self.update}"

    @property
    def platform(self) -> Platform:
        """The kind of platform."""
        return Platform(tee=self.tee, fmspc=self.fmspc, ca=self.ca)
