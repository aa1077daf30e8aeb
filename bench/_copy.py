"""A key service in a process of its own, with what the product has no setting for.

It is `sealserve.keyservice.application.run` as it is, but for the number of records in one
transaction, and, where it is asked to, under a profiler in each of its threads.
"""

from __future__ import annotations

import cProfile
import logging
import pstats
import threading
from functools import partial
from pathlib import Path
from typing import Any

from bench._process import Tell
from sealserve.keyservice import application
from sealserve.keyservice.config import load_config
from sealserve.keyservice.store.appender import Appender


def serve_copy(tell: Tell, config_file: Path, batch: int) -> None:
    """Serve until SIGTERM, at most `batch` records in a transaction."""
    logging.disable(logging.WARNING)  # nobody collects its log
    application.Appender = partial(Appender, batch=batch)  # type: ignore[assignment,attr-defined]
    application.run(load_config(config_file), ready=lambda address: tell(address.port))


def serve_profiled(tell: Tell, config_file: Path, out: Path) -> None:
    """Serve until SIGTERM with one worker; then write the profile of all threads to `out`."""
    profiles: list[cProfile.Profile] = []

    def begin(*_: Any) -> None:
        profile = cProfile.Profile()
        profiles.append(profile)
        profile.enable()

    threading.setprofile(begin)
    begin()
    application.run(load_config(config_file), ready=lambda address: tell(address.port))
    profiles[0].disable()
    stats = pstats.Stats(profiles[0])
    for profile in profiles[1:]:
        stats.add(profile)
    stats.dump_stats(out)
