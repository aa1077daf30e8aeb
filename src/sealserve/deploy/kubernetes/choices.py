"""The few values that operators change, and the places where a chart leaves them open.

Objects are built from `Choices`. For files they hold the description's values; for a chart they
hold marks in their places, which the chart's text has as actions of Helm's templates. So everything
else of a chart is the very same bytes. What is measured is no choice: another enclave size, server
argument or key service address needs another enclave. Source: Helm, "Values Files", `quote`,
`toJson` of its template functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sealserve import __version__
from sealserve.deploy.description.model import Description, size_in_mib
from sealserve.deploy.gramine.sizing import sizing

_MARK: Final = re.compile(r"@@([A-Za-z.]+)@@")
_VALUE: Final = re.compile(r"(?<=[:-] )'?([^'\n]*@@[A-Za-z.]+@@[^'\n]*)'?$", re.MULTILINE)
HOST_SIDE_MIB: Final = 1024  # beside the enclave: Gramine's host side and evicted pages of the EPC


@dataclass(frozen=True, slots=True)
class Choices:
    """What operators change, or the marks of these values; sizes as Kubernetes spells them."""

    replicas: Any
    max_replicas: Any
    image_prefix: Any
    image_tag: Any
    server_cpu: Any
    server_memory: Any
    server_memory_limit: Any
    key_service_host: Any
    key_service_addresses: Any
    key_service_replicas: Any

    def value(self, path: str) -> Any:
        """The value at a path of values.yaml, such as `image.tag`."""
        return getattr(self, _NAMES[path])


_PATHS: Final = {
    "replicas": "replicas",
    "max_replicas": "maxReplicas",
    "image_prefix": "image.prefix",
    "image_tag": "image.tag",
    "server_cpu": "server.cpu",
    "server_memory": "server.memory",
    "server_memory_limit": "server.memoryLimit",
    "key_service_host": "keyService.host",
    "key_service_addresses": "keyService.addresses",
    "key_service_replicas": "keyService.replicas",
}
_NAMES: Final = {path: name for name, path in _PATHS.items()}


def choices(description: Description, *, simulated: bool = False) -> Choices:
    """The description's values; ConfigError where no enclave is large enough.

    What is simulated asks for little CPU, whatever the enclave would need: it is for trying.
    """
    table = description.kubernetes
    outside: Sequence[str] = table.key_service_outside
    return Choices(
        replicas=description.replicas,
        max_replicas=table.max_replicas or 2 * description.replicas,
        image_prefix=f"{table.registry}/" if table.registry else "",
        image_tag=table.tag or __version__,
        server_cpu="250m" if simulated else description.server.threads,
        server_memory="1Gi",
        server_memory_limit=f"{size_in_mib(sizing(description).size) + HOST_SIDE_MIB}Mi",
        key_service_host=outside[0] if outside else "",
        key_service_addresses=list(outside),
        key_service_replicas=table.key_service_replicas or (2 if table.key_service_database else 1),
    )


def marks() -> Choices:
    """A mark in the place of every value."""
    return Choices(**{each.name: f"@@{_PATHS[each.name]}@@" for each in fields(Choices)})


def with_actions(text: str, values: Choices) -> tuple[str, frozenset[str]]:
    """YAML with marks as a template of Helm's, and the paths of the values that it asks for."""
    used = frozenset(_MARK.findall(text))
    return _VALUE.sub(lambda found: _action(found[1], values), text), used


def _action(scalar: str, values: Choices) -> str:
    whole = _MARK.fullmatch(scalar)
    if whole is None:
        return '"' + _MARK.sub(r"{{ .Values.\1 }}", scalar) + '"'
    value = values.value(whole[1])
    if isinstance(value, list):
        return f"{{{{ .Values.{whole[1]} | toJson }}}}"
    quote = " | quote" if isinstance(value, str) else ""
    return f"{{{{ .Values.{whole[1]}{quote} }}}}"


def values_document(used: frozenset[str], values: Choices) -> dict[str, Any]:
    """values.yaml, as a document: what is asked for, and no more."""
    found: dict[str, Any] = {}
    for path in _PATHS.values():
        if path not in used:
            continue
        *parents, last = path.split(".")
        table = found
        for each in parents:
            table = table.setdefault(each, {})
        table[last] = values.value(path)
    return found
