"""Where the wrap key comes from, and the one place that holds it.

1. `--attest`: make an RA-TLS identity from the evidence source, ask the key service. While nobody
   answers, ask again with growing pauses until the deadline. A refusal is final: DeniedError.
2. `--dangerously_use_key_file`: a file, for development; whoever owns the disk owns the key.

Neither the key nor a part of it is ever logged, printed or put into an exception.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path

from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.attester.source import parse_source
from sealserve.errors import ConfigError, FormatError, NetworkError
from sealserve.files import read_secret
from sealserve.sealing import WRAP_KEY_BYTES

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5  # seconds, doubled after each try
LONGEST_PAUSE = 15.0
ATTEMPT_SECONDS = 30.0  # one try: connect, handshake, verification on the other side, answer


class WrapKey:
    """A wrap key. It shows itself only to `reveal`, and neither prints, compares nor pickles."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != WRAP_KEY_BYTES:
            raise FormatError(
                f"a wrap key has {WRAP_KEY_BYTES} bytes; this one has {len(key)}", code="key-size"
            )
        self._key = key

    def reveal(self) -> bytes:
        """The 16 bytes, for the cipher and nobody else."""
        return self._key

    def __repr__(self) -> str:
        return "<WrapKey>"

    def __reduce__(self) -> str:
        raise TypeError("a wrap key is not pickled")


@dataclass(frozen=True)
class Attestation:
    """How to get the key by attestation."""

    evidence_source: str  # `gramine`, or `lab:` and a socket path
    key_service: str  # `host:port`, or several with `;` between them
    ca_file: Path
    server_name: str | None = None
    timeout: float = 120.0  # seconds, over all tries


def key_from_file(path: Path) -> WrapKey:
    """The key in a file of exactly 16 bytes that nobody else may read; says loudly what it is."""
    log.warning(
        "DANGEROUS: the wrap key comes from %s; nothing attests this server, and whoever owns the "
        "disk can read what is sealed",
        path,
    )
    return WrapKey(read_secret(path, limit=WRAP_KEY_BYTES))


def key_by_attestation(attestation: Attestation) -> WrapKey:
    """The key that the key service releases to this enclave.

    Blocks, for `timeout` seconds at most. Raises NetworkError when no key service answered in that
    time, DeniedError when one refused, and what the evidence source raises.
    """
    source = parse_source(attestation.evidence_source)
    if not attestation.ca_file.is_file():
        raise ConfigError(f"--key_service_ca: there is no file {attestation.ca_file}")
    end = time.monotonic() + attestation.timeout
    identity = make_certificate(source)
    key = WrapKey(_decode(_fetch(attestation, identity, end)))
    simulated = "" if attestation.evidence_source == "gramine" else "SIMULATED: "
    log.info("%skey received for evidence SHA-256 %s", simulated, identity.evidence_digest)
    return key


def _fetch(attestation: Attestation, identity: RatlsIdentity, end: float) -> bytes:
    pause = FIRST_PAUSE
    while True:
        left = end - time.monotonic()
        try:
            return fetch_secret(
                attestation.key_service,
                ca_file=attestation.ca_file,
                identity=identity,
                server_name=attestation.server_name,
                timeout=max(min(left, ATTEMPT_SECONDS), 1.0),
            )
        except NetworkError as error:
            # A wrong certificate does not become right; everything else may pass.
            if error.code == "server-certificate" or time.monotonic() + pause >= end:
                raise
            log.warning("no key yet: %s; asking again in %.1f s", error.message, pause)
        # Replicas that start together must not ask together for ever.
        time.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311
        pause = min(pause * 2, LONGEST_PAUSE)


def _decode(secret: bytes) -> bytes:
    """The key in a secret: as it is, or in hex with an optional NUL as Gramine 1.2 and earlier."""
    text = secret.removesuffix(b"\0")
    if len(text) != 2 * WRAP_KEY_BYTES:
        return secret
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        # `from None`: the exception of the decoder quotes what it could not read.
        raise FormatError(
            "the secret is no key: not raw, and not in hex", code="key-size"
        ) from None
