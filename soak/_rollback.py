"""An older state of the database is put back: under the running service, and before a start.

It is a whole and authentic one, signatures and all, as whoever can write to the database can make.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from soak._enclaves import Crowd, Tally, crowd, gather
from soak._report import Figure, promise
from soak._service import Service, serving
from soak._site import Site

DATABASE = "keyservice.db"
LOAD_SECONDS = 1.0


def put_back(site: Site) -> Iterator[Figure]:
    """Serve, put it back, ask, start again, put the newer one back, ask."""
    folder = site.folder
    copy(folder / DATABASE, folder / "older.db")
    with serving(site.copies[0]) as service:
        served = _asked(site)
        copy(folder / DATABASE, folder / "newer.db")
        copy(folder / "older.db", folder / DATABASE)
        got = _asked(site)
        noticed = service.metrics().get("log_rollbacks_total", {})
        ready = service.is_ready()
        yield promise(
            "an older database under the running service: nothing is released",
            f"{got} of many, after {served}",
            holds=got == 0 < served,
        )
        yield promise(
            "it says so: not ready, and a metric for the alert",
            f"{sum(noticed.values()):.0f} times",
            holds=not ready and sum(noticed.values()) > 0,
        )
        service.kill()
    yield promise(
        "a restart on the older database: no service",
        "audit.rolled-back",
        holds=_refuses_to_start(Service(site.copies[0])),
    )
    copy(folder / "newer.db", folder / DATABASE)
    with serving(site.copies[0]):
        again = _asked(site)
    yield promise("on its own database it serves again", f"{again}", holds=again > 0)


def copy(source: Path, target: Path) -> None:
    """The state of a database into another, whoever uses them."""
    with (
        closing(sqlite3.connect(source, timeout=30)) as reading,
        closing(sqlite3.connect(target, timeout=30)) as writing,
    ):
        reading.backup(writing)


def _asked(site: Site) -> int:
    """How many enclaves were served in a second."""
    tally = Tally()
    plan = Crowd((site.copies[0].server,), roles=("gramine", "named"), threads=4, timeout=10.0)
    with crowd(site.folder, plan) as enclaves:
        time.sleep(LOAD_SECONDS)
        gather(enclaves, tally, stop=True)
    return len(tally.served())


def _refuses_to_start(service: Service) -> bool:
    try:
        with service:
            return False
    except RuntimeError:
        return "had" in service.log and "before" in service.log
