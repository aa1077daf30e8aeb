"""What is told of an image, by each command that tells of one."""

from __future__ import annotations

from typing import Any

from sealserve.deploy.images.building import Built
from sealserve.deploy.images.sbom import packages


def image_facts(built: Built) -> dict[str, Any]:
    """What is told of an image, in the order in which it is told."""
    found = packages(built.image)
    kinds = sorted({each.kind for each in found})
    return {
        "image": built.reference,
        "id": f"sha256:{built.image.config_sha256}",
        "size_mib": built.image.size >> 20,
        "layers": list(built.image.layers),
        "user": built.image.user,
        "entrypoint": list(built.image.entrypoint),
        "labels": built.image.labels,
        "packages": {kind: sum(each.kind == kind for each in found) for kind in kinds},
    }
