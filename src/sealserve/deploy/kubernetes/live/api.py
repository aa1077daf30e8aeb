"""A cluster's API server, asked through the official client, which no other module knows.

Objects are plain JSON, as they are rendered; what a cluster is asked for is in `RESOURCES`. A
Secret is only ever asked whether it is there: its content does not come here.
Sources: Kubernetes, "API Concepts" (server-side apply, PartialObjectMetadata), "Server-Side Apply"
(field managers, conflicts).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sealserve.errors import ConfigError, NetworkError, SealServeError, UsageError

MANAGER: Final = "sealserve"
SECONDS: Final = 30.0  # for one request
LIMIT: Final = 64 << 20  # bytes of one answer
_CLUSTER_WIDE: Final = frozenset({"Namespace", "Node", "PersistentVolume", "StorageClass"})
RESOURCES: Final = {
    "ConfigMap": "v1/configmaps",
    "Deployment": "apps/v1/deployments",
    "EndpointSlice": "discovery.k8s.io/v1/endpointslices",
    "Event": "v1/events",
    "HorizontalPodAutoscaler": "autoscaling/v2/horizontalpodautoscalers",
    "Ingress": "networking.k8s.io/v1/ingresses",
    "Namespace": "v1/namespaces",
    "NetworkPolicy": "networking.k8s.io/v1/networkpolicies",
    "Node": "v1/nodes",
    "PersistentVolume": "v1/persistentvolumes",
    "PersistentVolumeClaim": "v1/persistentvolumeclaims",
    "Pod": "v1/pods",
    "PodDisruptionBudget": "policy/v1/poddisruptionbudgets",
    "ReplicaSet": "apps/v1/replicasets",
    "Secret": "v1/secrets",
    "Service": "v1/services",
    "ServiceAccount": "v1/serviceaccounts",
    "StorageClass": "storage.k8s.io/v1/storageclasses",
    "TLSRoute": "gateway.networking.k8s.io/v1/tlsroutes",
}
_NONSENSE: Final = (AttributeError, KeyError, TypeError, ValueError)  # a kubeconfig of other shape
_NAMES_ALONE: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connection; `client` is the official client's, `context` names it to people."""

    client: Any
    context: str

    def apply(self, found: Object, *, dry_run: bool = False, manager: str = MANAGER) -> Object:
        """Apply an object server-side, as a field manager; what is stored then.

        Fields that others have set become the manager's.
        """
        path = _path(found["kind"], found["metadata"].get("namespace"), found["metadata"]["name"])
        query = [("fieldManager", manager), ("force", "true")]
        query += [("fieldValidation", "Strict"), *([("dryRun", "All")] if dry_run else [])]
        body = json.dumps(found)
        answer = self.request("PATCH", path, query, body, content="application/apply-patch+yaml")
        return dict(json.loads(answer))

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """An object, or None; of a Secret, its metadata."""
        try:
            accept = _NAMES_ALONE if kind == "Secret" else "application/json"
            answer = self.request("GET", _path(kind, namespace, name), accept=accept)
        except Missing:
            return None
        return dict(json.loads(answer))

    def every(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects of a kind that the selectors choose; empty where the kind is not known."""
        if kind == "Secret":
            raise UsageError("Secrets are not listed")
        chosen = [("labelSelector", labels), ("fieldSelector", fields)]
        query = [(name, value) for name, value in chosen if value]
        try:
            answer = self.request("GET", _path(kind, namespace), query)
        except Missing:
            return []
        return [{**each, "kind": kind} for each in json.loads(answer)["items"]]

    def merge(self, kind: str, name: str, namespace: str | None, change: Object) -> Object:
        """Change some fields of an object (RFC 7396); what is stored then."""
        path = _path(kind, namespace, name)
        content = "application/merge-patch+json"
        query = [("fieldManager", MANAGER)]
        answer = self.request("PATCH", path, query, change, content=content)
        return dict(json.loads(answer))

    def delete(self, kind: str, name: str, namespace: str | None = None) -> bool:
        """Have an object deleted, after all that it owns; whether there was one."""
        query = [("propagationPolicy", "Foreground")]
        try:
            self.request("DELETE", _path(kind, namespace, name), query)
        except Missing:
            return False
        return True

    def request(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: str | Object | None = None,
        *,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """One request to its answer; of JSON the client itself makes the text.

        Raises Missing for what is not there, ConfigError for what the API server refuses,
        NetworkError where it gives no answer.
        """
        with self.answer(method, path, query, body, content=content, accept=accept) as response:
            data = bytes(response.read(LIMIT + 1))
        if len(data) > LIMIT:
            raise NetworkError(f"the API server's answer has more than {LIMIT >> 20} MiB")
        return data

    @contextmanager
    def answer(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: str | Object | None = None,
        *,
        content: str = "application/json",
        accept: str = "application/json",
        seconds: float | None = SECONDS,
    ) -> Iterator[Any]:
        """The answer as a stream of urllib3's; raises as `request` does."""
        import urllib3

        headers = {"Accept": accept, "Content-Type": content}
        given = self.client.param_serialize(
            method,
            path,
            query_params=query or [],
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            found = self.client.call_api(*given, _request_timeout=seconds).response
            try:
                if found.status >= 300:
                    raise _refusal(found.status, found.read(1 << 20), self.context)
                yield found
            finally:
                found.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NetworkError(
                f"the API server of {self.context} gives no answer: {_last_words(error)}",
                code="kubernetes-silent",
                hint="is it reached from here? kubectl cluster-info",
            ) from error


class Missing(ConfigError):
    """There is no such object."""

    default_code = "kubernetes-missing"


def connect(kubeconfig: Path | None = None, context: str | None = None) -> Cluster:
    """The cluster of a context, or of the current one; nothing is asked yet.

    Raises ConfigError for a file that cannot be used, and where servers are not to be verified.
    """
    try:
        from kubernetes import config as untyped
        from yaml import YAMLError
    except ModuleNotFoundError as error:
        raise UsageError(
            f"this needs the Python package {error.name!r}, which is missing",
            hint="pip install 'sealserve[kubernetes]'",
        ) from error
    config: Any = untyped
    file = None if kubeconfig is None else str(kubeconfig)
    try:
        _, active = config.list_kube_config_contexts(file)
        client = config.new_client_from_config(file, context)
    except (config.ConfigException, YAMLError, OSError, *_NONSENSE) as error:
        raise ConfigError(
            f"no cluster is to be had from {file or 'the kubeconfig'}: {_last_words(error)}",
            hint="--kubeconfig FILE, or KUBECONFIG, and --context NAME",
        ) from error
    if not client.configuration.verify_ssl:
        raise ConfigError(
            "the kubeconfig says not to verify the API server (insecure-skip-tls-verify)",
            hint="name its authority instead: certificate-authority",
        )
    return Cluster(client, context or str(active["name"]))


def _path(kind: str, namespace: str | None, name: str = "") -> str:
    """Where a kind is in the API. Source: Kubernetes, "API Concepts", Resource URIs."""
    group, _, plural = RESOURCES[kind].rpartition("/")
    root = f"/api/{group}" if group == "v1" else f"/apis/{group}"
    if kind not in _CLUSTER_WIDE and namespace is not None:
        root = f"{root}/namespaces/{namespace}"
    return f"{root}/{plural}/{name}" if name else f"{root}/{plural}"


def _refusal(status: int, body: bytes, context: str) -> SealServeError:
    try:
        said = str(json.loads(body)["message"]).partition("\n")[0]
    except (ValueError, KeyError, TypeError):
        said = f"HTTP status {status}"
    if status == 404:
        return Missing(said)
    if status == 401 or status == 403:
        return ConfigError(
            f"the API server of {context} refuses: {said}",
            code="kubernetes-forbidden",
            hint="the user of this context lacks a right: docs/kubernetes-running.md, Rights",
        )
    if status == 429 or status >= 500:
        return NetworkError(f"the API server of {context} cannot: {said}", code="kubernetes-busy")
    return ConfigError(f"the API server of {context} refuses: {said}", code="kubernetes-refused")


def _last_words(error: BaseException) -> str:
    """What an error says, without the chain of objects that urllib3 puts before it."""
    reason = getattr(error, "reason", None)
    return _last_words(reason) if isinstance(reason, Exception) else f"{error}".strip()[:300]
