"""The audit log as an outsider follows it, held against what the enclaves say they received.

It trusts the log's verifier key, taken when the log was new, and nothing of what comes later: every
record is read once, its leaf put into a tree of our own, and the tree's root compared with the
signed checkpoint; between two looks the service's consistency proof must hold, too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sealserve.errors import SealServeError
from sealserve.keyservice.administration.local import LocalAdministration
from sealserve.keyservice.administration.values import PAGE, Query
from sealserve.transparency.checkpoint import Checkpoint, LogVerifier, read_checkpoint
from sealserve.transparency.proofs import verify_consistency
from sealserve.transparency.tree import Frontier, leaf_hash
from soak._enclaves import Asked
from soak._site import Site


class LogIsBroken(Exception):
    """The log is not what its checkpoints say."""


class Ledger:
    """Follows the log of one site from its first record."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._frontier = Frontier.empty()
        self._seen: Checkpoint | None = None
        self.released: Counter[str] = Counter()
        """Released records, by the digest of their evidence."""
        self.records = 0
        self.looks = 0
        self.newest: list[dict[str, Any]] = []
        """What the last look found."""
        with site.administration() as administration:
            self._verifier = LogVerifier.parse(administration.log_key())

    def look(self) -> int:
        """Read and verify what has been added; the size of the log. Raises LogIsBroken."""
        try:
            with self._site.administration() as administration:
                self._follow(administration)
        except SealServeError as error:
            raise LogIsBroken(str(error)) from error
        self.looks += 1
        return self.records

    def verify_all(self) -> int:
        """The whole log anew, by whoever has seen nothing; the size. Raises LogIsBroken."""
        fresh = Ledger(self._site)
        fresh.look()
        if fresh.released != self.released or fresh.records != self.records:
            raise LogIsBroken("the log read at once is not the one that was followed")
        return fresh.records

    def unrecorded(self, asked: Sequence[Asked]) -> list[Asked]:
        """Asks that ended with the secret and have no released record."""
        return [
            each for each in asked if each.outcome == "served" and not self.released[each.evidence]
        ]

    def _follow(self, administration: LocalAdministration) -> None:
        said = read_checkpoint(administration.checkpoint(), self._verifier)
        if self._seen is not None and said.size >= self._seen.size:
            self._check_grown(administration, self._seen)
        leaves: list[bytes] = []
        self.newest = []
        while (have := self._frontier.size + len(leaves)) < said.size:
            page = administration.records(Query(after=have - 1, limit=min(PAGE, said.size - have)))
            if [each.index for each in page] != list(range(have, have + len(page))) or not page:
                raise LogIsBroken(f"records are missing from {have} on")
            leaves += [leaf_hash(each.data) for each in page]
            self.newest += [json.loads(each.data) for each in page]
        self._frontier, _ = self._frontier.extended(leaves)
        if (self._frontier.size, self._frontier.root) != (said.size, said.root):
            raise LogIsBroken(f"the records are not those of the checkpoint of {said.size}")
        self._seen, self.records = said, said.size
        self.released.update(
            str(each["evidence_sha256"])
            for each in self.newest
            if each.get("outcome") == "released"
        )

    def _check_grown(self, administration: LocalAdministration, old: Checkpoint) -> None:
        found = administration.consistency(old.size)
        now = read_checkpoint(found.checkpoint, self._verifier)
        verify_consistency(old.size, old.root, now.size, now.root, found.proof)
