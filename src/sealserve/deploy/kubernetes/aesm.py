"""Where quotes come from: AESM of the node, by its folder, or in a container beside the server.

Gramine opens the device of enclaves alone and asks AESM for quotes by a socket, so no server needs
the provisioning device. The node's folder is a `hostPath`, which Pod Security allows in no
namespace that is even `baseline`; a container beside the server needs none, and an image of AESM,
which is no image of ours. It is made of Intel's `sgx-aesm-service` with the quoting plugins, starts
`aesm_service --no-daemon`, and has to run as user 10001. Sources: Gramine 1.9, host_framework.c;
Intel's device plugins 0.36, demo/sgx-aesmd-demo/Dockerfile, deployments/sgx_aesmd.
"""

from __future__ import annotations

from typing import Final

from sealserve.deploy.clouds import load_cloud
from sealserve.deploy.clouds.qcnl import render_qcnl
from sealserve.deploy.kubernetes.plan import Object, Plan
from sealserve.deploy.kubernetes.pods import Container, Resources, in_memory, mount
from sealserve.deploy.kubernetes.targets import ALIBABA_EPC, ENCLAVE, EPC, PROVISION

AESM: Final = "aesm"
AESM_FOLDER: Final = "/var/run/aesmd"
QCNL: Final = "sgx_default_qcnl.conf"
_SOCKET: Final = f"{AESM_FOLDER}/aesm.socket"
_EPC_MIB: Final = 8  # of the quoting and the provisioning enclave


def aesm_container(plan: Plan) -> Container:
    """AESM, started before the server and ended after it (a sidecar: Kubernetes 1.29)."""
    probe = {"exec": {"command": ["test", "-S", _SOCKET]}}
    return Container(
        name=AESM,
        image=plan.description.kubernetes.aesm_image,
        resources=Resources("50m", "64Mi", "256Mi", _devices(plan)),
        mounts=[
            mount(AESM, AESM_FOLDER, writable=True),
            mount("qcnl", f"/etc/{QCNL}", part=QCNL),
        ],
        rest={
            "restartPolicy": "Always",
            "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 120},
            "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
        },
    )


def aesm_volumes(plan: Plan) -> list[Object]:
    """The folder of the socket, and the configuration."""
    return [
        in_memory(AESM, "8Mi"),
        {"name": "qcnl", "configMap": {"name": plan.named("qcnl")}},
    ]


def qcnl_map(plan: Plan) -> Object:
    """The quote provider's configuration for the description's cloud."""
    text = render_qcnl(load_cloud(plan.description.cloud)).decode()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": plan.metadata(plan.named("qcnl"), "server"),
        "data": {QCNL: text},
    }


def _devices(plan: Plan) -> dict[str, str]:
    if plan.target.tolerated == ALIBABA_EPC:
        return {ALIBABA_EPC: str(_EPC_MIB)}
    return {EPC: f"{_EPC_MIB}Mi", ENCLAVE: "1", PROVISION: "1"}
