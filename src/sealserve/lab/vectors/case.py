"""What a conformance vector is: evidence, the one thing that was changed, what must come out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.tcb_status import TcbStatus
from sealserve.verifier import Code


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verifier is handed."""

    quote: bytes
    collateral: Collateral
    trust_root: bytes
    """One certificate, PEM."""
    at: datetime
    """The time at which to verify."""

    def with_collateral(self, **parts: bytes) -> Evidence:
        """The same with other parts of collateral, by the names of `Collateral`."""
        return replace(self, collateral=replace(self.collateral, **parts))


@dataclass(frozen=True, slots=True)
class Accepted:
    """The evidence verifies, and this is what it says."""

    tcb_status: TcbStatus = TcbStatus.UP_TO_DATE
    advisory_ids: tuple[str, ...] = ()
    debug: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A check must fail, and this is its code."""

    code: Code


Expected: TypeAlias = Accepted | Rejected


@dataclass(frozen=True, slots=True)
class Case:
    """One vector."""

    id: str
    form: str
    """TEE and quote version: the first part of the id."""
    group: str
    """What kind of thing is changed."""
    change: str
    """One sentence."""
    evidence: Evidence
    expected: Expected
    latitude: str | None = None
    """Why another sound verifier may come to another verdict; None where none may."""


# Where public documents leave a verifier a choice, or Intel's own library makes another one.
LEFT_OVER = "A verifier may pass over a byte that is left at the end of the section."
ROOT_BY_NAME = "A verifier may take the root from its caller alone, not from the chain."
ROOT_DATES = "A verifier may hold a root that is named to it for good, whatever its dates."
EXTRA_CERTIFICATE = "A verifier may build the path that it needs, and leave over what it does not."
CRL_CHAIN_UNREAD = (
    "A verifier may take the CRL's issuer from the quote, and leave this chain unread."
)
CRL_END = "A verifier may take the next update as the first second that a CRL does not cover."
UNUSED_FIELD = "Nothing in the verdict rests on this field."
NOT_BEFORE = "Intel's library checks the end of a certificate's validity, not its beginning."
PROFILE = "Not every verifier holds certificates to each detail of Intel's profile."
RESERVED = "A verifier may ignore reserved bytes, which the signature covers."
STRICT_JSON = "A verifier may read signed JSON less strictly: its signer is trusted."
KEY_USE = "A verifier may know an issuer by its signature alone."
