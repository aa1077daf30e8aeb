"""What a composition needs of SGX on this machine, and a refusal where it is not there.

Without SGX nothing is started unless a lab is named: a server that nobody can attest gets no key,
and one that says nothing of it would only look as if it were protected.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealserve.deploy.sgx import sgx_findings
from sealserve.errors import ConfigError

DEVICES: Final = ("/dev/sgx_enclave",)  # the provisioning device is AESM's, which makes the quotes
AESM_FOLDER: Final = "/var/run/aesmd"  # the folder, for AESM makes its socket anew when it starts
_NEEDED: Final = ("enclave device", "provisioning device", "AESM")


@dataclass(frozen=True, slots=True)
class Sgx:
    """What is passed to each server: devices, the folder of AESM's socket, groups that may."""

    devices: tuple[str, ...] = DEVICES
    aesm: str = AESM_FOLDER
    groups: tuple[int, ...] = ()


def find_sgx(root: Path = Path("/"), *, gramine: bool = False) -> Sgx:
    """This machine's SGX, and with `gramine` a Gramine; raises ConfigError that says what lacks."""
    needed = (*_NEEDED, "Gramine") if gramine else _NEEDED
    found = [each for each in sgx_findings(root) if each.name in needed and each.needed]
    lacking = [each for each in found if not each.good]
    if lacking:
        reasons = "; ".join(f"{each.name}: {each.found}" for each in lacking)
        raise ConfigError(
            f"this machine cannot run enclaves ({reasons})",
            hint="`sealserve doctor` says what to do; to try it without SGX, name a lab: --lab DIR "
            "(sealserve lab init DIR), which is SIMULATED",
        )
    return Sgx(groups=_groups(root))


def _groups(root: Path) -> tuple[int, ...]:
    """The groups that may use a device which not everybody may."""
    found = set()
    for name in DEVICES:
        status = os.stat(root / name.lstrip("/"))  # noqa: PTH116  # its mode and group
        if not status.st_mode & stat.S_IROTH and status.st_mode & stat.S_IRGRP:
            found.add(status.st_gid)
    return tuple(sorted(found))
