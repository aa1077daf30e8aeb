"""A vault that asks for its keys again when a file is sealed under none that it holds.

So a key may be rotated and a model sealed under the new one while servers run: the first version
that they cannot open makes them ask the key service, once, and try again. They ask at most every
RENEWAL_SECONDS, because anybody who can write into the model's folder can make them. What they hold
goes on opening what it opened when no answer comes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sealserve.errors import IntegrityError, SealServeError, WrongKeyOrHeader
from sealserve.logline import line
from sealserve.serving.opening.keys import HeldKeys
from sealserve.serving.opening.vault import Vault

RENEWAL_SECONDS = 30.0

log = logging.getLogger(__name__)


class RenewingVault:
    """Reads as the vault that `open_vault` makes of the keys. May be used from several threads."""

    def __init__(
        self,
        held: HeldKeys,
        *,
        renew: Callable[[HeldKeys], HeldKeys],
        open_vault: Callable[[HeldKeys], Vault],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`renew` is given what is held and returns what is released now; it may block."""
        self._held = held
        self._renew = renew
        self._open_vault = open_vault
        self._vault = open_vault(held)
        self._clock = clock
        self._asked = clock()
        self._one_asks = threading.Lock()

    def read(self, path: str, *, limit: int) -> bytearray:
        """As `Vault.read`, after asking for keys once if that may help."""
        vault = self._vault
        try:
            return vault.read(path, limit=limit)
        except IntegrityError as error:
            if not _may_be_newer(error) or not self._renewed(vault, path):
                raise
        return self._vault.read(path, limit=limit)

    def _renewed(self, failed: Vault, path: str) -> bool:
        """Whether there is now another vault than the one that failed."""
        with self._one_asks:
            if self._vault is not failed:
                return True
            if self._clock() - self._asked < RENEWAL_SECONDS:
                return False
            reason = "it opens under no key held, or is not as recorded"
            log.info(line("asking_for_keys_again", file=path, reason=reason))
            try:
                held = self._renew(self._held)
                self._vault, self._held = self._open_vault(held), held
            except SealServeError as error:
                log.error(line("no_other_keys", code=error.code, reason=error.message))
                return False
            finally:
                self._asked = self._clock()
            return True


def _may_be_newer(error: IntegrityError) -> bool:
    """Whether a file may be of a later key, or of a later record of the model."""
    return isinstance(error, WrongKeyOrHeader) or error.code == "integrity.record"
