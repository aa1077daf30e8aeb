"""Verify quotes beside `dcap-qvl`, a verifier in Rust, and beside the signatures that remain.

`dcap_qvl.verify` keeps nothing: each of its calls is handed quote and collateral and verifies both.
Ours is measured with the collateral verified before, as a service has it, and with nothing kept but
the root. A platform's certificates are verified once for the quotes that follow (their dates and
their revocation each time), so there are two cases with collateral verified before: one platform's
quotes one after another, and quotes of so many platforms that none is remembered when it comes
again.

The limits are bare P-256 verifications, keys and signatures ready: two for a platform that was seen
before (the quoting enclave's report, the quote); three with its certificate; nine for everything
(also its CA, two CRLs, the TCB signer and its two statements).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench._evidence import NOW, Scene, fleet, one_platform, other_verification, other_verifier
from bench.measure import Result, compared, interleave
from sealserve.verifier import verify, verify_quote

QUOTES = 200  # of as many platforms: more than the verifier remembers
OTHER = "dcap_qvl.verify"
NOT_SLOWER = 1.0
UNCACHED_GOAL = 1 / 1.5
OF_LIMIT = 1 / 3  # ours at most three times the bare signatures

Subjects = dict[str, Callable[[], object]]


def run() -> Iterator[Result]:
    """Quotes a second: the three cases, each against the other verifier and against its limit."""
    one, many = one_platform(QUOTES), fleet(QUOTES)
    cases: Subjects = {
        "a platform seen before": _cached(one),
        "a platform's first quote": _cached(many),
        "nothing kept but the root": _uncached(many),
    }
    goals = (NOT_SLOWER, NOT_SLOWER, UNCACHED_GOAL)
    limits = (2, 3, 9)
    subjects = {**cases, **{_bare_name(count): _bare(count) for count in limits}}
    if other := other_verifier():
        verification = other_verification(other, many)
        subjects[OTHER] = lambda: [verification(quote) for quote in many.quotes]
    times = interleave(subjects)
    if other:
        for case, goal in zip(cases, goals, strict=True):
            yield compared(
                f"verify: {case}", times, case, OTHER, work=QUOTES, unit="quotes/s", goal=goal
            )
    for case, count, goal in zip(cases, limits, (None, OF_LIMIT, None), strict=True):
        bare = _bare_name(count)
        yield compared(f"limit: {case}", times, case, bare, work=QUOTES, unit="quotes/s", goal=goal)


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
