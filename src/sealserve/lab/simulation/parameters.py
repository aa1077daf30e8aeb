"""What the capacity model and the simulation are told: one value with units and sources.

Each field says its unit, and where its default is from:

    measured   by a benchmark of ours without SGX (docs/performance.md, docs/scaling.md)
    rendered   what `sealserve k8s render` writes, or a default of ours
    a document, or a file of Kubernetes 1.34 below k8s.io/kubernetes
    assumed    nobody has measured it here; put your own in its place

A file of measured values names fields of this class, and nothing else (`read_parameters`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from sealserve.errors import ConfigError
from sealserve.keyservice.limits import Limits

MIB: Final = 1 << 20
GIB: Final = 1 << 30
_MACHINE: Final = "Standard_DC16s_v3, docs/clouds.md"
_ATTESTER: Final = "rendered: sealserve.serving.opening.keys"
_APPENDER: Final = "rendered: sealserve.keyservice.store.appender"
_RECORDS: Final = "measured: bench keyservice, records of a transaction"
_START: Final = "measured: bench serving, start, sealed, attested"

T = TypeVar("T")


def _given(default: T, unit: str, source: str, *, zero: bool = False) -> T:
    """A field of `Parameters`; only with `zero` it may be 0."""
    return field(default=default, metadata={"unit": unit, "source": source, "zero": zero})


@dataclass(frozen=True)
class Parameters:
    """A node, an enclave, Kubernetes, a client, the key service, requests, the edge, the log."""

    node_cpus: float = _given(16.0, "cores", _MACHINE)
    node_reserved_cpus: float = _given(0.5, "cores", "assumed: the system's own pods", zero=True)
    node_memory_bytes: int = _given(128 * GIB, "bytes", "Azure, DCsv3 sizes: 8 GiB a core")
    node_reserved_memory_bytes: int = _given(4 * GIB, "bytes", "assumed", zero=True)
    node_epc_bytes: int = _given(64 * GIB, "bytes", _MACHINE)
    node_pods: int = _given(110, "pods", "pkg/kubelet/apis/config/v1beta1/defaults.go, MaxPods")
    node_system_pods: int = _given(10, "pods", "assumed", zero=True)
    zones: int = _given(3, "zones", "assumed: nodes are spread over them evenly")

    enclave_bytes: int = _given(4 * GIB, "bytes", "rendered: sealserve gramine render")
    enclave_cpus: float = _given(4.0, "cores", "rendered: [server] threads, requested")
    enclave_memory_bytes: int = _given(GIB, "bytes", "rendered: requested")
    build_bytes_per_second: float = _given(
        256.0 * MIB,
        "bytes/s of one core",
        "assumed: Intel's article 000089477 says several seconds for 1 GB",
    )
    program_cpu_seconds: float = _given(1.07, "s", f"{_START}: import", zero=True)
    quote_seconds: float = _given(
        0.039, "s", "assumed: a quoting enclave gives about 25 a second", zero=True
    )
    quote_deadline_seconds: float = _given(60.0, "s", "rendered: sealserve.attester.quoted")
    model_bytes: int = _given(97 * MIB, "bytes", "measured: ResNet-50 of bench serving", zero=True)
    volume_bytes_per_second: float = _given(1.0 * GIB, "bytes/s of all readers", "assumed")
    volume_reader_bytes_per_second: float = _given(200.0 * MIB, "bytes/s of one", "assumed")
    open_cpu_seconds: float = _given(0.75, "s", f"{_START}: unseal to load", zero=True)

    creations_per_second: float = _given(
        20.0, "pods/s", "pkg/controller/apis/config/v1alpha1/defaults.go, ClientConnection.QPS"
    )
    creations_burst: int = _given(30, "pods", "the same file, Burst")
    bindings_per_second: float = _given(
        50.0, "pods/s", "pkg/scheduler/apis/config/v1/defaults.go, ClientConnection.QPS"
    )
    bindings_burst: int = _given(100, "pods", "the same file, Burst")
    container_seconds: float = _given(1.0, "s", "assumed: from bound to started", zero=True)
    image_bytes: int = _given(512 * MIB, "bytes", "assumed: compressed")
    node_pull_bytes_per_second: float = _given(100.0 * MIB, "bytes/s of one node", "assumed")
    registry_bytes_per_second: float = _given(1.0 * GIB, "bytes/s of all nodes", "assumed")
    probe_seconds: float = _given(5.0, "s", "rendered: startupProbe, periodSeconds")
    startup_seconds: float = _given(900.0, "s", "rendered: startupProbe, failureThreshold")
    endpoint_seconds: float = _given(
        1.5, "s", "assumed: until the edge's DNS, asked each second, has it", zero=True
    )
    node_grace_seconds: float = _given(
        50.0, "s", "pkg/controller/nodelifecycle/config/v1alpha1/defaults.go", zero=True
    )
    evicted_nodes_per_second: float = _given(
        0.1, "nodes/s", "cmd/kube-controller-manager/app/options, node-eviction-rate"
    )
    toleration_seconds: float = _given(
        300.0, "s", "plugin/pkg/admission/defaulttolerationseconds/admission.go", zero=True
    )
    first_restart_seconds: float = _given(
        10.0, "s", "pkg/kubelet/kubelet.go, initialCrashLoopBackOff"
    )
    longest_restart_seconds: float = _given(
        300.0, "s", "pkg/kubelet/kubelet.go, MaxCrashLoopBackOff"
    )

    key_timeout_seconds: float = _given(120.0, "s", "rendered: --key_service_timeout_seconds")
    attempt_seconds: float = _given(30.0, "s", _ATTESTER)
    first_pause_seconds: float = _given(0.5, "s", _ATTESTER)
    longest_pause_seconds: float = _given(15.0, "s", _ATTESTER)
    client_seconds: float = _given(
        0.0015, "s", "measured: bench keyservice, a client's side of a session", zero=True
    )
    round_trip_seconds: float = _given(0.0005, "s", "assumed: one zone's network", zero=True)

    copies: int = _given(2, "copies", "assumed: of the key service, on one PostgreSQL")
    workers: int = _given(2, "processes", "assumed: of a copy, with a core each")
    handshake_cpu_seconds: float = _given(
        0.000783, "s", "measured: bench keyservice, a bare handshake", zero=True
    )
    decision_cpu_seconds: float = _given(
        0.0014, "s", "measured: bench keyservice, a release but for its handshake"
    )
    batch_records: int = _given(256, "records", _APPENDER)
    pace_seconds: float = _given(0.020, "s", _APPENDER, zero=True)
    crowd_sessions: int = _given(8, "sessions", _APPENDER)
    transaction_seconds: float = _given(0.00064, "s", f"{_RECORDS}, each in one")
    record_seconds: float = _given(0.00003, "s", f"{_RECORDS}, 256 in one", zero=True)
    collateral_seconds: float = _given(0.5, "s", "assumed: four questions to a PCCS", zero=True)
    collateral_age_seconds: float = _given(3600.0, "s", "rendered: collateral_max_age_seconds")
    platform_kinds: int = _given(1, "FMSPCs", "assumed")
    sources: int = _given(
        0, "addresses", "rendered: in a cluster each pod has its own, which is 0", zero=True
    )
    limits: Limits = field(
        default_factory=Limits,
        metadata={"unit": "", "source": "rendered: [limits] of the key service", "zero": False},
    )

    enclave_requests_per_second: float = _given(
        36.49, "requests/s", "measured: bench serving, ResNet-50"
    )
    load: float = _given(0.7, "of what all can answer", "rendered: cpu_percent", zero=True)
    edge_copies: int = _given(2, "pods", "rendered")
    edge_workers: int = _given(2, "processes", "rendered: worker_processes")
    edge_connections: int = _given(4096, "connections of a process", "rendered")
    edge_memory_bytes: int = _given(256 * MIB, "bytes", "rendered: limit")
    edge_connection_bytes: int = _given(14_838, "bytes", "measured: bench scaling")
    starts_per_day: float = _given(1.0, "starts of each enclave", "assumed", zero=True)
    record_bytes: int = _given(2861, "bytes", "measured: bench keyservice, one record")
    stored_record_bytes: int = _given(4185, "bytes", "measured: bench scaling, in the database")


def read_parameters(document: Mapping[str, object], base: Parameters | None = None) -> Parameters:
    """`base` (or the defaults) with the values that a file gives; raises ConfigError."""
    known = {each.name: each for each in fields(Parameters)}
    if unknown := sorted(set(document) - set(known)):
        raise ConfigError(
            f"the measured values have unknown keys: {', '.join(unknown)}",
            hint="sealserve lab capacity --parameters lists all, with units",
        )
    values: dict[str, Any] = {
        name: _limits(value) if name == "limits" else _number(name, value, known[name])
        for name, value in document.items()
    }
    return replace(base or Parameters(), **values)


def _number(name: str, value: object, known: Any) -> int | float:
    whole = isinstance(known.default, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"{name} is {value!r}, expected {kind} of {known.metadata['unit']}")
    least = "0 or more" if known.metadata["zero"] else "more than 0"
    if not math.isfinite(value) or value < 0 or (value == 0 and not known.metadata["zero"]):
        raise ConfigError(f"{name} is {value}, expected {least} {known.metadata['unit']}")
    return value if whole else float(value)


def _limits(value: object) -> Limits:
    try:
        return Limits.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("limits", *map(str, first["loc"])))
        raise ConfigError(f"{where}: {first['msg']}") from None
