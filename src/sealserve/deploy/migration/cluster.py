"""Kubernetes files of the published solution: deploy.yaml, ingress.yaml, CoreDNS's hosts.

Line by line, without a YAML reader: what is looked for is one key and its value, and a template
with its placeholders need not be YAML at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sealserve.deploy.migration.fault import of_rule
from sealserve.deploy.migration.files import Item
from sealserve.deploy.weakness import Rule, Severity, Weakness

PRIVILEGED: Final = Rule(
    "kubernetes.privileged",
    Severity.ERROR,
    "whoever breaks out of the program is root of the node",
    "a device plugin that hands out /dev/sgx_enclave, and no privileged: true",
)
NO_PROBES: Final = Rule(
    "kubernetes.no-probes",
    Severity.WARNING,
    "requests go to pods that have no key or no model yet, and fail as the service is scaled",
    "a startupProbe and a readinessProbe on the port of gRPC",
)
NO_EPC: Final = Rule(
    "kubernetes.no-epc",
    Severity.WARNING,
    "more enclaves are put on a node than its enclave memory holds: they page, or do not start",
    'resources.limits: sgx.intel.com/epc: "…", or the cloud\'s own name for it',
)
PLACEHOLDER: Final = Rule(
    "kubernetes.placeholder",
    Severity.WARNING,
    "what is edited by hand differs from machine to machine, and is applied unedited one day",
    "describe the service in sealserve.toml, from which the rest is rendered",
)
PLAIN_REST: Final = Rule(
    "kubernetes.plain-rest",
    Severity.ERROR,
    "REST is published in plaintext: requests and answers can be read on the way and by the host",
    "publish 8500 alone",
)
HOSTS: Final = Rule(
    "kubernetes.hosts-edit",
    Severity.WARNING,
    "the key service is found by an entry for the whole cluster, which an upgrade takes away",
    "a Service, or a name in DNS; name it in [key_service]",
)
RETIRED_INGRESS: Final = Rule(
    "kubernetes.retired-ingress",
    Severity.NOTE,
    "ingress-nginx was retired in March 2026: faults in it are mended no more",
    "another controller that passes TLS through; docs/operations.md has nginx at the edge",
)
RULES: Final = (*(PRIVILEGED, NO_PROBES, NO_EPC, PLACEHOLDER, PLAIN_REST, HOSTS, RETIRED_INGRESS),)

_BY_LINE: Final = (
    (PRIVILEGED, re.compile(r"^\s*(?:- )?privileged:\s*[\"']?true\b"), "the pods are privileged"),
    (
        PLACEHOLDER,
        re.compile(r":\s[^<\n]{0,200}<[A-Za-z]"),
        "a placeholder is to be edited by hand",
    ),
    (
        PLAIN_REST,
        re.compile(r"^\s*(?:- )?(?:port|targetPort|containerPort|number):\s*[\"']?8501\b"),
        "the port of REST is published",
    ),
    (HOSTS, re.compile(r"^\s*(?:- )?(?:hosts(?:\s+\S+)?\s*\{|hostAliases:)"), "hosts are edited"),
    (
        RETIRED_INGRESS,
        re.compile(r"ingress\.class:\s*[\"']?nginx\b|ingressClassName:\s*[\"']?nginx\b"),
        "the ingress is ingress-nginx's",
    ),
)
_OURS: Final = re.compile(r"tf-serving|tensorflow|attestation\.|\b850[01]\b", re.IGNORECASE)
_DEPLOYMENT: Final = re.compile(r"^kind:\s*[\"']?Deployment\b", re.MULTILINE)
_PROBE: Final = re.compile(r"^[ \t]*(?:readiness|liveness|startup)Probe:", re.MULTILINE)
_EPC: Final = re.compile(r"sgx[./_-]\S{0,40}epc|/sgx", re.IGNORECASE)
_DEVICE_PATH: Final = re.compile(r"/dev/sgx\S*")


def is_service(item: Item) -> bool:
    """The file is of the service, and not of flannel or of the ingress controller itself."""
    return _OURS.search(item.text) is not None


def in_cluster(item: Item) -> Iterator[Weakness]:
    """What is wrong in one of the files."""
    if not is_service(item):
        return
    text = "\n".join(
        "" if line.lstrip().startswith("#") else line for line in item.text.split("\n")
    )
    for number, line in enumerate(text.split("\n"), start=1):
        for rule, pattern, message in _BY_LINE:
            if pattern.search(line):
                yield of_rule(rule, item.shown, number, message)
    deployment = _DEPLOYMENT.search(text)
    if deployment is None:
        return
    line_number = text.count("\n", 0, deployment.start()) + 1
    if _PROBE.search(text) is None:
        yield of_rule(NO_PROBES, item.shown, line_number, "the pods have no probe")
    if _EPC.search(_DEVICE_PATH.sub("", text)) is None:
        yield of_rule(NO_EPC, item.shown, line_number, "the pods ask for no enclave memory")
