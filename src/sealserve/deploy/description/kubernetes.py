"""The table `[kubernetes]` of a description: what a rendering for a cluster needs beside the rest.

Every key has a default, and a description without the table is the same as one with all of them
spelt out. An empty text stands for what is derived elsewhere (`sealserve.deploy.kubernetes.plan`).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator

from sealserve.deploy.description.database import parse_database
from sealserve.deploy.description.fields import LABEL, Host, Table, host, key, matching
from sealserve.hosts import parse_ip

Edge = Literal["nginx", "ingress-nginx", "gateway"]

_REGISTRY: Final = re.compile(
    r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]{1,2}[a-z0-9]+)*){0,8}"
)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_IMAGE: Final = re.compile(
    rf"{_REGISTRY.pattern}/[a-z0-9]+([._-]{{1,2}}[a-z0-9]+)*"
    rf"(:(?!latest(@|$)){_TAG.pattern}(@sha256:[0-9a-f]{{64}})?|@sha256:[0-9a-f]{{64}})"
)
_CLASS: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_GATEWAY: Final = re.compile(
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)
_OUTSIDE: Final = 16


def _tag(text: str) -> str:
    if not _TAG.fullmatch(text) or text == "latest":
        raise ValueError(f"found {text!r:.80}, expected a tag that stays, such as 0.1.0")
    return text


def _host_or_ip(text: str) -> str:
    address = parse_ip(text)
    return host(text) if address is None else str(address)


def _unless_empty(text: str) -> str:
    return _host_or_ip(text) if text else text


def _database(text: str) -> str:
    return str(parse_database(text)) if text else text


def _outside(places: tuple[str, ...]) -> tuple[str, ...]:
    if len(places) > _OUTSIDE or len(set(places)) != len(places):
        raise ValueError(f"found {len(places)} places, expected {_OUTSIDE} at most, each once")
    if len(places) > 1 and any(parse_ip(each) is None for each in places):
        raise ValueError("expected one host name, or IP addresses alone")
    if len({address.version for each in places if (address := parse_ip(each))}) > 1:
        raise ValueError("expected addresses of IPv4, or of IPv6")
    return places


def _edges(edges: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(edges)) != len(edges):
        raise ValueError("expected each edge once")
    return edges


def _text(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    check = matching(pattern, expected)
    return AfterValidator(lambda text: check(text) if text else text)


class Kubernetes(Table):
    """How it runs in a cluster."""

    namespace: Annotated[
        str, _text(LABEL, "a small letter, then small letters, digits, hyphens")
    ] = key("the namespace; empty: as the cluster is called", "digits", default="")
    registry: Annotated[str, _text(_REGISTRY, "a registry and path")] = key(
        "what stands before the images' names", "registry.example.com/models", default=""
    )
    tag: Annotated[str, AfterValidator(lambda text: _tag(text) if text else text)] = key(
        "the images' tag; empty: this version of SealServe", "0.1.0", default=""
    )
    cluster_domain: Host = key(
        "the domain of the cluster's DNS", "cluster.local", default="cluster.local"
    )
    resolver: Annotated[str, AfterValidator(_unless_empty)] = key(
        "the cluster's DNS service, which the edge asks; empty: kube-dns in kube-system",
        "10.96.0.10",
        default="",
    )
    storage_class: Annotated[str, _text(_CLASS, "the name of a storage class")] = key(
        "of the sealed models, which many nodes mount; empty: the cluster's default",
        "azurefile-csi",
        default="",
    )
    state_class: Annotated[str, _text(_CLASS, "the name of a storage class")] = key(
        "of the key service's state, which one node mounts; empty: the cluster's default",
        "managed-csi",
        default="",
    )
    device_group: int = key(
        "the group that may use /dev/sgx_enclave on the nodes; 0: everybody may",
        106,
        default=0,
        ge=0,
        le=(1 << 31) - 1,
    )
    aesm_image: Annotated[str, _text(_IMAGE, "an image with a tag that stays, or a digest")] = key(
        "an image of AESM, to run beside each server; empty: the node's own AESM",
        "registry.example.com/aesmd:2.26",
        default="",
    )
    max_replicas: int = key(
        "how many replicas autoscaling makes at most; 0: twice `replicas`",
        4,
        default=0,
        ge=0,
        le=2000,
    )
    cpu_percent: int = key(
        "CPU of the requested, at which another replica is made", 70, default=70, ge=10, le=100
    )
    requests_in_flight: int = key(
        "requests in flight on a replica, at which another is made; 0: CPU alone decides",
        16,
        default=0,
        ge=0,
        le=1000,
    )
    edges: Annotated[tuple[Edge, ...], AfterValidator(_edges)] = key(
        "what leads clients in: nginx, ingress-nginx, gateway",
        ["nginx"],
        default=("nginx",),
        strict=False,
    )
    gateway: Annotated[str, _text(_GATEWAY, "NAMESPACE/NAME of a Gateway")] = key(
        "the Gateway that a TLSRoute is for", "gateways/public", default=""
    )
    key_service_inside: bool = key(
        "run the key service in the same namespace", False, default=False
    )
    key_service_outside: Annotated[
        tuple[Annotated[str, AfterValidator(_host_or_ip)], ...], AfterValidator(_outside)
    ] = key(
        "where the key service is that the cluster knows by the name of a Service: a host name, or "
        "IP addresses",
        ["192.0.2.7"],
        default=(),
        strict=False,
    )
    key_service_database: Annotated[str, AfterValidator(_database)] = key(
        "the database of PostgreSQL for several copies of the key service inside; empty: SQLite, "
        "for one",
        "postgresql://keyservice@db.example.com/keyservice",
        default="",
    )
    key_service_replicas: int = key(
        "how many copies of the key service; 0: two on PostgreSQL, one on SQLite",
        3,
        default=0,
        ge=0,
        le=20,
    )


# What was not there at first: at its default it is not there for a digest, either.
LATER_KEYS: Final = ("key_service_database", "key_service_replicas")
