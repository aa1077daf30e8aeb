"""Collateral for one process, from the folder that all share, or from its source.

1. What the folder has is used if it is whole, verifies, is not rolled back, and is young.
2. Otherwise it is fetched, by one process for all: the others wait for its lock and take what it
   brought, or hear what failed, and nobody asks again before a pause is over.
3. What was fetched is verified, compared with the numbers seen before, remembered, kept.
4. Where that fails, what there is goes on in use for as long as it is valid: an outage neither
   stops a service at once nor keeps anything alive beyond the end that Intel signed.

All of it blocks. `sealserve.collateral.cached` keeps what comes out in memory.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sealserve.collateral.attempts import Attempts, Failure
from sealserve.collateral.disk import CacheFolder, Entry
from sealserve.collateral.evaluations import EvaluationMemory
from sealserve.collateral.held import Held
from sealserve.collateral.key import CollateralKey
from sealserve.collateral.sightings import Sightings
from sealserve.collateral.source import CollateralSource
from sealserve.endorsements.chain import Role
from sealserve.endorsements.collateral import Collateral, PckCa
from sealserve.endorsements.pccs import DEFAULT_TIMEOUT, Update
from sealserve.errors import CollateralError, NetworkError, RejectedError
from sealserve.logline import line
from sealserve.verifier import (
    Code,
    Evaluations,
    Platform,
    TrustRoot,
    VerifiedCollateral,
    check_not_rolled_back,
    verify_collateral,
)
from sealserve.verifier.codes import rejection
from sealserve.verifier.collateral import NO_GRACE

PATIENCE: Final = 2 * DEFAULT_TIMEOUT  # seconds to wait for another process that fetches

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Clock:
    """Shows the time of a request and goes on: what a slow service signs meanwhile is of later."""

    began: datetime
    started: float  # by time.monotonic()

    def __call__(self) -> datetime:
        return self.began + timedelta(seconds=time.monotonic() - self.started)


class SharedCollateral:
    """One source behind one folder, for one trust root. Safe to share between threads."""

    def __init__(
        self,
        source: CollateralSource,
        root: TrustRoot,
        folder: CacheFolder,
        *,
        update: Update = "standard",
        max_age: timedelta,
    ) -> None:
        """`folder` is of `root`, and made."""
        self._source = source
        self._root = root
        self._folder = folder
        self._memory = EvaluationMemory(folder.path)
        self.sightings = Sightings(folder.path)
        self._update = update
        self._max_age = max_age

    def obtain(
        self,
        platform: Platform,
        now: datetime,
        grace: timedelta = NO_GRACE,
        present: Held | None = None,
    ) -> Held:
        """Collateral for `platform` that may be used at `now`, newer than `present` if possible.

        Raises CollateralError when nothing came, a RejectedError when what came does not verify,
        and there is nothing else that may be used.
        """
        key = CollateralKey.of(platform, self._update)
        clock = _Clock(now, time.monotonic())
        if present is None or not present.may_serve(now, grace):
            present = self._on_disk(key, clock, grace)
            # A folder or file of the operator's is read by each process as it is now.
            if present is not None and present.is_young(now) and not self._source.is_local:
                return present
        outcome = self._renewed(key, clock, grace, present)
        if isinstance(outcome, Held):
            return outcome
        if present is not None and present.may_serve(clock(), grace):
            return present.put_off(outcome.retry_at)
        raise outcome.error()

    def fetch(self, platform: Platform, now: datetime) -> Held:
        """Fetch for a person who asks for it now, whatever there is; raises as `obtain`."""
        key, clock = CollateralKey.of(platform, self._update), _Clock(now, time.monotonic())
        with self._folder.locked(key, timeout=PATIENCE) as attempts:
            outcome = self._fetched(key, attempts, clock, NO_GRACE)
        if isinstance(outcome, Failure):
            raise outcome.error()
        return outcome

    def _on_disk(self, key: CollateralKey, clock: _Clock, grace: timedelta) -> Held | None:
        """What is in the folder, if it may be used: verified here, as if it had just come."""
        try:
            entry = self._folder.read(key)
            if entry is None:
                return None
            verified = self._verified(key, entry.collateral, clock(), grace)
        except (NetworkError, RejectedError) as error:
            reason = {"code": error.code, "reason": error.message}
            log.info(line("collateral_cache_unused", key=key.name, **reason))
            return None
        return self._held(verified, grace, entry.fetched_at)

    def _renewed(
        self, key: CollateralKey, clock: _Clock, grace: timedelta, present: Held | None
    ) -> Held | Failure:
        try:
            with self._folder.locked(key, timeout=PATIENCE) as attempts:
                others = self._on_disk(key, clock, grace)
                if others is not None and self._is_news(others, present, clock()):
                    return others
                failure = attempts.failure(self._source.name, clock())
                if failure is not None and not self._source.is_local:
                    return failure
                outcome = self._fetched(key, attempts, clock, grace)
        except CollateralError as error:  # no lock, so whoever has it is at it still
            outcome = Failure.of(self._source.name, clock(), error)
        self._log(key, outcome, present)
        return outcome

    def _is_news(self, others: Held, present: Held | None, now: datetime) -> bool:
        """Whether another process has just fetched what we are about to fetch."""
        is_newer = present is None or others.fetched_at > present.fetched_at
        return is_newer and others.is_young(now)

    def _fetched(
        self, key: CollateralKey, attempts: Attempts, clock: _Clock, grace: timedelta
    ) -> Held | Failure:
        try:
            collateral = self._source.collateral(key.platform)
            check_has_crls(collateral)
            verified = self._verified(key, collateral, clock(), grace)
        except (NetworkError, RejectedError) as error:
            return attempts.failed(self._source.name, clock(), error)
        # It is as old as the question that it answers.
        self._keep(key, Entry(collateral, clock.began, self._source.name))
        attempts.succeeded()
        return self._held(verified, grace, clock.began)

    def _verified(
        self, key: CollateralKey, collateral: Collateral, now: datetime, grace: timedelta
    ) -> VerifiedCollateral:
        verified = verify_collateral(collateral, self._root, now, grace=grace)
        check_is_for(key.platform, verified)
        check_not_rolled_back(verified, self._memory.highest(key))
        self._memory.remember(key, evaluations(verified))  # durable before it is used
        return verified

    def _keep(self, key: CollateralKey, entry: Entry) -> None:
        try:
            self._folder.write(key, entry)
        except CollateralError as error:  # what was verified is good, though nobody shares it
            log.warning(line("collateral_not_kept", key=key.name, reason=error.message))

    def _log(self, key: CollateralKey, outcome: Held | Failure, present: Held | None) -> None:
        if isinstance(outcome, Held):
            found = outcome.verified
            facts: dict[str, object] = {
                "tcb_evaluation_data_number": found.tcb_info.evaluation_data_number,
                "valid_until": found.valid_until.isoformat(),
            }
            log.info(line("collateral_fetched", key=key.name, source=self._source.name, **facts))
            return
        facts = {
            "code": outcome.code,
            "reason": outcome.message,
            "retry_at": outcome.retry_at.isoformat(timespec="seconds"),
            "present_valid_until": present and present.verified.valid_until.isoformat(),
        }
        log.warning(
            line("collateral_fetch_failed", key=key.name, source=self._source.name, **facts)
        )

    def _held(self, verified: VerifiedCollateral, grace: timedelta, fetched_at: datetime) -> Held:
        return Held.of(verified, grace=grace, fetched_at=fetched_at, max_age=self._max_age)


def evaluations(verified: VerifiedCollateral) -> Evaluations:
    """The evaluation data numbers that collateral has."""
    return Evaluations(
        verified.tcb_info.evaluation_data_number, verified.qe_identity.evaluation_data_number
    )


def check_has_crls(collateral: Collateral) -> None:
    """A folder may lack them, for evidence of long ago; here nothing is used without."""
    if not (collateral.pck_crl and collateral.root_ca_crl):
        raise CollateralError(
            "there are no CRLs, so nobody could tell what was revoked",
            hint="fetch the collateral anew: pck.crl and root_ca.crl belong to it",
        )


def check_is_for(platform: Platform, verified: VerifiedCollateral) -> None:
    """Collateral for another kind of platform is none; raises VerificationError."""
    found = platform_served(verified)
    if found != platform:
        raise rejection(
            Code.TCB_INFO_MISMATCH if found.ca == platform.ca else Code.CRL_MISSING,
            f"asked was for {_name(platform)}, and the collateral is for {_name(found)}",
            hint="name a source that has collateral for this platform",
        )


def platform_served(verified: VerifiedCollateral) -> Platform:
    """The kind of platform that collateral is for."""
    if verified.revocation is None:
        raise AssertionError("nothing here skips revocation")
    is_platform_ca = verified.revocation.pck_ca.role is Role.PLATFORM_CA
    ca: PckCa = "platform" if is_platform_ca else "processor"
    return Platform(verified.tee, verified.tcb_info.fmspc, ca)


def _name(platform: Platform) -> str:
    return f"{platform.tee} on FMSPC {platform.fmspc.hex()} with the {platform.ca} CA"
