"""Where wrap keys come from, and the one place that holds them.

1. `--attest`: make an RA-TLS identity from the evidence source, ask the key service: with
   `--secret_name` by that name, for every version of the key still in use and the model's record;
   without, in Gramine's protocol, for the one newest key. While nobody answers, ask again with
   growing pauses until the deadline. A refusal is final: DeniedError.
2. `--dangerously_use_key_file`: a file, for development; whoever owns the disk owns the key.

Neither the key nor a part of it is ever logged, printed or put into an exception.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path

from sealserve.attester.named import fetch_named
from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.attester.source import is_simulated, parse_source
from sealserve.errors import ConfigError, FormatError, NetworkError, OverloadedError
from sealserve.files import read_secret
from sealserve.logline import line
from sealserve.sealing import WRAP_KEY_BYTES, ModelRecord, parse_record
from sealserve.serving.watching.stages import STARTING

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
    """How to get keys by attestation."""

    evidence_source: str  # `gramine`, `tsm`, or `lab:` and a socket path
    key_service: str  # `host:port`, or several with `;` between them
    ca_file: Path
    server_name: str | None = None
    secret_name: str | None = None  # None: Gramine's protocol, which names none
    timeout: float = 120.0  # seconds, over all tries


@dataclass(frozen=True)
class HeldKeys:
    """The keys that files may be sealed under, newest first, and the record of the model."""

    keys: tuple[WrapKey, ...]
    record: ModelRecord | None = None


def key_from_file(path: Path) -> WrapKey:
    """The key in a file of exactly 16 bytes that nobody else may read; says loudly what it is."""
    log.warning(
        line(
            "DANGEROUS",
            reason=f"the wrap key comes from {path}; nothing attests this server, and whoever owns "
            "the disk can read what is sealed",
        )
    )
    return WrapKey(read_secret(path, limit=WRAP_KEY_BYTES))


def keys_by_attestation(attestation: Attestation) -> HeldKeys:
    """What the key service releases to this enclave.

    Blocks, for `timeout` seconds at most. Raises NetworkError when no key service answered in that
    time, DeniedError when one refused, and what the evidence source raises.
    """
    source = parse_source(attestation.evidence_source)
    if not attestation.ca_file.is_file():
        raise ConfigError(f"--key_service_ca: there is no file {attestation.ca_file}")
    end = time.monotonic() + attestation.timeout
    with STARTING.stage("attest"):
        identity = make_certificate(source)
    pause = FIRST_PAUSE
    while True:
        try:
            return _ask(attestation, identity, end - time.monotonic())
        except NetworkError as error:
            if isinstance(error, OverloadedError):
                pause = max(pause, error.retry_after)
            # A wrong certificate does not become right; everything else may pass.
            if error.code == "server-certificate" or time.monotonic() + pause >= end:
                raise
            log.warning(line("no_key_yet", reason=error.message, again_in=round(pause, 1)))
        # Replicas that start together must not ask together for ever.
        time.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311
        pause = min(pause * 2, LONGEST_PAUSE)


def keys_again(attestation: Attestation, held: HeldKeys) -> HeldKeys:
    """What the key service releases now, with fresh evidence, in one try; raises as above.

    By name the answer is all there is: a key that was revoked is gone. In Gramine's protocol, which
    tells the newest key alone, the keys `held` stay behind it.
    """
    identity = make_certificate(parse_source(attestation.evidence_source))
    found = _ask(attestation, identity, ATTEMPT_SECONDS)
    if attestation.secret_name is not None:
        return found
    (newest,) = found.keys
    older = [key for key in held.keys if key.reveal() != newest.reveal()]
    return HeldKeys((newest, *older))


def _ask(attestation: Attestation, identity: RatlsIdentity, seconds: float) -> HeldKeys:
    """One try, of ATTEMPT_SECONDS at most."""
    timeout = max(min(seconds, ATTEMPT_SECONDS), 1.0)
    record = None
    if attestation.secret_name is None:
        values = [
            fetch_secret(
                attestation.key_service,
                ca_file=attestation.ca_file,
                identity=identity,
                server_name=attestation.server_name,
                timeout=timeout,
            )
        ]
    else:
        provision = fetch_named(
            attestation.key_service,
            [attestation.secret_name],
            ca_file=attestation.ca_file,
            identity=identity,
            server_name=attestation.server_name,
            timeout=timeout,
        )
        secret = provision.secrets[attestation.secret_name]
        values = [version.value for version in secret.versions]
        record = None if secret.record is None else parse_record(secret.record)
    held = HeldKeys(tuple(WrapKey(_decode(value)) for value in values), record)
    if is_simulated(attestation.evidence_source):
        log.warning(line("SIMULATED", reason="no hardware vouches for the evidence"))
    log.info(line("key_received", evidence_sha256=identity.evidence_digest, keys=len(held.keys)))
    return held


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
