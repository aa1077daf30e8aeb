"""Whose machine this is: a cloud's, by what its firmware says of itself; or a container's inside.

Sources: cloud-init, `tools/ds-identify` (Azure by the chassis' asset tag, Alibaba by the product's
name). Of other clouds no document that says it was found.
"""

from __future__ import annotations

from sealserve.deploy.finding import Finding, hardware
from sealserve.deploy.sgx.machine import Machine

_DMI = "sys/class/dmi/id"
_AZURE_TAG = "7783-7084-3265-9085-8269-3286-77"
_ALIBABA_PRODUCT = "Alibaba Cloud ECS"


def cloud_of(machine: Machine) -> str | None:
    """The name in `deploy.clouds` of the cloud that this machine says it is of."""
    if machine.text(f"{_DMI}/chassis_asset_tag").strip() == _AZURE_TAG:
        return "azure"
    if machine.text(f"{_DMI}/product_name").strip() == _ALIBABA_PRODUCT:
        return "alibaba"
    return None


def host(machine: Machine) -> Finding:
    """What it says of itself; neither is better."""
    vendor, product = (
        machine.text(f"{_DMI}/{name}").strip() for name in ("sys_vendor", "product_name")
    )
    parts = [
        " ".join(filter(None, (vendor, product))) or "unknown",
        f"cloud {cloud}" if (cloud := cloud_of(machine)) else "",
        f"in a container ({machine.container})" if machine.container else "",
    ]
    found = ", ".join(filter(None, parts))
    return hardware("machine", True, found, expected="any", mend="")
