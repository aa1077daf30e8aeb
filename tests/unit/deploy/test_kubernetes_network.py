"""Who may speak to whom in a cluster: each pair that must, and each that must not."""

from __future__ import annotations

import pytest

from network_rules import End, allowed
from rendered_cluster import RENDERINGS, by_key, described, objects, objects_of

INTERNET = End(address="203.0.113.7")
METADATA = End(address="169.254.169.254")
STRANGER = End("elsewhere", {"app": "curl"})
CLIENT = End("elsewhere", {"sealserve.io/client": "true"})
MONITOR = End("monitoring", {"app": "prometheus"}, {"sealserve.io/monitoring": "true"})
INGRESS = End("ingress-nginx", {"app": "controller"})
GATEWAY = End("gateways", {"app": "envoy"})
DNS = End("kube-system", {"k8s-app": "kube-dns"})
DATABASE = End("databases", {"app": "postgresql"})


def ends(name: str, target: str) -> dict[str, End]:
    """The components of a rendering as pods, and everybody else."""
    found = {
        "internet": INTERNET,
        "metadata": METADATA,
        "stranger": STRANGER,
        "client": CLIENT,
        "monitor": MONITOR,
        "ingress-nginx": INGRESS,
        "gateway": GATEWAY,
        "dns": DNS,
        "database": DATABASE,
    }
    for each in objects(name, target):
        if each["kind"] == "Deployment":
            labels = each["spec"]["template"]["metadata"]["labels"]
            component = labels["app.kubernetes.io/component"]
            found[component] = End(each["metadata"]["namespace"], labels)
    return found


# Description, target, who opens a connection, to whom, at which port: whether it can be.
PAIRS = [
    ("plain", "generic", "internet", "edge", 8500, True),
    ("plain", "generic", "internet", "edge", 22, False),
    ("plain", "generic", "internet", "server", 8500, False),
    ("plain", "generic", "stranger", "server", 8500, False),
    ("plain", "generic", "client", "server", 8500, True),
    ("plain", "generic", "client", "server", 8501, False),
    ("plain", "generic", "edge", "server", 8500, True),
    ("plain", "generic", "edge", "internet", 443, False),
    ("plain", "generic", "edge", "dns", 53, True),
    ("plain", "generic", "server", "edge", 8500, False),
    ("plain", "generic", "server", "server", 8500, False),
    ("plain", "generic", "server", "internet", 4433, True),
    ("plain", "generic", "server", "internet", 443, False),
    ("plain", "generic", "server", "metadata", 80, False),
    ("plain", "generic", "server", "metadata", 4433, False),
    ("plain", "generic", "ingress-nginx", "server", 8500, False),
    ("plain", "generic", "gateway", "server", 8500, False),
    ("plain", "lab", "server", "keyservice", 4433, True),
    ("plain", "lab", "server", "keyservice", 9433, False),
    ("plain", "lab", "server", "internet", 4433, False),
    ("plain", "lab", "edge", "keyservice", 4433, False),
    ("plain", "lab", "stranger", "keyservice", 4433, False),
    ("plain", "lab", "keyservice", "internet", 443, False),
    ("plain", "lab", "keyservice", "server", 8500, False),
    ("plain", "lab", "monitor", "server", 8501, True),
    ("plain", "lab", "monitor", "server", 8500, False),
    ("plain", "lab", "monitor", "keyservice", 9433, True),
    ("plain", "lab", "monitor", "keyservice", 4433, False),
    ("inside", "generic", "server", "keyservice", 4433, True),
    ("inside", "generic", "server", "internet", 4433, False),
    ("inside", "generic", "keyservice", "internet", 443, True),
    ("inside", "generic", "keyservice", "metadata", 443, False),
    ("inside", "generic", "gateway", "server", 8500, True),
    ("inside", "generic", "keyservice", "database", 5433, False),
    ("several", "generic", "keyservice", "database", 5433, True),
    ("several", "generic", "keyservice", "database", 5432, False),
    ("several", "generic", "keyservice", "internet", 5433, False),
    ("several", "generic", "server", "database", 5433, False),
    ("several", "lab", "keyservice", "database", 5433, True),
    ("several", "lab", "keyservice", "dns", 53, True),
    ("several", "lab", "keyservice", "internet", 443, False),
    ("everything", "azure", "ingress-nginx", "server", 8500, True),
    ("everything", "azure", "gateway", "server", 8500, True),
    ("everything", "azure", "server", "internet", 443, True),  # AESM beside it, for collateral
    ("everything", "azure", "server", "metadata", 80, True),  # and for PCK certificates
    ("everything", "azure", "server", "metadata", 443, False),
    ("everything", "lab", "server", "metadata", 80, False),
]


@pytest.mark.parametrize(("name", "target", "source", "peer", "port", "may"), PAIRS)
def test_a_connection_can_be_opened_or_not(
    name: str, target: str, source: str, peer: str, port: int, may: bool
) -> None:
    policies = [each for each in objects(name, target) if each["kind"] == "NetworkPolicy"]
    found = ends(name, target)
    assert allowed(policies, found[source], found[peer], port) == may


@pytest.mark.parametrize(("name", "target"), RENDERINGS)
def test_who_has_no_policy_of_its_own_speaks_to_nobody(name: str, target: str) -> None:
    found = by_key(objects(name, target))
    policies = [each for each in found.values() if each["kind"] == "NetworkPolicy"]
    namespace = policies[0]["metadata"]["namespace"]
    unknown = End(namespace, {"app": "debug"})
    for other in ends(name, target).values():
        for port in (53, 443, 4433, 8500):
            assert not allowed(policies, unknown, other, port)
            if other.namespace != namespace:
                assert not allowed(policies, other, unknown, port)


# Where the database is said to be, and who may be reached at its port: an address, all but one.
DATABASES = {
    "198.51.100.9": (True, False),
    "db.example.com": (True, True),
    "db.databases.svc.cluster.local": (False, False),
}


@pytest.mark.parametrize("host", DATABASES)
def test_the_key_service_reaches_its_database_where_it_is_said_to_be(host: str) -> None:
    table = f'key_service_database = "postgresql://keys@{host}/keys"'
    found = objects_of(described(f"\n[kubernetes]\n{table}\n"), "lab")
    policies = [each for each in found if each["kind"] == "NetworkPolicy"]
    (pod,) = (
        each["spec"]["template"]["metadata"]["labels"]
        for each in found
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", "digits-simulated-keyservice")
    )
    source = End("digits-simulated", pod)
    there, elsewhere = End(address="198.51.100.9"), INTERNET
    reached = tuple(allowed(policies, source, each, 5432) for each in (there, elsewhere))
    assert reached == DATABASES[host]
    assert allowed(policies, source, DATABASE, 5432) == host.endswith("cluster.local")
    assert not allowed(policies, source, METADATA, 5432)
    assert allowed(policies, source, DNS, 53) == (host != "198.51.100.9")
