"""The lab in a cluster: one simulated world for all pods, in a Secret that an operator makes.

The Secret holds the folder of `sealserve lab init` as one archive, because a volume of a Secret
knows no folders, and its files have no mode that the lab would take for private. Each pod that
needs a world unpacks it into memory. Whoever reads the Secret owns the simulated hardware.
"""

from __future__ import annotations

from typing import Final

from sealserve.deploy.kubernetes import pods
from sealserve.deploy.kubernetes.plan import Component, Object, Plan
from sealserve.deploy.kubernetes.pods import Container, Resources, in_memory, mount

WORLD: Final = "world"
WORLD_FOLDER: Final = "/run/sealserve/world"
LAB_FOLDER: Final = f"{WORLD_FOLDER}/lab"
ARCHIVE: Final = "lab.tar"  # of a folder `lab`: who unpacks it may not change the folder around it
PUBLIC: Final = ("lab/root_ca.pem", "lab/collateral", "lab/tdx-collateral")  # for a verifier
_PACKED: Final = "packed-world"
_PACKED_FOLDER: Final = "/run/sealserve/packed"


def secret_name(plan: Plan) -> str:
    """The Secret with the archive."""
    return plan.named("lab")


def world_container(
    plan: Plan, component: Component = "server", members: tuple[str, ...] = ()
) -> Container:
    """What unpacks the world, or only `members` of it, before the others start."""
    return Container(
        name="world",
        image=pods.image_of(plan, component),
        command=["tar", "-xpf", f"{_PACKED_FOLDER}/{ARCHIVE}", "-C", WORLD_FOLDER, *members],
        resources=Resources("50m", "32Mi", "64Mi"),
        mounts=[mount(_PACKED, _PACKED_FOLDER), mount(WORLD, WORLD_FOLDER, writable=True)],
    )


def world_volumes(plan: Plan) -> list[Object]:
    """The archive, and the memory that it is unpacked into."""
    archive = {"secretName": secret_name(plan), "items": [{"key": ARCHIVE, "path": ARCHIVE}]}
    return [{"name": _PACKED, "secret": archive}, in_memory(WORLD, "16Mi")]
