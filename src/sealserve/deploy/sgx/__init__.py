"""What a machine has of SGX, from the processor up. Looks; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sealserve.deploy.description.model import Description
from sealserve.deploy.finding import Finding
from sealserve.deploy.sgx import driver, memory, processor, quoting, software
from sealserve.deploy.sgx.host import host
from sealserve.deploy.sgx.machine import Machine

__all__ = ["Machine", "sgx_findings", "thorough_findings"]


def sgx_findings(root: Path) -> Iterator[Finding]:
    """What enclaves and their quotes cannot do without, on the machine with its files in `root`."""
    machine = Machine(root)
    yield processor.processor(machine)
    yield processor.launch_control(machine)
    yield memory.epc(machine)
    yield driver.kernel(machine)
    yield driver.edmm(machine, wanted=False)
    yield from driver.devices(machine)
    yield quoting.aesm(machine)
    yield software.gramine()
    yield software.inside(machine)


def thorough_findings(machine: Machine, description: Description | None) -> Iterator[Finding]:
    """Everything that can be known before an enclave is started here.

    With a description also whether the machine is what it describes.
    """
    wanted = description.gramine if description else None
    yield host(machine)
    yield processor.processor(machine)
    yield processor.launch_control(machine)
    yield from processor.details(machine, edmm=wanted is not None and wanted.edmm)
    yield memory.epc(machine)
    if description is not None:
        yield memory.fits(machine, description)
    yield driver.kernel(machine)
    yield driver.edmm(machine, wanted=wanted is not None and wanted.edmm)
    yield from driver.configuration(machine)
    yield from driver.devices(machine)
    yield from driver.executable(machine)
    yield quoting.aesm(machine)
    yield from quoting.provider(machine)
    yield software.gramine(wanted.version if wanted else None)
    yield software.inside(machine)
