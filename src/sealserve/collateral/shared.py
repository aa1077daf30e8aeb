"""Collateral for one process, from the folder that all share, or from its source.

1. What the folder has is used if it is whole, verifies, is not rolled back, and is young.
2. Otherwise it is fetched, by one process for all: the others wait for its lock and take what it
   brought, or hear what failed, and nobody asks again before a pause is over.
3. What was fetched is verified, compared with what is at hand, of which no part may be newer, and
   with the numbers seen before; these are remembered, and it is kept.
4. Where that fails, what there is goes on in use for as long as it is valid and nobody has seen a
   higher number: an outage neither stops a service at once nor keeps anything alive beyond the end
   that Intel signed.

All of it blocks. `sealserve.collateral.cached` keeps what comes out in memory.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sealserve.collateral.admission import Admission
from sealserve.collateral.attempts import Attempts, Failure
from sealserve.collateral.checks import check_not_older
from sealserve.collateral.disk import CacheFolder, Entry
from sealserve.collateral.held import Held
from sealserve.collateral.key import CollateralKey
from sealserve.collateral.sightings import Sightings
from sealserve.collateral.source import CollateralSource
from sealserve.endorsements.pccs import DEFAULT_TIMEOUT, Update
from sealserve.errors import CollateralError, NetworkError, RejectedError, VerificationError
from sealserve.logline import line
from sealserve.verifier import Platform, TrustRoot, VerifiedCollateral
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
        self._folder = folder
        self._admission = Admission(root, folder)
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
        known = present
        if present is None or not present.may_serve(now, grace):
            present = self._on_disk(key, clock, grace)
            # A folder or file of the operator's is read by each process as it is now.
            if present is not None and present.is_young(now) and not self._source.is_local:
                return present
        outcome = self._renewed(key, clock, grace, known or present)
        if isinstance(outcome, Held):
            return outcome
        present = self._going_on(key, clock, grace, present)
        if present is None:
            raise outcome.error()
        return present.put_off(outcome.retry_at)

    def fetch(self, platform: Platform, now: datetime) -> Held:
        """Fetch for a person who asks for it now, whatever there is; raises as `obtain`."""
        key, clock = CollateralKey.of(platform, self._update), _Clock(now, time.monotonic())
        with self._folder.locked(key, timeout=PATIENCE) as attempts:
            outcome = self._fetched(key, attempts, clock, NO_GRACE, None)
        if isinstance(outcome, Failure):
            raise outcome.error()
        return outcome

    def _on_disk(self, key: CollateralKey, clock: _Clock, grace: timedelta) -> Held | None:
        """What is in the folder, if it may be used: verified here, as if it had just come."""
        try:
            entry = self._folder.read(key)
            if entry is None:
                return None
            verified = self._admission.of_kept(key, entry, clock(), grace)
        except (NetworkError, RejectedError) as error:
            reason = {"code": error.code, "reason": error.message}
            log.info(line("collateral_cache_unused", key=key.name, **reason))
            return None
        return self._held(verified, grace, entry.fetched_at)

    def _going_on(
        self, key: CollateralKey, clock: _Clock, grace: timedelta, present: Held | None
    ) -> Held | None:
        """What to go on with after a failure: `present`, unless another process has seen newer.

        Then what the folder has of that process, however old. Raises CollateralError when the
        memory cannot be read.
        """
        if present is not None and present.may_serve(clock(), grace):
            try:
                self._admission.check_highest(key, present.verified)
            except VerificationError as error:
                log.warning(line("collateral_outrun", key=key.name, reason=error.message))
            else:
                return present
        return self._on_disk(key, clock, grace)

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
                outcome = self._fetched(key, attempts, clock, grace, present)
        except CollateralError as error:  # no lock, so whoever has it is at it still
            outcome = Failure.of(self._source.name, clock(), error)
        self._log(key, outcome, present)
        return outcome

    def _is_news(self, others: Held, present: Held | None, now: datetime) -> bool:
        """Whether another process has just fetched what we are about to fetch."""
        if not others.is_young(now):
            return False
        if present is None:
            return True
        if present.may_serve(now, NO_GRACE) and not others.may_serve(now, NO_GRACE):
            return False
        try:
            check_not_older(others.verified, present.verified)
        except VerificationError:
            return False
        return others.fetched_at > present.fetched_at

    def _fetched(
        self,
        key: CollateralKey,
        attempts: Attempts,
        clock: _Clock,
        grace: timedelta,
        present: Held | None,
    ) -> Held | Failure:
        try:
            collateral = self._source.collateral(key.platform)
            entry = Entry(collateral, clock.began, self._source.name)  # as old as the question
            verified = self._admission.of_fetched(key, entry, clock(), grace, present)
        except (NetworkError, RejectedError) as error:
            return attempts.failed(self._source.name, clock(), error)
        self._keep(key, entry)
        attempts.succeeded()
        return self._held(verified, grace, clock.began)

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
