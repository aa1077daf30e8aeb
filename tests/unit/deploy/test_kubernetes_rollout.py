"""How far a Deployment has come, decided from what the API server says of it."""

from __future__ import annotations

from typing import Any

import pytest

from rendered_cluster import DESCRIPTIONS
from sealserve.deploy.kubernetes.live.api import Cluster
from sealserve.deploy.kubernetes.live.rollout import components, rollout_of
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.render import plan_for
from sealserve.deploy.kubernetes.targets import TARGETS


def deployment(wanted: int | None, generation: int = 3, **status: int) -> dict[str, Any]:
    spec = {} if wanted is None else {"replicas": wanted}
    return {"metadata": {"generation": generation}, "spec": spec, "status": status}


ALL = {"updatedReplicas": 2, "availableReplicas": 2, "replicas": 2}
CASES = {
    "all are new and ready": (deployment(2, observedGeneration=3, **ALL), True, "2 of 2 ready"),
    "its controller has not seen the change": (
        deployment(2, observedGeneration=2, **ALL),
        False,
        "2 of 2 ready",
    ),
    "nothing is there yet": (deployment(2, observedGeneration=3), False, "0 of 2 ready"),
    "its controller has never seen it": (deployment(2), False, "0 of 2 ready"),
    "one is not ready": (
        deployment(2, observedGeneration=3, **{**ALL, "availableReplicas": 1}),
        False,
        "1 of 2 ready",
    ),
    "an older one is there still": (
        deployment(2, observedGeneration=3, **{**ALL, "replicas": 3}),
        False,
        "2 of 2 ready, 1 older",
    ),
    "one too many": (
        deployment(1, observedGeneration=3, **ALL),
        False,
        "2 of 1 ready",
    ),
    "none is wanted": (deployment(0, observedGeneration=3), True, "0 of 0 ready"),
    "one is wanted where nothing is said": (
        deployment(None, observedGeneration=3, updatedReplicas=1, availableReplicas=1, replicas=1),
        True,
        "1 of 1 ready",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_deployment_has_settled_only_if_it_is_exactly_what_is_wanted(case: str) -> None:
    found, settled, text = CASES[case]
    assert rollout_of(found).settled is settled
    assert str(rollout_of(found)) == text


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("plain", "generic", ("server", "edge")),
        ("plain", "lab", ("keyservice", "server", "edge")),
        ("inside", "generic", ("keyservice", "server")),
        ("alias", "generic", ("server",)),
    ],
)
def test_what_is_waited_for_is_what_is_rendered(
    name: str, target: str, expected: tuple[str, ...]
) -> None:
    plan = plan_for(DESCRIPTIONS[name], TARGETS[target])
    assert components(Service(plan, Cluster(None, "nowhere"))) == expected
