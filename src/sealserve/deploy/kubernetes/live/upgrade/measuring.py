"""What a lab's server measures: told by a pod like its own, in the very image, and gone then.

The pod stands in the service's namespace, since what is measured includes a file of the claim with
the models (the key service's CA), and claims lead nowhere else. No Service and no policy of the
network chooses it; it starts no enclave and asks nobody for anything.
"""

from __future__ import annotations

import copy
import json
import secrets
import time
from contextlib import suppress
from typing import Final

from sealserve.deploy.kubernetes.live.fields import Object, name, rows, table, text
from sealserve.deploy.kubernetes.live.rollout import STEP, Tell
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.stages import SERVER, stage
from sealserve.errors import ConfigError, NetworkError, SealServeError
from sealserve.policies.editing import Reference

SECONDS: Final = 300.0
_NOT_ALONE: Final = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "ports")
_LITTLE: Final = {
    "requests": {"cpu": "50m", "memory": "128Mi"},
    "limits": {"memory": "1Gi"},
}
_HOPELESS: Final = ("ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")


def measure(service: Service, template: Object, tell: Tell) -> Reference:
    """Measure the server of a lab's template.

    Raises ConfigError where its image is not to be had or cannot tell, NetworkError where it does
    not in time.
    """
    pod = measuring_pod(template, service.plan.named("measure"), secrets.token_hex(4))
    pod["metadata"]["namespace"] = service.namespace
    image = next(each["image"] for each in pod["spec"]["containers"])
    tell(f"measuring {image} in the pod {name(pod)}")
    try:
        service.cluster.apply(pod)
        ended = _ended(service, name(pod))
        log = service.container(ended, SERVER).log(lines=100)
        if text(ended, "status", "phase") != "Succeeded":
            raise ConfigError(f"{image} cannot be measured: {log.strip()[-300:]}")
        return _reference(log, image)
    finally:
        with suppress(SealServeError):  # it ends by itself in any case, and is only left over
            service.cluster.delete("Pod", name(pod), service.namespace)


def measuring_pod(template: Object, prefix: str, unique: str) -> Object:
    """A pod that tells what the template's server would measure."""
    found = copy.deepcopy(template["spec"])
    server = next(each for each in found["containers"] if each["name"] == SERVER)
    words = server["args"]
    world, measured = words[words.index("enclave") + 1], words[words.index("--") + 1 :]
    server["args"] = ["lab", "measure", world, "--json", "--", *measured]
    server["resources"] = _LITTLE
    for key in _NOT_ALONE:
        server.pop(key, None)
    found |= {
        "containers": [server],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": int(SECONDS),
        "terminationGracePeriodSeconds": 1,
    }
    found.pop("topologySpreadConstraints", None)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{prefix}-{unique}",
            "labels": {"app.kubernetes.io/name": "sealserve-measure"},
        },
        "spec": found,
    }


def _ended(service: Service, called: str) -> Object:
    deadline = time.monotonic() + SECONDS
    while True:
        pod = service.find("Pod", called)
        if pod is None:
            raise NetworkError(f"the pod {called} is gone before it has measured anything")
        if text(pod, "status", "phase") in ("Succeeded", "Failed"):
            return pod
        waiting = [table(each, "state", "waiting") for each in _statuses(pod)]
        if any(each.get("reason") in _HOPELESS for each in waiting):
            raise ConfigError(
                f"the image cannot be had: {stage(pod)}",
                hint="is it pushed, under the tag that the description names?",
            )
        if time.monotonic() > deadline:
            raise NetworkError(f"nothing is measured in {SECONDS:.0f} s: {called} {stage(pod)}")
        time.sleep(STEP)


def _statuses(pod: Object) -> list[Object]:
    return rows(pod, "status", "initContainerStatuses") + rows(pod, "status", "containerStatuses")


def _reference(log: str, image: str) -> Reference:
    try:
        told = json.loads(log[log.index("{") :])
        return Reference(
            mr_enclave=bytes.fromhex(told["mr_enclave"]),
            mr_signer=bytes.fromhex(told["mr_signer"]),
            isv_prod_id=int(told["isv_prod_id"]),
            isv_svn=int(told["isv_svn"]),
            remark=f"SIMULATED: {image}",
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{image} does not tell what it measures: {log[-300:]}") from error
