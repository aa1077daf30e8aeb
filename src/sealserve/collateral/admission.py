"""What is let into use: verified, for the platform asked for, and no older than what was seen.

Two things are compared with the past. Evaluation data numbers, with the highest that any process
ever verified (`sealserve.collateral.evaluations`). And the date of each fetched part, with the same
part in memory and in the folder (`sealserve.collateral.checks`): a CRL that was held once is not
undone by an older one, valid or not.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from sealserve.collateral.checks import (
    check_has_crls,
    check_is_for,
    check_not_older,
    evaluations,
)
from sealserve.collateral.disk import CacheFolder, Entry
from sealserve.collateral.evaluations import EvaluationMemory
from sealserve.collateral.held import Held
from sealserve.collateral.key import CollateralKey
from sealserve.errors import RejectedError
from sealserve.logline import line
from sealserve.verifier import (
    TrustRoot,
    VerifiedCollateral,
    check_not_rolled_back,
    verify_collateral,
)
from sealserve.verifier.collateral import NO_GRACE

_EVEN_ENDED: Final = timedelta(days=3650)  # to read the dates of what is used no more

log = logging.getLogger(__name__)


class Admission:
    """The checks of one trust root over one folder. Safe to share between threads."""

    def __init__(self, root: TrustRoot, folder: CacheFolder) -> None:
        """`folder` is of `root`, and made."""
        self._root = root
        self._folder = folder
        self._memory = EvaluationMemory(folder.path)

    def of_kept(
        self, key: CollateralKey, entry: Entry, now: datetime, grace: timedelta
    ) -> VerifiedCollateral:
        """An entry of the folder, as if it had just come; raises as `of_fetched`."""
        verified = self._verified(key, entry, now, grace)
        self._remember(key, verified, entry.source)
        return verified

    def of_fetched(
        self,
        key: CollateralKey,
        entry: Entry,
        now: datetime,
        grace: timedelta,
        present: Held | None,
    ) -> VerifiedCollateral:
        """What came, where `present` is in memory; the grace counts where nothing valid is at hand.

        The folder must not change meanwhile. Raises CollateralError or a RejectedError.
        """
        check_has_crls(entry.collateral)
        at_hand = self._at_hand(key, now, present)
        if any(each.valid_from <= now <= each.valid_until for each in at_hand):
            self._verified(key, entry, now, NO_GRACE)
        verified = self._verified(key, entry, now, grace)
        for each in at_hand:
            check_not_older(verified, each)
        self._remember(key, verified, entry.source)  # none of what is put off
        return verified

    def check_highest(self, key: CollateralKey, verified: VerifiedCollateral) -> None:
        """No number may be lower than any process has seen; raises VerificationError.

        Raises CollateralError when the memory cannot be read.
        """
        check_not_rolled_back(verified, self._memory.highest(key))

    def _at_hand(
        self, key: CollateralKey, now: datetime, present: Held | None
    ) -> list[VerifiedCollateral]:
        """What is in memory and in the folder, even if it has ended.

        Otherwise whoever withholds answers until one part has ended could then serve an older CRL.
        """
        found = [] if present is None else [present.verified]
        try:
            entry = self._folder.read(key)
            if entry is not None:
                found.append(self._verified(key, entry, now, _EVEN_ENDED))
        except RejectedError as error:
            log.info(line("collateral_cache_unused", key=key.name, reason=error.message))
        return found

    def _verified(
        self, key: CollateralKey, entry: Entry, now: datetime, grace: timedelta
    ) -> VerifiedCollateral:
        verified = verify_collateral(entry.collateral, self._root, now, grace=grace)
        check_is_for(key.platform, verified)
        return verified

    def _remember(self, key: CollateralKey, verified: VerifiedCollateral, source: str) -> None:
        self.check_highest(key, verified)
        self._memory.remember(key, evaluations(verified), source)  # durable before it is used
