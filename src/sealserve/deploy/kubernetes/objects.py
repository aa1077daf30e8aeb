"""All objects of a plan, in the files that they are written to and the order to make them in.

The one source of everything that is rendered. Pod Security: `restricted`, unless the node's AESM is
mounted, which is a `hostPath` and forbidden from `baseline` on; then nothing is enforced, what
violates it is only recorded, and the namespace says why. Source: Kubernetes, "Pod Security
Standards".
"""

from __future__ import annotations

from sealserve.deploy.kubernetes.aesm import AESM_FOLDER, qcnl_map
from sealserve.deploy.kubernetes.edge import RETIRED, edge_objects
from sealserve.deploy.kubernetes.keyservice import key_service_objects
from sealserve.deploy.kubernetes.network import network_objects
from sealserve.deploy.kubernetes.plan import KEEP, NOTICE, Object, Plan
from sealserve.deploy.kubernetes.server import server_objects

_SECURITY = "pod-security.kubernetes.io"
_WHY = (
    f"hostPath {AESM_FOLDER}: quotes come from the node's AESM; with aesm_image in [kubernetes] "
    "they come from beside each server, and the namespace is restricted"
)


def all_objects(plan: Plan) -> dict[str, list[Object]]:
    """Objects by the name of their file, without its ending; empty files are left out."""
    found = {
        "namespace": [_namespace(plan)],
        "network": network_objects(plan),
        "key-service": key_service_objects(plan),
        "server": [*([qcnl_map(plan)] if plan.quotes_beside else []), *server_objects(plan)],
        "edge": edge_objects(plan),
    }
    return {name: objects for name, objects in found.items() if objects}


def heading(plan: Plan, name: str = "") -> list[str]:
    """What stands first in every file, and in the file of objects of that name."""
    notice = plan.annotations.get(NOTICE)
    edges = plan.description.kubernetes.edges
    return [
        f"{plan.name}, made by SealServe for {plan.target.title}; edit the description instead.",
        f"Description: sha256 {plan.description.digest}",
        *([notice] if notice else []),
        *([RETIRED] if name == "edge" and "ingress-nginx" in edges else []),
    ]


def _namespace(plan: Plan) -> Object:
    metadata = plan.metadata(plan.namespace, annotations=KEEP)
    del metadata["namespace"]
    if plan.quotes_from_node:
        metadata["labels"] |= {f"{_SECURITY}/enforce": "privileged"}
        metadata["annotations"] |= {"sealserve.io/pod-security": _WHY}
    else:
        metadata["labels"] |= {f"{_SECURITY}/enforce": "restricted"}
    metadata["labels"] |= {f"{_SECURITY}/audit": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
