"""The verifiers of the key service: ourselves, or Azure Attestation.

Whether a quote binds the certificate's key is the service's own check, by what was verified; that
a verifier may look at it first, too, changes nothing about that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, TypeVar

from sealserve.azure import AzureAttestation, Instance
from sealserve.collateral.cached import CachedCollateral
from sealserve.evidence.quote import parse_quote
from sealserve.evidence.ratls import RatlsEvidence, check_binding
from sealserve.verifier import (
    INTEL_SGX_ROOT_CA,
    Claims,
    Code,
    TrustRoot,
    VerifiedCollateral,
    load_trust_root,
    platform_of,
    read_evidence,
    verify_evidence,
    verify_quote,
)
from sealserve.verifier.codes import rejecting
from sealserve.verifier.maa import is_microsofts

VERIFYING_THREADS = 8

T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Basis:
    """What the claims of a verifier rest on: on record with every decision."""

    verifier: Literal["dcap", "maa"]
    trust_root_sha256: str | None
    """Hex; None where Azure Attestation speaks."""
    issuer: str | None
    """The instance's URL; None where we verify ourselves."""
    simulated: bool
    """Neither Intel nor Microsoft vouches for any of it."""


class Verifier(Protocol):
    """Belongs to one event loop."""

    @property
    def basis(self) -> Basis:
        """What its claims rest on."""
        ...

    @property
    def valid_until(self) -> datetime | None:
        """The end of the collateral that ends first, of what is in use; None without any."""
        ...

    def claims_at_hand(self, evidence: RatlsEvidence, grace: timedelta) -> Claims | None:
        """The claims of `evidence` if that takes nothing but the processor; None otherwise.

        From any thread. Raises a RejectedError.
        """
        ...

    async def claims(self, evidence: RatlsEvidence, grace: timedelta) -> Claims:
        """The claims of `evidence`; `grace` is for what is past its end, where it has one.

        Raises a RejectedError, or a NetworkError where nothing can be said.
        """
        ...

    def renew(self) -> None:
        """Ask anew, before its next use, for whatever was fetched and kept."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class OwnVerifier:
    """Verifies quotes under `root`, in threads of its own, by collateral that is cached."""

    def __init__(
        self,
        root: TrustRoot,
        collateral: CachedCollateral,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.basis = basis_of(root)
        self._root = root
        self._collateral = collateral
        self._clock = clock
        self._threads = ThreadPoolExecutor(VERIFYING_THREADS, thread_name_prefix="verification")

    @property
    def valid_until(self) -> datetime | None:
        """The end of the collateral that ends first."""
        return self._collateral.valid_until

    def claims_at_hand(self, evidence: RatlsEvidence, grace: timedelta) -> Claims | None:
        """The claims of a quote of a platform whose collateral is in memory."""
        now = self._clock()
        found = read_evidence(evidence.quote, self._root, now)
        collateral = self._collateral.at_hand(found.platform, now, grace)
        if collateral is None:
            return None
        claims = verify_evidence(found, collateral, now)
        self._collateral.saw(evidence.quote, claims)
        return claims

    async def claims(self, evidence: RatlsEvidence, grace: timedelta) -> Claims:
        """The claims of a quote, by collateral for the platform that its certificates name.

        What needs no collateral is verified twice, for a fetch is dearer than two signatures, and
        between the two verifications time may have passed.
        """
        now = self._clock()
        platform = await self._run(lambda: platform_of(evidence.quote, self._root, now))
        collateral = await self._collateral.get(platform, now, grace)
        return await self._run(lambda: self._verify(evidence.quote, collateral))

    def renew(self) -> None:
        """Ask for collateral anew before its next use."""
        self._collateral.renew()

    def close(self) -> None:
        """Let the threads end what they do."""
        self._threads.shutdown()
        self._collateral.close()

    def _verify(self, quote: bytes, collateral: VerifiedCollateral) -> Claims:
        """Now: collateral that was fetched may be of later than the request."""
        claims = verify_quote(quote, collateral, self._clock())
        self._collateral.saw(quote, claims)
        return claims

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


class AzureVerifier:
    """Asks an instance about each quote.

    An instance of Microsoft's is asked only about quotes that hold under Intel's root as far as can
    be told without collateral: a stranger's made-up ones cost us no question. Another instance may
    speak for any root.
    """

    def __init__(self, instance: Instance, clock: Callable[[], datetime] = _now) -> None:
        self.basis = basis_of(instance)
        self._azure = AzureAttestation(instance, clock=clock)
        self._root = None if self.basis.simulated else load_trust_root(INTEL_SGX_ROOT_CA)
        self._clock = clock

    @property
    def valid_until(self) -> datetime | None:
        """None: tokens are fresh."""
        return None

    def claims_at_hand(self, evidence: RatlsEvidence, grace: timedelta) -> Claims | None:
        """None: every quote is a question."""
        return None

    async def claims(self, evidence: RatlsEvidence, grace: timedelta) -> Claims:
        """The claims of a token; tokens are fresh and know no grace.

        A quote that does not bind the certificate's key is sent nowhere.
        """
        with rejecting(Code.QUOTE_FORMAT):
            check_binding(evidence, parse_quote(evidence.quote).body.report_data)
        if self._root is not None:
            await asyncio.to_thread(platform_of, evidence.quote, self._root, self._clock())
        bound = evidence.claims if evidence.style == "dice" else evidence.spki
        return await self._azure.claims(evidence.quote, bound)

    def renew(self) -> None:
        """Fetch the instance's keys anew before their next use."""
        self._azure.forget()

    def close(self) -> None:
        """Nothing is held between two questions."""


def basis_of(believed: TrustRoot | Instance) -> Basis:
    """What claims rest on that are verified under a root, or by an instance."""
    if isinstance(believed, Instance):
        return Basis("maa", None, believed.url, not is_microsofts(believed.url))
    return Basis("dcap", believed.sha256.hex(), None, believed.simulated)
