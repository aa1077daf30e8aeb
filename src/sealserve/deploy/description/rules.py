"""What must hold between the keys of a description, and what is doubtful though it may stand.

Each finding is a path in the file, what was found, and what to write instead. Reasons: Gramine's
`Documentation/manifest-syntax.rst`, "Encrypted files", and its `secret_prov_attest.c`, which sets
one key; docs/serving.md for the server of ours inside Gramine. `kubernetes_rules.py` has those of
`[kubernetes]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from sealserve.appraisal.complaints import written
from sealserve.deploy.description.doubt import Doubt
from sealserve.deploy.description.fields import AUTOMATIC, COPIES, LARGEST_MIB, size_in_mib
from sealserve.deploy.description.kubernetes_rules import (
    kubernetes_contradictions,
    kubernetes_doubts,
)
from sealserve.deploy.description.model import Description
from sealserve.hosts import is_loopback, parse_address, parse_ip
from sealserve.policies.places import Path


def contradictions(description: Description) -> Iterator[Doubt]:
    """What cannot be rendered: each a fault."""
    yield from _models(description)
    yield from _paths(description)
    yield from _beyond_gramine(description)
    address = parse_address(description.key_service.address)
    if address.port == description.server.port and address.host == description.domain:
        yield Doubt(
            ("key_service", "address"),
            "address-twice",
            f"{address} is where this very service listens",
            "name the key service, which the model's owner runs elsewhere",
        )
    yield from kubernetes_contradictions(description)


def _beyond_gramine(description: Description) -> Iterator[Doubt]:
    """What Gramine's library for secrets, or any enclave, cannot do."""
    host = parse_address(description.key_service.address).host
    if _unreachable(description, host):
        yield Doubt(
            ("key_service", "address"),
            "ipv6-address",
            f"{host} is an IPv6 address: Gramine's library takes what stands before the first "
            "colon for the host",
            "name the host, and give its certificate that name",
        )
    models = sum(size_in_mib(model.size) for model in description.models)
    if models * COPIES > LARGEST_MIB:
        largest = max(range(len(description.models)), key=lambda at: _mib(description, at))
        yield Doubt(
            ("models", largest, "size"),
            "large-models",
            f"{models} MiB of models take {models * COPIES} MiB while a version is exchanged, more "
            "than any enclave is given here",
            "describe them as several services",
        )


def _unreachable(description: Description, host: str) -> bool:
    return description.server.kind == "tensorflow-serving" and ":" in host


def _mib(description: Description, at: int) -> int:
    return size_in_mib(description.models[at].size)


def doubts(description: Description) -> Iterator[Doubt]:
    """What may be meant, and is worth a look."""
    host = parse_address(description.key_service.address).host
    if parse_ip(host) is not None and not _unreachable(description, host):
        yield Doubt(
            ("key_service", "address"),
            "ip-address",
            f"{host} is an IP address, which Gramine's older clients match with no certificate",
            "name the host, and give its certificate that name",
        )
    if is_loopback(host):
        yield Doubt(
            ("key_service", "address"),
            "loopback",
            f"{host} is the machine of the enclave itself, whose owner is not to have the key",
            "name the key service, which the model's owner runs elsewhere",
        )
    if description.replicas == 1:
        yield Doubt(
            ("replicas",),
            "one-replica",
            "one replica: while it starts or moves, nobody is served",
            "replicas = 2",
        )
    yield from _size(description)
    yield from kubernetes_doubts(description)


def _models(description: Description) -> Iterator[Doubt]:
    names: set[str] = set()
    for index, model in enumerate(description.models):
        if model.name in names:
            yield Doubt(
                ("models", index, "name"),
                "name-twice",
                f"two models are called {model.name}",
                "a name for each: clients ask for it",
            )
        names.add(model.name)
        if model.key != description.key:
            yield Doubt(
                ("models", index, "key"),
                "two-keys",
                f"found {model.key}, and models[0] has {description.key}: an enclave is given one "
                "key when it starts",
                "seal them with one key, or describe two services",
            )


def _paths(description: Description) -> Iterator[Doubt]:
    """Files that are mounted must not lie in one another: Gramine opens each by one mount."""
    places: list[tuple[Path, str]] = [
        *((("models", i, "base_path"), m.base_path) for i, m in enumerate(description.models)),
        (("tls", "config"), description.tls.config),
        (("key_service", "ca"), description.key_service.ca),
    ]
    for (other, first), (place, second) in combinations(places, 2):
        if f"{second}/".startswith(f"{first}/") or f"{first}/".startswith(f"{second}/"):
            both = "is the same" if first == second else f"is {first}: one lies in the other"
            yield Doubt(
                place,
                "path-twice",
                f"{written(place)} is {second}, and {written(other)} {both}",
                "a path for each, beside the others",
            )
    for place, path in places:
        if path.split("/")[0] in ("lib", "usr", "etc", "tmp", "proc", "dev", "sys", "config"):
            yield Doubt(
                place,
                "system-path",
                f"{path} would lie where the enclave has the system's own files",
                "begin it with another name, such as models/",
            )


def _size(description: Description) -> Iterator[Doubt]:
    if description.server.enclave_size == AUTOMATIC:
        return
    given = size_in_mib(description.server.enclave_size)
    models = sum(size_in_mib(model.size) for model in description.models)
    if given < 2 * models:
        yield Doubt(
            ("server", "enclave_size"),
            "small-enclave",
            f"an enclave of {given} MiB for {models} MiB of models, each of which is there twice "
            "while it is loaded",
            'enclave_size = "automatic"',
        )
