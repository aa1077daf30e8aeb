"""Programs of others that some tests need, or why those are skipped.

`scripts/test_packages.sh` installs what `make test` may install.
"""

from __future__ import annotations

import functools
import shutil
import subprocess

import pytest

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing (Debian: prometheus)"
)


@functools.cache
def _systemd_version() -> int:
    """Of systemd-analyze; 0 where there is none."""
    if shutil.which("systemd-analyze") is None:
        return 0
    told = subprocess.run(
        ["systemd-analyze", "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    words = told.stdout.split()  # "systemd 252 (252.38-1~deb12u1)"
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


needs_systemd = pytest.mark.skipif(
    _systemd_version() < 250,  # `security --offline` and `verify --recursive-errors`
    reason="systemd-analyze of version 250 or later is missing (Debian: systemd)",
)
