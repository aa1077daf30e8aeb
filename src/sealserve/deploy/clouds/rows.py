"""All that is known of a cloud as rows, one for each fact: for the command and for the page.

No fact is left out, and each has its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sealserve.deploy.clouds import Cloud, common
from sealserve.deploy.clouds.model import REGION, Device, Ending, Fact, Port, Service, Size, Sourced


class Row(NamedTuple):
    """One fact."""

    area: str
    name: str
    value: str
    source: str
    unconfirmed: str | None


def cloud_rows(cloud: Cloud, region: str | None = None) -> Iterator[Row]:
    """Those of one cloud. Without a region `{region}` stays; raises UsageError for a wrong one."""
    filled = REGION if region is None else cloud.region(region)
    yield from _facts("machines", cloud.families)
    yield from map(_size, cloud.sizes)
    kernel = cloud.kernel
    yield _row("machines", "kernel", f"{kernel.minimum} or newer (tried: {kernel.release})", kernel)
    yield _row("machines", "system", kernel.os, kernel)._replace(unconfirmed=None)
    for row in _service(cloud.service):
        yield row._replace(value=row.value.replace(REGION, filled))
    if cloud.regions is not None:
        names = ", ".join(cloud.regions.names)
        more = "" if cloud.regions.complete else ", and others"
        named = f"{names}{more}"
        if REGION in cloud.service.pccs_url:
            named += f"; {cloud.regions.default} unless another is named"
        yield _row("regions", "names", named, cloud.regions)
    facts = (*_facts("services", cloud.services), *_facts("attestation", cloud.attestation))
    for row in facts:
        yield row._replace(value=row.value.replace(REGION, filled))
    yield from _facts("Kubernetes", cloud.kubernetes)
    yield from _facts("notes", cloud.notes)
    yield from map(_ending, cloud.endings)


def common_rows() -> Iterator[Row]:
    """Those of all clouds."""
    same = common()
    yield from map(_device, same.devices)
    yield from map(_port, same.ports)
    yield from _facts("software", same.software)
    yield from map(_ending, same.endings)


def _row(area: str, name: str, value: str, fact: Sourced) -> Row:
    return Row(area, name, value, fact.source, fact.unconfirmed)


def _facts(area: str, facts: Iterable[Fact]) -> Iterator[Row]:
    return (_row(area, fact.name, fact.value, fact) for fact in facts)


def _size(size: Size) -> Row:
    count = "1 vCPU" if size.vcpus == 1 else f"{size.vcpus} vCPUs"
    tried = ", which the guide was tried on" if size.reference else ""
    return _row("machines", size.name, f"{count}, EPC {size.epc}{tried}", size)


def _service(service: Service) -> Iterator[Row]:
    own = ", or your own PCCS" if service.own else ""
    yield _row("collateral", "PCK certificates", service.pccs_url + own, service)
    if service.local_pck_url is not None:
        asked = (*service.pck_headers.items(), *service.pck_params.items())
        with_ = ", ".join(f"{name}: {value}" for name, value in asked)
        said = f"{service.local_pck_url} (with {with_})"
        yield _row("collateral", "PCK certificates, asked first", said, service)
    everything = service.collateral_url or service.pccs_url
    yield _row("collateral", "TCB info, identities, CRLs", everything, service)


def _device(device: Device) -> Row:
    older = f" (under older drivers {', '.join(device.older)})" if device.older else ""
    return _row("devices", device.name, device.path + older, device)


def _port(port: Port) -> Row:
    return _row("ports", port.name, str(port.number), port)


def _ending(ending: Ending) -> Row:
    verb = "ends" if ending.kind == "ends" else "closes to new subscriptions"
    said = f"{verb} {ending.date.isoformat()}; then {ending.successor}"
    return _row("dates", ending.what, said, ending)
