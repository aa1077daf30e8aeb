"""Attacks, one after the other, on a service that goes on serving: each is refused, and harms none.

1. On the release port (`_cases`): replayed evidence, a genuine quote in another's certificate, ALPN
   and SNI confusion, garbage before and after the handshake.
2. On the admin API (`_people`): an auditor's certificate on owners' calls, certificates of others.
3. On the database (`_rollback`): an older state of it is put back, under the running service, and
   before a start.

After each attack an enclave asks, and must be served.
"""

from __future__ import annotations

import base64
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from soak._cases import Target, allowed, denied
from soak._ledger import Ledger
from soak._people import others
from soak._report import Figure, counts, figure, promise
from soak._rollback import put_back
from soak._service import serving
from soak._site import Site
from soak._world import SECRET


@dataclass(frozen=True)
class Size:
    """How often each attack on the release port is made."""

    times: int


FULL, QUICK = Size(5), Size(1)


def run(size: Size) -> Iterator[Figure]:
    """All three."""
    with tempfile.TemporaryDirectory() as name:
        site = Site.create(Path(name), admin=True)
        ledger = Ledger(site)
        with serving(site.copies[0]) as service:
            target = Target.of(site.copies[0], site.folder)
            before = service.processes
            yield from _on_release(target, size)
            yield from others(site, target.victim)
            yield promise("an enclave is served after all that", "", holds=_is_served(target))
            yield promise(
                "the service had no fault, and runs in its first processes",
                f"{service.log.count('Traceback')} faults",
                holds="Traceback" not in service.log and service.processes == before,
            )
        ledger.look()
        codes = Counter(each["code"] for each in ledger.newest if each["kind"] == "decision")
        yield figure("decisions on record, by code", counts(codes))
        yield promise("the log verifies", f"{ledger.verify_all():,} records", holds=True)
    with tempfile.TemporaryDirectory() as name:
        yield from put_back(Site.create(Path(name)))


def _on_release(target: Target, size: Size) -> Iterator[Figure]:
    for name, case in allowed(target).items():
        answer = case()
        yield promise(
            f"without an attack: {name}", f"{len(answer)} bytes", holds=_has_secret(answer)
        )
    for name, case in denied(target).items():
        got = served = 0
        for _ in range(size.times):
            got += _has_secret(case())
            served += _is_served(target)
        yield promise(
            name,
            f"{got} of {size.times} got a secret, {served} were served after it",
            holds=got == 0 and served == size.times,
        )


def _is_served(target: Target) -> bool:
    return _has_secret(target.ask(target.victim))


def _has_secret(answer: bytes) -> bool:
    return SECRET in answer or base64.b64encode(SECRET) in answer
