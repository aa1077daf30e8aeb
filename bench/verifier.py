"""Verify quotes beside `dcap-qvl`, a verifier in Rust, and beside the signatures that remain.

`dcap_qvl.verify` keeps nothing: each of its calls is handed quote and collateral, and verifies
both. Ours is measured with collateral that was verified before, as a service has it, and with
collateral that was not. Either way it remembers the certificate chains that verified under the
root, and of them checks dates and revocation again. So there are quotes of one platform, and quotes
of so many that none is remembered when it comes again.

The limits are bare P-256 verifications, keys and signatures ready: two for a platform that was seen
before (the quoting enclave's report, the quote), one more for its certificate, four more for the
collateral (two CRLs, two statements).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench._evidence import NOW, Scene, fleet, one_platform, other_verification, other_verifier
from bench.measure import Result, compared, interleave
from sealserve.verifier import verify, verify_quote

QUOTES = 200  # of as many platforms: more than the verifier remembers
OTHER = "dcap_qvl.verify"


class Case(NamedTuple):
    """What is verified, how many signatures that takes, and what has to hold."""

    verify_all: Callable[[], object]
    signatures: int
    of_other: float | None
    """The least ratio to the other verifier's throughput."""
    of_limit: float | None
    """The least ratio to that of the bare signatures."""


def run() -> Iterator[Result]:
    """Quotes a second: each case against the other verifier, then against its limit."""
    one, many = one_platform(QUOTES), fleet(QUOTES)
    cases = {
        "a quote": Case(_cached(one), 2, 1.0, 1 / 3),
        "a platform's first quote": Case(_cached(many), 3, 1.0, 1 / 4),
        "a quote and its collateral": Case(_uncached(one), 6, 1 / 1.5, None),
        "a platform's first, and its collateral": Case(_uncached(many), 7, None, None),
    }
    subjects = {name: case.verify_all for name, case in cases.items()}
    subjects |= {_bare_name(case.signatures): _bare(case.signatures) for case in cases.values()}
    other = other_verifier()
    if other:
        verification = other_verification(other, many)
        subjects[OTHER] = lambda: list(map(verification, many.quotes))
    times = interleave(subjects, rounds=9, clock=time.process_time)
    rows = [(OTHER, name, case.of_other) for name, case in cases.items()] if other else []
    rows += [(_bare_name(case.signatures), name, case.of_limit) for name, case in cases.items()]
    for peer, name, goal in rows:
        title = f"verify {name}"
        yield compared(title, times, name, peer, work=QUOTES, unit="quotes/s", goal=goal)


def _cached(scene: Scene) -> Callable[[], object]:
    verified = scene.verified()
    return lambda: [verify_quote(quote, verified, NOW) for quote in scene.quotes]


def _uncached(scene: Scene) -> Callable[[], object]:
    root, collateral = scene.root, scene.collateral
    return lambda: [verify(quote, collateral, trust_root=root, now=NOW) for quote in scene.quotes]


def _bare_name(count: int) -> str:
    return f"{count} signatures"


def _bare(count: int) -> Callable[[], object]:
    key = ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(hashes.SHA256())
    message = bytes(432)
    signature, public = key.sign(message, algorithm), key.public_key()

    def verify_all() -> None:
        for _ in range(count * QUOTES):
            public.verify(signature, message, algorithm)

    return verify_all
