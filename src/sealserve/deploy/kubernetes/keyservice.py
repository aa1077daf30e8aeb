"""The key service inside the cluster; or a Service that stands for one outside.

Inside is for a cluster of the model's owner, and for the lab. It is one copy with its database in a
claim, or several on PostgreSQL, each with a `state` of its own in memory: no two may share one
(docs/operations.md). Its secrets, the database's password among them, come in a Secret that the
owner makes and that is rendered nowhere; they are copied into memory first, because files of a
Secret have a mode that the service takes for everybody's. Source: Kubernetes, "Secrets", "Configure
a Security Context" (fsGroup).
"""

from __future__ import annotations

import hashlib
from typing import Final

from sealserve.deploy.images.roles import CONFIG_FOLDER, STATE_FOLDER
from sealserve.deploy.kubernetes import pods, workloads
from sealserve.deploy.kubernetes.lab import (
    LAB_FOLDER,
    PUBLIC,
    WORLD,
    WORLD_FOLDER,
    world_container,
    world_volumes,
)
from sealserve.deploy.kubernetes.outside import outside_objects
from sealserve.deploy.kubernetes.plan import KEEP, Object, Plan
from sealserve.deploy.kubernetes.pods import Container, Pod, Resources, in_memory, mount

LISTEN_PORT: Final = 4433
WATCH_PORT: Final = 9433
CONFIG: Final = "keyservice.toml"
POLICY: Final = "policy.toml"
SECRETS: Final = ("kek", "cert.pem", "key.pem")
DATABASE_SECRETS: Final = ("database-password", "database-ca.pem")
KEYS_FOLDER: Final = "/run/sealserve/keys"
_GIVEN_FOLDER: Final = "/run/sealserve/given"
_STATE: Final = "state"
_STATE_LIMIT: Final = "64Mi"  # a checkpoint, and the collateral of all platforms
_END_SECONDS: Final = 70  # a session takes 60 at most
# At each start of a pod; the policy only at the first, since `init` replaces none that is in force.
_INIT: Final = (
    "set -e; told=$(sealserve keyservice init --config {config} --json); "
    "case $told in *'\"policy_sha256\": null'*) "
    "sealserve keyservice init --config {config} --policy {policy};; esac"
)


def key_service_objects(plan: Plan) -> list[Object]:
    """What is rendered of it: all, a Service that leads outside, or nothing."""
    if plan.key_service_inside:
        several = plan.key_service_database is not None
        return [
            workloads.account(plan, "keyservice"),
            _config_map(plan),
            *([] if several else [_claim(plan)]),
            _deployment(plan),
            workloads.service(
                plan,
                plan.key_service,
                "keyservice",
                [("service", plan.key_service_port)],
            ),
            *([workloads.disruption_budget(plan, "keyservice")] if several else []),
        ]
    return outside_objects(plan)


def policy_name(plan: Plan) -> str:
    """The ConfigMap with the policy, which its owner makes."""
    return plan.named("policy")


def secret_name(plan: Plan) -> str:
    """The Secret with the files of `secrets`, which its owner makes."""
    return plan.named("keyservice")


def secrets(plan: Plan) -> tuple[str, ...]:
    """The files of that Secret: keys, the certificate, how the database is reached."""
    return SECRETS if plan.key_service_database is None else SECRETS + DATABASE_SECRETS


def configuration(plan: Plan) -> str:
    """The text of keyservice.toml. Intel's collateral is good on every cloud (docs/clouds.md)."""
    if plan.target.simulated:
        attestation = (
            f'trust_root = "{LAB_FOLDER}/root_ca.pem"\ncollateral_dir = "{LAB_FOLDER}/collateral"\n'
        )
    else:
        attestation = 'collateral_service = "intel"\n'
    return (
        f'listen = "0.0.0.0:{LISTEN_PORT}"\n'
        f"{_database(plan)}"
        f'state = "{STATE_FOLDER}/state"\n\n'
        f'[wrapping]\nkind = "file"\nkey = "{KEYS_FOLDER}/kek"\n\n'
        f'[tls]\ncertificate = "{KEYS_FOLDER}/cert.pem"\nprivate_key = "{KEYS_FOLDER}/key.pem"\n\n'
        f"[attestation]\n{attestation}\n"
        f'[watch]\nlisten = "0.0.0.0:{WATCH_PORT}"\n'
    )


def _database(plan: Plan) -> str:
    database = plan.key_service_database
    if database is None:
        return f'database = "{STATE_FOLDER}/keyservice.db"\n'
    password, authority = (f"{KEYS_FOLDER}/{name}" for name in DATABASE_SECRETS)
    return f'database = "{database}?sslrootcert={authority}"\ndatabase_password = "{password}"\n'


def _config_map(plan: Plan) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": plan.metadata(plan.named("keyservice"), "keyservice"),
        "data": {CONFIG: configuration(plan)},
    }


def _claim(plan: Plan) -> Object:
    table = plan.description.kubernetes
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": plan.metadata(plan.named("keyservice"), "keyservice", annotations=KEEP),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            **({"storageClassName": table.state_class} if table.state_class else {}),
            "resources": {"requests": {"storage": "4Gi"}},
        },
    }


def _deployment(plan: Plan) -> Object:
    image = pods.image_of(plan, "keyservice")
    small = Resources("50m", "64Mi", "256Mi")
    mounts = [
        mount("config", CONFIG_FOLDER),
        mount("keys", KEYS_FOLDER),
        mount(_STATE, STATE_FOLDER, writable=True),
        *([mount(WORLD, WORLD_FOLDER)] if plan.target.simulated else []),
    ]
    file = f"{CONFIG_FOLDER}/{CONFIG}"
    copying = Container(
        name="secrets",
        image=image,
        command=["sh", "-c", f"umask 077 && cp -fL {_GIVEN_FOLDER}/* {KEYS_FOLDER}/"],
        resources=small,
        mounts=[mount("given", _GIVEN_FOLDER), mount("keys", KEYS_FOLDER, writable=True)],
    )
    making = Container(
        name="init",
        image=image,
        command=["sh", "-c", _INIT.format(config=file, policy=f"{CONFIG_FOLDER}/{POLICY}")],
        resources=small,
        mounts=mounts,
    )
    world = [world_container(plan, "keyservice", PUBLIC)] if plan.target.simulated else []
    pod = Pod(
        containers=[_running(plan, image, file, mounts)],
        first=[*world, copying, making],
        volumes=_volumes(plan),
        grace_seconds=_END_SECONDS,
        writes=True,
    )
    one = plan.key_service_database is None
    changed = hashlib.sha256(configuration(plan).encode()).hexdigest()
    return workloads.deployment(
        plan,
        "keyservice",
        pod,
        strategy=workloads.RECREATE if one else workloads.ROLLING,
        replicas=1 if one else plan.choices.key_service_replicas,
        annotations={"sealserve.io/configuration": changed},
    )


def _running(plan: Plan, image: str, file: str, mounts: list[Object]) -> Container:
    alive = {"httpGet": {"port": "watch", "path": "/livez"}}
    ready = {"httpGet": {"port": "watch", "path": "/readyz"}}
    return Container(
        name="keyservice",
        image=image,
        arguments=["keyservice", "run", "--config", file],
        resources=Resources("250m", "256Mi", "1Gi"),
        mounts=mounts,
        rest={
            "ports": [pods.port("service", LISTEN_PORT), pods.port("watch", WATCH_PORT)],
            **pods.probes(alive, ready, alive, startup_seconds=120),
            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        },
    )


def _volumes(plan: Plan) -> list[Object]:
    parts = [
        {"configMap": {"name": name}} for name in (plan.named("keyservice"), policy_name(plan))
    ]
    given = {
        "secretName": secret_name(plan),
        "defaultMode": 0o400,
        "items": [{"key": each, "path": each} for each in secrets(plan)],
    }
    if plan.key_service_database is None:
        claim = {"claimName": plan.named("keyservice")}
        state: Object = {"name": _STATE, "persistentVolumeClaim": claim}
    else:
        state = in_memory(_STATE, _STATE_LIMIT)
    return [
        {"name": "config", "projected": {"sources": parts}},
        {"name": "given", "secret": given},
        in_memory("keys", "1Mi"),
        state,
        *(world_volumes(plan) if plan.target.simulated else []),
    ]
