"""The kinds of clusters that are rendered for, and what each has of its own.

`BASE` is what all have in common: a Kustomize base, which runs nowhere by itself. EPC by its names:
Intel's device plugin 0.36, cmd/sgx_plugin (`enclave` is the device, one for each container);
Microsoft, confidential-enclave-nodes-aks-get-started (2021), whose plugin adds the device itself;
AliyunContainerService/sgx-device-plugin, README and deploy/ (2025), in MiB, with a taint of the
same name. AESM is the node's: its folder, since it makes its socket anew whenever it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from sealserve.errors import UsageError

Evidence = Literal["hardware", "simulated"]

EPC: Final = "sgx.intel.com/epc"
ENCLAVE: Final = "sgx.intel.com/enclave"
PROVISION: Final = "sgx.intel.com/provision"
ALIBABA_EPC: Final = "alibabacloud.com/sgx_epc_MiB"


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of cluster; `epc` gives the resources of an enclave of so many MiB."""

    name: str
    title: str
    service_type: Literal["ClusterIP", "LoadBalancer", "NodePort"]
    epc: Callable[[int], Mapping[str, str]] | None = None
    tolerated: str = ""
    evidence: Evidence = "hardware"

    @property
    def simulated(self) -> bool:
        """Whether a lab stands in for SGX."""
        return self.evidence == "simulated"


def _intel(mib: int) -> Mapping[str, str]:
    return {EPC: f"{mib}Mi", ENCLAVE: "1"}


def _azure(mib: int) -> Mapping[str, str]:
    return {EPC: f"{mib}Mi"}


def _alibaba(mib: int) -> Mapping[str, str]:
    return {ALIBABA_EPC: str(mib)}


BASE: Final = Target("base", "what all clusters have in common", "ClusterIP")
LAB: Final = Target("lab", "a lab in place of SGX: SIMULATED", "ClusterIP", evidence="simulated")
_ALL: Final = (
    Target("generic", "nodes with Intel's SGX device plugin", "NodePort", _intel),
    Target("azure", "Azure AKS with the add-on confcom", "LoadBalancer", _azure),
    Target("alibaba", "Alibaba ACK", "LoadBalancer", _alibaba, tolerated=ALIBABA_EPC),
    LAB,
)
TARGETS: Final[Mapping[str, Target]] = MappingProxyType({each.name: each for each in _ALL})


def find_target(name: str) -> Target:
    """The target of that name; raises UsageError for a name that there is not."""
    target = TARGETS.get(name)
    if target is None:
        raise UsageError(f"no kind of cluster {name[:80]!r}", hint=f"known: {', '.join(TARGETS)}")
    return target


def own_target(cloud: str) -> Target:
    """The target for a description's cloud: its own, or the generic one."""
    return TARGETS.get(cloud, TARGETS["generic"])
