"""A key-encryption key derived from a passphrase by scrypt (RFC 7914), anew for each wrapping.

The passphrase is compared as text is: in Unicode's normal form C (RFC 8265 section 4.2.2), so that
a terminal and a file that spell one letter differently agree. The cost that stands in a wrapped
key is bounded when it is read: nobody who writes to the database can make us use more memory.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from sealserve.errors import ConfigError
from sealserve.keyservice.wrapping import blob
from sealserve.keyservice.wrapping.config import PassphraseWrapping
from sealserve.keyservice.wrapping.secret_line import read_line

LEAST_CHARACTERS = 12
SALT_SIZE = 16
PROMPT = "Passphrase of the key service: "


@dataclass(frozen=True)
class Cost:
    """scrypt's N (as its logarithm), r and p; the memory is 128 * N * r bytes."""

    log2_n: int
    r: int
    p: int

    def __bytes__(self) -> bytes:
        return bytes((self.log2_n, self.r, self.p))


COST = Cost(17, 8, 1)  # 128 MiB; OWASP Password Storage Cheat Sheet
LOG2_N_ALLOWED = range(14, 19)  # up to 256 MiB
R_ALLOWED = range(8, 9)
P_ALLOWED = range(1, 5)


class PassphraseKey:
    """A passphrase; each wrapped key has a salt of its own."""

    kind: str = "passphrase"

    def __init__(self, passphrase: str) -> None:
        self._passphrase = unicodedata.normalize("NFC", passphrase).encode("utf-8")

    @classmethod
    def open(cls, wrapping: PassphraseWrapping, ask: Callable[[str], str] | None) -> PassphraseKey:
        """Raises ConfigError: none to be had, too short, too open a file."""
        if wrapping.passphrase is not None:
            return cls(_long_enough(read_line(wrapping.passphrase, "passphrase")))
        if ask is None:
            raise ConfigError(
                "the passphrase is asked for at a terminal, and there is none",
                hint="name a private file that holds it: [wrapping] passphrase",
            )
        return cls(_long_enough(ask(PROMPT)))

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key` of 32 bytes, wrapped for `context`. Takes a third of a second and 128 MiB."""
        salt = secrets.token_bytes(SALT_SIZE)
        header = blob.Header.fresh(self.kind, salt + bytes(COST))
        return blob.seal(header, self._derive(salt, COST), key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key; raises IntegrityError `wrapping.key`."""
        header, sealed = blob.split(wrapped, self.kind)
        salt, cost = header.parameters[:SALT_SIZE], _bounded(header.parameters[SALT_SIZE:])
        return blob.unseal(header, sealed, self._derive(salt, cost), context)

    def close(self) -> None:
        """Nothing is open."""

    def _derive(self, salt: bytes, cost: Cost) -> bytes:
        scrypt = Scrypt(salt=salt, length=blob.KEY_SIZE, n=1 << cost.log2_n, r=cost.r, p=cost.p)
        try:
            return scrypt.derive(self._passphrase)
        except MemoryError:
            need = (128 * cost.r << cost.log2_n) >> 20
            raise ConfigError(
                f"not enough memory for the passphrase's key: {need} MiB are needed",
                hint="allow the process more memory, or wrap by a file or a token",
            ) from None


def check_passphrase(wrapping: PassphraseWrapping) -> None:
    """Whether the passphrase in a file will do; one that is asked for is checked when it comes."""
    if wrapping.passphrase is not None:
        _long_enough(read_line(wrapping.passphrase, "passphrase"))


def _long_enough(passphrase: str) -> str:
    if len(passphrase) < LEAST_CHARACTERS:
        raise ConfigError(
            f"the passphrase has fewer than {LEAST_CHARACTERS} characters",
            hint="six words chosen by dice are easy to keep in mind and hard to guess",
        )
    return passphrase


def _bounded(parameters: bytes) -> Cost:
    cost = Cost(*parameters)
    if cost.log2_n not in LOG2_N_ALLOWED or cost.r not in R_ALLOWED or cost.p not in P_ALLOWED:
        raise blob.fault(
            f"the wrapped data key asks for scrypt with N=2^{cost.log2_n}, r={cost.r}, p={cost.p}:"
            " more or less than is allowed here"
        )
    return cost
