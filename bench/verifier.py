"""Verify SGX quotes, beside the ECDSA verifications that nothing can spare.

With collateral that was verified before, three P-256 verifications are left for each quote: the PCK
certificate's, the quoting enclave's report's and the quote's own. They are the limit, done bare,
keys and signatures ready. Quotes of one platform come again and again, as in a fleet, so its
certificate is parsed once; its signature is checked each time. With nothing kept, not even the
loaded root, there are ten: the root's own, the PCK's, its CA's, two CRLs', the TCB signer's, two
statements', and the last two.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.measure import Result, compared, interleave
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import World
from sealserve.verifier import load_trust_root, verify, verify_collateral, verify_quote

QUOTES = 200
LEFT_FOR_EACH = 3
IN_ALL = 10
GOAL = 1 / 3  # ours at most three times the limit

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def run() -> Iterator[Result]:
    """Quotes a second, cached and not, against the bare signatures."""
    world = World.create(now=NOW)
    enclave = EnclaveIdentity(bytes(32), bytes(32))
    quotes = [world.quote(enclave.report(bytes([n]) * 64)) for n in range(QUOTES)]
    collateral = world.collateral()
    root = load_trust_root(world.root_ca_pem)
    verified = verify_collateral(collateral, root, NOW)

    def cached() -> None:
        for quote in quotes:
            verify_quote(quote, verified, NOW)

    def uncached() -> None:
        for quote in quotes:
            verify(quote, collateral, trust_root=world.root_ca_pem, now=NOW)

    times = interleave(
        {
            "three signatures": lambda: _bare(QUOTES * LEFT_FOR_EACH),
            "cached": cached,
            "ten signatures": lambda: _bare(QUOTES * IN_ALL),
            "uncached": uncached,
        }
    )
    for name, ours, limit, goal in (
        ("verify a quote, collateral verified before", "cached", "three signatures", GOAL),
        ("verify a quote and its collateral, nothing kept", "uncached", "ten signatures", None),
    ):
        yield compared(name, times, ours, limit, work=QUOTES, unit="quotes/s", goal=goal)


def _bare(count: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(hashes.SHA256())
    message = bytes(432)
    signature, public = key.sign(message, algorithm), key.public_key()
    for _ in range(count):
        public.verify(signature, message, algorithm)
