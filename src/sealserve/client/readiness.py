"""Whether a model can be asked: what a status says, and what its absence does."""

from __future__ import annotations

from collections.abc import Sequence

from sealserve.client.answers import VersionStatus
from sealserve.errors import NotFound, SealServeError, Unavailable


def is_ready(versions: Sequence[VersionStatus]) -> bool:
    """Whether one of the versions is AVAILABLE."""
    return any(version.state == "AVAILABLE" for version in versions)


def means_not_ready(error: SealServeError) -> bool:
    """Whether a failure is one that waiting may mend: nobody there yet, or not with this model."""
    return isinstance(error, (NotFound, Unavailable)) or error.code == "network.refused"
