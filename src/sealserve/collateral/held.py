"""Collateral in use, and until when: the times that decide whether it is served and renewed.

Collateral is *served* while it is valid, or past its nextUpdate within the grace that the policy
grants. It is *young* until it reaches its maximum age: what is older is renewed before it is used,
and used if that fails. From half that age, or when a quarter of its life is left, it is renewed
beside its use, so that nobody waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sealserve.verifier import VerifiedCollateral

LIFE_LEFT: Final = 0.25  # of its life: what has less is renewed
SKEW: Final = timedelta(minutes=1)  # requests of one moment are not in order to the microsecond
RESPITE: Final = timedelta(minutes=5)  # after a failure, in which nobody waits
PAUSE: Final = timedelta(minutes=10)  # between two fetches of what has little life left


@dataclass(frozen=True, slots=True)
class Held:
    """Collateral that was verified, and its times."""

    verified: VerifiedCollateral
    grace: timedelta
    """What it was verified under."""
    fetched_at: datetime
    renew_from: datetime
    renew_by: datetime

    @classmethod
    def of(
        cls,
        verified: VerifiedCollateral,
        *,
        grace: timedelta,
        fetched_at: datetime,
        max_age: timedelta,
    ) -> Held:
        """Collateral as it was fetched."""
        life = verified.valid_until - verified.valid_from
        late = max(verified.valid_until - life * LIFE_LEFT, fetched_at + PAUSE)
        return cls(
            verified=verified,
            grace=grace,
            fetched_at=fetched_at,
            renew_from=min(fetched_at + max_age / 2, late),
            renew_by=fetched_at + max_age,
        )

    def may_serve(self, now: datetime, grace: timedelta) -> bool:
        """Whether it may be used at `now`, where the policy grants `grace`."""
        end = self.verified.usable_until if self.grace <= grace else self.verified.valid_until
        return self.verified.valid_from <= now <= end

    def is_young(self, now: datetime) -> bool:
        """Whether nothing newer must be asked for first; the clock may have been set back."""
        return self.fetched_at - SKEW <= now < self.renew_by

    def put_off(self, until: datetime) -> Held:
        """The same, to be renewed no earlier than `until`, because that failed.

        For a while then beside its use: not every request of an outage waits for another failure.
        """
        return replace(self, renew_from=until, renew_by=max(until + RESPITE, self.renew_by))

    def outdated(self) -> Held:
        """The same, to be renewed before it is used again."""
        return replace(self, renew_by=self.fetched_at)
