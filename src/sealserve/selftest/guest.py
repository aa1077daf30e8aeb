"""A TDX guest, by Linux's configfs-tsm: commands run as they are, and the VM is what is measured.

Never run by anybody on TDX: see docs/hardware.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sealserve.demo.processes import COMMAND, RUN_SECONDS, Service
from sealserve.deploy.tdx import tdx_findings
from sealserve.endorsements.collateral import Tee
from sealserve.errors import SourceError
from sealserve.selftest.commands import run_with
from sealserve.selftest.platform import Site
from sealserve.verifier import INTEL_SGX_ROOT_CA

_HERE: Final = Path("/")


class Guest:
    """The virtual machine that this runs in."""

    simulated = False
    title = "a TDX guest, by configfs-tsm"
    tee: Tee = "TDX"
    source = "tsm"
    ready_seconds = 120.0

    def __init__(
        self, collateral: str, collateral_ca: Path | None = None, *, root: Path = _HERE
    ) -> None:
        self.collateral = collateral
        self.collateral_ca = collateral_ca
        self._root = root

    def find(self, site: Site) -> str:
        """What the doctor finds of the guest's evidence; raises SourceError for what is missing."""
        self._site = site
        findings = list(tdx_findings(self._root))
        if not findings:
            raise SourceError(
                "this is no TDX guest: /proc/cpuinfo has no flag tdx_guest",
                hint="sealserve doctor --sgx says what this machine is",
            )
        for each in findings:
            if each.blocks:
                raise SourceError(f"{each.name}: {each.found}", hint=each.advice)
        return "; ".join(f"{each.name}: {each.found}" for each in findings)

    def trust_root(self) -> bytes:
        """Intel's."""
        return INTEL_SGX_ROOT_CA

    def predict(self, words: Sequence[str]) -> None:
        """Nothing predicts what a VM measures, and its commands are no part of it."""

    def run(self, words: Sequence[str], line: str) -> str:
        """The command to its end."""
        return run_with([*COMMAND, *words], line, folder=self._site.folder, seconds=RUN_SECONDS)

    def start(self, name: str, words: Sequence[str]) -> Service:
        """The command, which goes on."""
        log = self._site.logs / f"{name}.log"
        return Service(name, [*COMMAND, *words], folder=self._site.folder, log=log)

    def close(self) -> None:
        """Nothing of the platform itself was started."""
