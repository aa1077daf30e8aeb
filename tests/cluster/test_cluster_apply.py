"""`sealserve k8s apply` and `delete` on a real API server: what is changed, and what is left alone.

Nothing here gets ready: no node has SGX, and nobody gives keys. What is looked at are objects.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cluster_parts import API
from cluster_trust import kubeconfig
from real_cluster import Cluster, Object
from rendered_cluster import load_all, objects_of, read
from sealserve.deploy.description.writing import Answers, describe

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

DOCUMENTED = Path(__file__).parents[2] / "docs" / "kubernetes-running.md"
NUMBERS = count(1)
CLASS = '\n[kubernetes]\nstorage_class = "{}"\n'
KEPT = {"Namespace", "PersistentVolumeClaim"}


@dataclass
class Operator:
    """Somebody with a description, and a way to the cluster."""

    cluster: Cluster
    name: str  # of the service and of its namespace
    file: Path
    config: Path

    @property
    def plain(self) -> str:
        """A description."""
        return describe(Answers(cluster=self.name, replicas=1, tls="mutual"))

    @property
    def wanted(self) -> Counter[tuple[str, str]]:
        """What applying it for the first time says."""
        found = objects_of(read(self.plain), "generic")
        return Counter(("created", each["kind"]) for each in found)

    def get(self, kind: str, *names: str) -> Any:
        return self.cluster.get(kind, *names, f"--namespace={self.name}")

    def run(self, what: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "sealserve", "k8s", what, self.file, *words)
        return self.cluster.space.run(*command, f"--kubeconfig={self.config}", check=False)

    def apply(self, text: str) -> Counter[tuple[str, str]]:
        """How many objects of each kind were created, changed, removed."""
        self.file.write_text(text)
        ended = self.run("apply", "--without-prediction", "--wait", "1")
        assert ended.returncode and "not ready in 1 s" in ended.stderr, ended.stderr
        lines = [line.split() for line in ended.stderr.splitlines()]
        changes = ("created", "changed", "removed")
        return Counter((line[0], line[1]) for line in lines if line and line[0] in changes)


@pytest.fixture
def operator(node: Cluster, tmp_path: Path) -> Iterator[Operator]:
    name = f"applied{next(NUMBERS)}"
    made = Operator(node, name, tmp_path / "sealserve.toml", node.config)
    made.file.write_text(made.plain)
    yield made
    made.config = node.config
    made.run("delete", "--yes")


def test_everything_rendered_is_created_and_a_second_time_nothing_changes(
    operator: Operator,
) -> None:
    wanted = Counter(
        ("created", each["kind"]) for each in objects_of(read(operator.plain), "generic")
    )
    assert operator.apply(operator.plain) == wanted
    assert operator.apply(operator.plain) == Counter()


def test_what_a_description_asks_for_no_more_is_removed_and_data_is_not(
    operator: Operator,
) -> None:
    inside = describe(Answers(cluster=operator.name, key_service=f"keys.{operator.name}.svc:4433"))
    operator.apply(f"{inside}\n[kubernetes]\nkey_service_inside = true\n")
    changes = operator.apply(operator.plain)
    assert changes["removed", "Deployment"] == 1  # the key service
    assert not any(change == "removed" and kind in KEPT for change, kind in changes)
    claims = {each["metadata"]["name"] for each in operator.get("pvc")["items"]}
    assert claims == {f"{operator.name}-models", f"{operator.name}-keyservice"}


def test_what_somebody_else_made_in_the_namespace_is_left_alone(operator: Operator) -> None:
    operator.apply(operator.plain)
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"its": "own"}}
    theirs["metadata"] = {"name": "theirs", "namespace": operator.name}
    operator.cluster.apply(theirs)
    assert operator.apply(operator.plain) == Counter()
    operator.run("delete", "--yes")
    assert operator.get("configmap", "theirs")


def test_what_was_changed_by_hand_is_as_described_again(operator: Operator) -> None:
    operator.apply(operator.plain)
    change = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 200}}}}
    words = (f"--namespace={operator.name}", "--type=merge", f"--patch={json.dumps(change)}")
    operator.cluster.kubectl("patch", "deployment", f"{operator.name}-server", *words)
    assert operator.apply(operator.plain) == Counter({("changed", "Deployment"): 1})
    found = operator.get("deployment", f"{operator.name}-server")
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] < 200


def test_replicas_stay_when_an_autoscaler_is_to_decide_from_now_on(operator: Operator) -> None:
    fixed = operator.plain.replace("replicas = 1", "replicas = 3")
    operator.apply(f"{fixed}\n[kubernetes]\nmax_replicas = 3\n")
    operator.apply(f"{operator.plain}\n[kubernetes]\nmax_replicas = 5\n")
    found = operator.get("deployment", f"{operator.name}-server")
    assert found["spec"]["replicas"] == 3


def test_an_object_that_is_refused_keeps_everything_else_as_it_was(operator: Operator) -> None:
    operator.apply(operator.plain + CLASS.format("one"))
    operator.file.write_text(operator.plain.replace("8500", "8600") + CLASS.format("another"))
    ended = operator.run("apply", "--without-prediction", "--wait", "1")
    assert ended.returncode == 1
    assert "PersistentVolumeClaim" in ended.stderr and "[kubernetes-refused]" in ended.stderr
    assert "8600" not in json.dumps(operator.get("service"))


def test_a_route_whose_api_is_not_installed_is_named(operator: Operator) -> None:
    table = '\n[kubernetes]\nedges = ["gateway"]\ngateway = "gateways/public"\n'
    operator.file.write_text(operator.plain + table)
    ended = operator.run("apply", "--without-prediction", "--wait", "1")
    assert ended.returncode == 1
    assert "TLSRoute" in ended.stderr and "Gateway API" in ended.stderr


def test_delete_takes_all_but_data_and_with_data_all(operator: Operator) -> None:
    operator.apply(operator.plain)
    assert operator.run("delete", "--yes").returncode == 0
    for kind in ("deployment", "service", "networkpolicy", "serviceaccount", "pods"):
        left = operator.get(kind)["items"]
        assert not [each for each in left if each["metadata"]["name"] != "default"]
    assert operator.get("pvc")["items"]
    assert operator.run("delete", "--yes", "--data").returncode == 0
    spaces = operator.cluster.get("namespaces")["items"]
    assert operator.name not in {each["metadata"]["name"] for each in spaces}


def test_without_a_terminal_nothing_is_deleted_unless_somebody_said_yes(
    operator: Operator,
) -> None:
    operator.apply(operator.plain)
    ended = operator.run("delete")
    assert ended.returncode == 1 and "--yes" in ended.stderr
    assert operator.get("deployment")["items"]


def test_the_documented_rights_are_enough_and_without_them_it_is_said_what_is_missing(
    operator: Operator,
) -> None:
    ca = operator.cluster.parts.ca
    ca.issue("operator", "operator")
    operator.config = kubeconfig(ca, "operator", API)
    refused = operator.run("apply", "--without-prediction", "--wait", "1")
    assert refused.returncode == 1 and "[kubernetes-forbidden]" in refused.stderr
    _grant(operator)
    wanted = Counter(
        ("created", each["kind"]) for each in objects_of(read(operator.plain), "generic")
    )
    changes = operator.apply(operator.plain)
    assert {key: count for key, count in changes.items() if key[1] != "Namespace"} == {
        key: count for key, count in wanted.items() if key[1] != "Namespace"
    }
    assert operator.run("delete", "--yes").returncode == 0


def _grant(operator: Operator) -> None:
    """Give the user `operator` what the page says, in the namespace."""
    text = DOCUMENTED.read_text().split("```yaml\n")[1].split("```")[0]
    rights = load_all(text.replace("NAMESPACE", operator.name))
    assert [each["kind"] for each in rights] == ["ClusterRole", "Role"]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": operator.name}}
    operator.cluster.apply(space, *rights, *(_bound(each) for each in rights))


def _bound(role: Object) -> Object:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": f"{role['kind']}Binding",
        "metadata": role["metadata"],
        "roleRef": {"apiGroup": group, "kind": role["kind"], "name": role["metadata"]["name"]},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "operator"}],
    }
