"""What both kinds of database have in common: how many connections, and how long one waits."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine

WAIT_SECONDS: Final = 10  # for a lock, a statement, a connection
POOL: Final = 12  # connections of one process
WRITING: Final = "sealserve_writing"  # the option of a transaction that writes
UNTIL: Final = "sealserve_until"  # and of one that ends by then, on the monotonic clock


def make_engine(url: URL, **options: Any) -> Engine:
    """An engine whose pool is bounded and whose errors hold no values."""
    return create_engine(
        url,
        pool_size=POOL,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        hide_parameters=True,
        pool_reset_on_return=None,  # nothing is returned but between transactions
        **options,
    )
