"""Programs of others that some tests need: found, or installed where that can be, or said missing.

promtool comes with Debian's `prometheus`, whose service is kept from starting. systemd-analyze is
part of systemd, which is not installed for the sake of a test.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

INSTALL_SECONDS = 120
START_POLICY = Path("/usr/sbin/policy-rc.d")  # asked before a package starts a service


@functools.cache
def has_promtool() -> bool:
    """Whether there is a promtool, after an attempt to install it as root."""
    if shutil.which("promtool") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install("prometheus")
    return shutil.which("promtool") is not None


def _install(package: str) -> None:
    """Install Debian's package without starting its service; one of our processes at a time."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with (Path(tempfile.gettempdir()) / "sealserve-tests-apt.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if shutil.which("promtool") is not None:
            return
        ours = not START_POLICY.exists()
        if ours:
            START_POLICY.write_text("#!/bin/sh\nexit 101\n")
            START_POLICY.chmod(0o755)
        try:
            for words in (["update"], ["install", "-y", "--no-install-recommends", package]):
                subprocess.run(
                    ["apt-get", "-qq", *words],
                    check=False,
                    capture_output=True,
                    timeout=INSTALL_SECONDS,
                    env=environment,
                )
        except subprocess.TimeoutExpired:
            return
        finally:
            if ours:
                START_POLICY.unlink()


class _LazySkip:
    """`@needs_promtool`: looks for it when the test runs, not when it is collected."""

    def __call__(self, test):
        @functools.wraps(test)
        def checked(*arguments, **named):
            if not has_promtool():
                pytest.skip("promtool is missing (Debian: prometheus)")
            return test(*arguments, **named)

        return checked


needs_promtool = _LazySkip()


@functools.cache
def systemd_version() -> int:
    """The version of systemd-analyze; 0 where there is none."""
    if shutil.which("systemd-analyze") is None:
        return 0
    told = subprocess.run(
        ["systemd-analyze", "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    words = told.stdout.split()
    return int(words[1].split(".")[0]) if len(words) > 1 and words[1][:1].isdigit() else 0


needs_systemd = pytest.mark.skipif(
    "__import__('tools').systemd_version() < 250",
    reason="systemd-analyze of version 250 or later is missing (Debian: systemd)",
)
