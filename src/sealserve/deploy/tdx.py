"""What a TDX guest has of what its evidence takes; nothing is said of a machine that is no guest.

Looks; makes no entry and asks for no quote. Sources: Linux, `Documentation/ABI/testing/
configfs-tsm-report` (from 6.7), `arch/x86/include/asm/cpufeatures.h` (the flag of a guest).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sealserve.deploy.finding import Finding
from sealserve.deploy.sgx.machine import Machine, version_in

GUEST_FLAG = "tdx_guest"
TSM_KERNEL = (6, 7)
_CONFIGFS = "sys/kernel/config"
_REPORTS = f"{_CONFIGFS}/tsm/report"


def tdx_findings(root: Path) -> Iterator[Finding]:
    """On the guest whose files are under `root`, what `--evidence_source=tsm` finds there."""
    machine = Machine(root)
    if GUEST_FLAG not in machine.flags:
        return
    release = machine.release or "unknown"
    good = version_in(release) >= TSM_KERNEL
    yield _finding("kernel of the TDX guest", good, f"Linux {release}", "6.7 or newer is needed")
    yield _reports(root)


def _reports(root: Path) -> Finding:
    name, folder = "configfs-tsm", root / _REPORTS
    if folder.is_dir():
        good = os.access(folder, os.W_OK | os.X_OK)
        found = f"/{_REPORTS}" + ("" if good else ", and this user may make nothing there")
        return _finding(name, good, found, "run the server as a user who may, root by default")
    if next((root / _CONFIGFS).glob("*"), None) is None:
        advice = f"mount -t configfs none /{_CONFIGFS}, and give it to the container"
    else:
        advice = "modprobe tdx_guest"
    return _finding(name, False, "none", advice)


def _finding(name: str, good: bool, found: str, advice: str) -> Finding:
    return Finding("guest", name, good, found, "" if good else advice)
