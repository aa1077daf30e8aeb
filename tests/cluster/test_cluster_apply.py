"""`sealserve k8s apply` and `delete` on a real API server: what is changed, and what is left alone.

Nothing here gets ready: no node has SGX, and nobody gives keys. What is looked at are objects.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster_parts import API
from cluster_trust import kubeconfig
from real_cluster import Cluster, Object
from rendered_cluster import INSIDE, by_key, key, load_all, objects_of, read
from sealserve.deploy.description.writing import Answers, describe

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

DOCUMENTED = Path(__file__).parents[2] / "docs" / "kubernetes.md"
PLAIN = describe(Answers(cluster="applied", replicas=1, tls="mutual"))
CLASS = '\n[kubernetes]\nstorage_class = "{}"\n'
KEPT = {"Namespace", "PersistentVolumeClaim"}


@dataclass
class Operator:
    """Somebody with a description, and a way to the cluster."""

    cluster: Cluster
    file: Path
    config: Path

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
def operator(node: Cluster, tmp_path: Path) -> Operator:
    made = Operator(node, tmp_path / "sealserve.toml", node.config)
    made.file.write_text(PLAIN)
    made.run("delete", "--data", "--yes")
    return made


def test_everything_rendered_is_created_and_a_second_time_nothing_changes(
    operator: Operator,
) -> None:
    wanted = Counter(("created", each["kind"]) for each in objects_of(read(PLAIN), "generic"))
    assert operator.apply(PLAIN) == wanted
    assert operator.apply(PLAIN) == Counter()


def test_what_a_description_asks_for_no_more_is_removed_and_data_is_not(
    operator: Operator,
) -> None:
    inside = describe(Answers(cluster="applied", key_service="keys.applied.svc:4433"))
    operator.apply(f"{inside}\n[kubernetes]\nkey_service_inside = true\n")
    changes = operator.apply(PLAIN)
    assert changes["removed", "Deployment"] == 1  # the key service
    assert not any(change == "removed" and kind in KEPT for change, kind in changes)
    claims = operator.cluster.get("pvc", "--namespace=applied")["items"]
    assert {each["metadata"]["name"] for each in claims} == {
        "applied-models",
        "applied-keyservice",
    }


def test_what_somebody_else_made_in_the_namespace_is_left_alone(operator: Operator) -> None:
    operator.apply(PLAIN)
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"its": "own"}}
    theirs["metadata"] = {"name": "theirs", "namespace": "applied"}
    operator.cluster.apply(theirs)
    assert operator.apply(PLAIN) == Counter()
    operator.run("delete", "--yes")
    assert operator.cluster.get("configmap", "theirs", "--namespace=applied")


def test_what_was_changed_by_hand_is_as_described_again(operator: Operator) -> None:
    operator.apply(PLAIN)
    change = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 200}}}}
    words = ("--namespace=applied", "--type=merge", f"--patch={json.dumps(change)}")
    operator.cluster.kubectl("patch", "deployment", "applied-server", *words)
    assert operator.apply(PLAIN) == Counter({("changed", "Deployment"): 1})
    found = operator.cluster.get("deployment", "applied-server", "--namespace=applied")
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] < 200


def test_an_object_that_is_refused_keeps_everything_else_as_it_was(operator: Operator) -> None:
    operator.apply(PLAIN + CLASS.format("one"))
    operator.file.write_text(PLAIN.replace("8500", "8600") + CLASS.format("another"))
    ended = operator.run("apply", "--without-prediction", "--wait", "1")
    assert ended.returncode == 1
    assert "PersistentVolumeClaim" in ended.stderr and "[kubernetes-refused]" in ended.stderr
    assert "8600" not in json.dumps(operator.cluster.get("service", "--namespace=applied"))


def test_a_route_whose_api_is_not_installed_is_named(operator: Operator) -> None:
    table = '\n[kubernetes]\nedges = ["gateway"]\ngateway = "gateways/public"\n'
    operator.file.write_text(PLAIN + table)
    ended = operator.run("apply", "--without-prediction", "--wait", "1")
    assert ended.returncode == 1
    assert "TLSRoute" in ended.stderr and "Gateway API" in ended.stderr


def test_delete_takes_all_but_data_and_with_data_all(operator: Operator) -> None:
    operator.apply(PLAIN)
    assert operator.run("delete", "--yes").returncode == 0
    for kind in ("deployment", "service", "networkpolicy", "serviceaccount", "pods"):
        left = operator.cluster.get(kind, "--namespace=applied")["items"]
        assert not [each for each in left if each["metadata"]["name"] != "default"]
    assert operator.cluster.get("pvc", "--namespace=applied")["items"]
    assert operator.run("delete", "--yes", "--data").returncode == 0
    spaces = operator.cluster.get("namespaces")["items"]
    assert "applied" not in {each["metadata"]["name"] for each in spaces}


def test_without_a_terminal_nothing_is_deleted_unless_somebody_said_yes(
    operator: Operator,
) -> None:
    operator.apply(PLAIN)
    ended = operator.run("delete")
    assert ended.returncode == 1 and "--yes" in ended.stderr
    assert operator.cluster.get("deployment", "--namespace=applied")["items"]


def test_the_documented_rights_are_enough_and_without_them_it_is_said_what_is_missing(
    operator: Operator,
) -> None:
    ca = operator.cluster.parts.ca
    ca.issue("operator", "operator")
    operator.config = kubeconfig(ca, "operator", API)
    refused = operator.run("apply", "--without-prediction", "--wait", "1")
    assert refused.returncode == 1 and "[kubernetes-forbidden]" in refused.stderr
    _grant(operator.cluster)
    wanted = Counter(("created", each["kind"]) for each in objects_of(read(PLAIN), "generic"))
    changes = operator.apply(PLAIN)
    assert {key: count for key, count in changes.items() if key[1] != "Namespace"} == {
        key: count for key, count in wanted.items() if key[1] != "Namespace"
    }
    assert operator.run("delete", "--yes").returncode == 0


def _grant(cluster: Cluster) -> None:
    """Give the user `operator` what the page says, in the namespace `applied`."""
    text = DOCUMENTED.read_text().split("```yaml\n")[1].split("```")[0]
    rights = load_all(text.replace("NAMESPACE", "applied"))
    assert [each["kind"] for each in rights] == ["ClusterRole", "Role"]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "applied"}}
    cluster.apply(space, *rights, *(_bound(each) for each in rights))


def _bound(role: Object) -> Object:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": f"{role['kind']}Binding",
        "metadata": role["metadata"],
        "roleRef": {"apiGroup": group, "kind": role["kind"], "name": role["metadata"]["name"]},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "operator"}],
    }
