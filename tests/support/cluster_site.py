"""A service of the lab in a cluster, from nothing, as docs/kubernetes.md says.

What the owner does is done on this host by the real commands; all else is applied by kubectl. Only
the volumes are the test's own: a cluster of one node has them in folders.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from real_cluster import Cluster, Object, tell, wait_available
from rendered_cluster import load_all
from sealserve.deploy.images.roles import CONFIG_FOLDER, USER_ID
from sealserve.models.digits import held_out

SUFFIX = "-simulated"
NAME = f"digits{SUFFIX}"  # of the one site that most tests share, and its namespace
MODEL = "digits"
DOMAIN = "grpc.tf-serving.service.com"
PORT = 8500
COMMAND_SECONDS = 300
FIRST_ANSWER_SECONDS = 120.0
POLICY = """\
version = 2
trust_root = "{root}"

[[identities]]
name = "the digit server"
mr_enclave = ["{mr_enclave}"]

[[rules]]
name = "digits"
identities = ["the digit server"]
secret = "digits"
"""


@dataclass
class Site:
    """The folders of the parties, and what is applied."""

    cluster: Cluster
    folder: Path
    images: Mapping[str, str]  # name by role, all with one prefix and one tag
    service: str = "digits"
    replicas: int = 1
    mutual: bool = False  # clients show a certificate
    server: str = ""  # more lines of the description's [server]
    table: str = "max_replicas = 4"  # and of its [kubernetes]
    secrets: Mapping[str, Path] = field(default_factory=dict)  # more files of the key service's

    @property
    def name(self) -> str:
        """Of all that is applied, and of its namespace."""
        return f"{self.service}{SUFFIX}"

    @property
    def owner(self) -> Path:
        return self.folder / "owner"

    @property
    def models(self) -> Path:
        """The enclave's folder: the volume that all servers read."""
        return self.folder / "models"

    @property
    def client(self) -> Path:
        return self.folder / "client"

    @property
    def credentials(self) -> list[str]:
        """The options of a command that is a client."""
        names = ("ca", "cert", "key") if self.mutual else ("ca",)
        return [word for name in names for word in (f"--{name}", str(self.client / f"{name}.pem"))]

    @property
    def overlay(self) -> Path:
        return self.folder / "rendered" / "kustomize" / "overlays" / "lab"

    def do(self, *words: str, folder: Path) -> str:
        """A command of the owner's, on this host."""
        command = [sys.executable, "-m", "sealserve", *words]
        ended = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert ended.returncode == 0, f"sealserve {' '.join(words)}\n{ended.stderr}"
        return ended.stdout

    def live(self, what: str, *words: str) -> list[str]:
        """The command line of `sealserve k8s`, as an operator has it inside the cluster's space."""
        file = str(self.folder / "sealserve.toml")
        way = ("--for", "lab", "--kubeconfig", str(self.cluster.config))
        command = (sys.executable, "-m", "sealserve", "k8s", what, file, *words, *way)
        return self.cluster.space.inside(*command)

    def kubectl(self, *words: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.cluster.kubectl(f"--namespace={self.name}", *words, **more)

    def get(self, *words: str) -> Any:
        return self.cluster.get(f"--namespace={self.name}", *words)

    def objects(self) -> list[Object]:
        """All that is applied."""
        return load_all(self.kubectl("kustomize", self.overlay).stdout)

    def one(self, kind: str, name: str) -> Object:
        (found,) = (
            each
            for each in self.objects()
            if (each["kind"], each["metadata"]["name"]) == (kind, name)
        )
        return found

    def wait(self, part: str, **more: Any) -> float:
        return wait_available(self.cluster, self.name, f"{self.name}-{part}", **more)


def prepare(site: Site) -> None:
    """The owner's work: model, TLS, keys, sealed files; the lab's world; the rendering."""
    began = time.monotonic()
    for folder in (site.owner, site.models, site.client, site.folder / "state"):
        folder.mkdir(parents=True)
    site.do("lab", "init", "lab", folder=site.folder)
    subprocess.run(["tar", "-cf", "lab.tar", "lab"], cwd=site.folder, check=True)
    site.do("model", "digits", "--out", f"models/{MODEL}", folder=site.owner)
    _make_tls(site)
    site.do("tls", "oneway", f"keys.{site.name}.svc", "--out", "keys", folder=site.owner)
    site.do("key", "new", "wrap.key", folder=site.owner)
    (site.owner / "kek").write_bytes(os.urandom(32))
    for source, target in (("models", "models"), ("ssl_configure/ssl.cfg", "ssl.cfg")):
        words = ("seal", "-w", "../owner/wrap.key", "-i", f"../owner/{source}", "-o", target)
        site.do(*words, folder=site.models)
    shutil.copy(site.owner / "keys/server/cert.pem", site.models / "key-service-ca.pem")
    images, labels = held_out()
    (site.client / "images.json").write_text(json.dumps(images.tolist()))
    (site.client / "labels.json").write_text(json.dumps(labels.tolist()))
    _render(site)
    given = site.folder / "rendered" / "to-seal"
    for name in (str(each.relative_to(given)) for each in given.rglob("*.*")):
        (site.models / name).parent.mkdir(exist_ok=True)
        words = ("seal", "-w", "../owner/wrap.key", "-i", str(given / name), "-o", name)
        site.do(*words, folder=site.models)
    for folder in (site.models, site.folder / "state"):
        subprocess.run(["chown", "-R", f"{USER_ID}:{USER_ID}", folder], check=True)
    tell("the owner's files are made and sealed, and all is rendered", began)


def _make_tls(site: Site) -> None:
    """The server's certificate, and what a client needs of it."""
    made, wanted = site.owner / "ssl_configure", {"ca.pem": "server/cert.pem"}
    if site.mutual:
        site.do("tls", "twoway", DOMAIN, f"client.{DOMAIN}", folder=site.owner)
        wanted = {"ca.pem": "ca_cert.pem"}
        wanted |= {name: f"client/{name}" for name in ("cert.pem", "key.pem")}
    else:
        site.do("tls", "oneway", DOMAIN, folder=site.owner)
    for target, source in wanted.items():
        shutil.copy(made / source, site.client / target)


def _render(site: Site) -> None:
    prefix, _, tag = site.images["server"].partition("/sealserve-server:")
    described = ("--kind", "sealserve", "--domain", DOMAIN, "--cluster", site.service)
    tls = "mutual" if site.mutual else "oneway"
    words = (*described, "--replicas", str(site.replicas), "--tls", tls)
    site.do("deploy", "init", "--yes", *words, folder=site.folder)
    path = site.folder / "sealserve.toml"
    text = path.read_text().replace("threads = 4", f"{site.server}\nthreads = 1")
    table = f'\n[kubernetes]\nregistry = "{prefix}"\ntag = "{tag}"\n{site.table}\n'
    path.write_text(text + table)
    site.do("k8s", "render", "sealserve.toml", "--out", "rendered", folder=site.folder)


def make_volumes(site: Site) -> None:
    """A folder of this node for each claim."""
    state = site.folder / "state"
    folders = {f"{site.name}-models": site.models, f"{site.name}-keyservice": state}
    for each in site.objects():
        if each["kind"] != "PersistentVolumeClaim":
            continue
        claim, asked = each["metadata"]["name"], each["spec"]
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": claim},
            "spec": {
                "accessModes": asked["accessModes"],
                "capacity": asked["resources"]["requests"],
                "hostPath": {"path": str(folders[claim]), "type": "Directory"},
                "claimRef": {"namespace": site.name, "name": claim},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        }
        site.cluster.apply(volume)


def measure(site: Site) -> str:
    """What the server measures, told by a pod like the Deployment's, in the very image."""
    deployment = site.one("Deployment", f"{site.name}-server")
    pod = copy.deepcopy(deployment["spec"]["template"])
    pod["metadata"] = {"name": "measure", "namespace": site.name}
    container = pod["spec"]["containers"][0]
    words = container["args"]
    world, measured = words[words.index("enclave") + 1], words[words.index("--") + 1 :]
    container["args"] = ["lab", "measure", world, "--json", "--", *measured]
    for name in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "ports"):
        del container[name]
    pod["spec"]["restartPolicy"] = "Never"
    account = site.one("ServiceAccount", pod["spec"]["serviceAccountName"])
    claim = site.one("PersistentVolumeClaim", f"{site.name}-models")
    site.cluster.apply(account, claim, {"apiVersion": "v1", "kind": "Pod", **pod})

    def ended() -> bool:
        phase = site.get("pod", "measure")["status"]["phase"]
        assert phase != "Failed", site.kubectl("logs", "measure").stdout
        return bool(phase == "Succeeded")

    site.cluster.wait("a pod in the server's image has measured it", ended, log="kubelet")
    told = json.loads(site.kubectl("logs", "measure", "--container=server").stdout)
    site.kubectl("delete", "pod", "measure", "--wait=true")
    return str(told["mr_enclave"])


def give_secrets(site: Site) -> None:
    """The namespace, and the Secrets that no rendering has."""
    site.cluster.apply(site.one("Namespace", site.name))
    site.kubectl(
        "create", "secret", "generic", f"{site.name}-lab", f"--from-file={site.folder / 'lab.tar'}"
    )
    pair = site.owner / "keys" / "server"
    site.kubectl(
        *("create", "secret", "generic", f"{site.name}-keyservice"),
        f"--from-file=kek={site.owner / 'kek'}",
        *(f"--from-file={name}={pair / name}" for name in ("cert.pem", "key.pem")),
        *(f"--from-file={name}={path}" for name, path in site.secrets.items()),
    )


def give_policy(site: Site, mr_enclave: str) -> None:
    root = ssl.PEM_cert_to_DER_cert((site.folder / "lab" / "root_ca.pem").read_text())
    path = site.folder / "policy.toml"
    path.write_text(POLICY.format(root=sha256(root).hexdigest(), mr_enclave=mr_enclave))
    site.kubectl("create", "configmap", f"{site.name}-policy", f"--from-file={path}")


def give_model_key(site: Site) -> None:
    """Into the running key service, by its command there; the key is in no argument."""
    config = f"{CONFIG_FOLDER}/keyservice.toml"
    script = (
        "umask 077; cat > /tmp/key; "
        f"sealserve secret add {MODEL} --from /tmp/key --config {config}; rm /tmp/key"
    )
    with (site.owner / "wrap.key").open("rb") as key:
        words = ("exec", "--stdin", f"deploy/{site.name}-keyservice", "--", "sh", "-c", script)
        site.kubectl(*words, stdin=key)


def apply(site: Site) -> None:
    """All that is rendered, as an operator would."""
    site.kubectl("apply", "--kustomize", site.overlay)


def from_nothing(site: Site) -> None:
    """All of it in its order, until it answers."""
    began = time.monotonic()
    make_volumes(site)
    give_secrets(site)
    give_policy(site, measure(site))
    applying = time.monotonic()
    apply(site)
    site.wait("keyservice", log="kubelet")
    give_model_key(site)
    site.wait("server", log="kubelet")
    site.wait("edge", log="kubelet")
    ask(site)
    tell("from the first apply to the first answer", applying)
    tell("the same, with secrets and the measurement before", began)


def by_command(site: Site) -> dict[str, Any]:
    """The same by our own command, which the owner's key is given to meanwhile; what it says."""
    make_volumes(site)
    give_secrets(site)
    give_policy(site, measure(site))
    command = site.live("apply", *site.credentials, "--wait", "300", "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as applying:
        site.wait("keyservice", log="kubelet")
        give_model_key(site)
        said, _ = applying.communicate(timeout=COMMAND_SECONDS)
    assert applying.returncode == 0, said
    return dict(json.loads(said))


@contextmanager
def standing(site: Site) -> Iterator[Site]:
    """The service, in the place of the shared one until the block ends: the node is small."""
    with _resting(site.cluster):
        prepare(site)
        from_nothing(site)
        try:
            yield site
        finally:
            remove(site)


@contextmanager
def _resting(cluster: Cluster) -> Iterator[None]:
    """No pod of the shared service runs meanwhile, if there is one."""
    space = f"--namespace={NAME}"
    found = cluster.get("deployments", space)["items"]
    replicas = {each["metadata"]["name"]: each["spec"]["replicas"] for each in found}
    for name in replicas:
        cluster.kubectl("scale", space, f"deployment/{name}", "--replicas=0")
    try:
        yield
    finally:
        for name, count in replicas.items():
            cluster.kubectl("scale", space, f"deployment/{name}", f"--replicas={count}")
        for name in replicas:
            wait_available(cluster, NAME, name)


def remove(site: Site) -> None:
    """The namespace, with all that is in it."""
    site.cluster.kubectl("delete", "namespace", site.name, "--wait=false")
    site.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")

    def gone() -> bool:
        return site.cluster.kubectl("get", "namespace", site.name, check=False).returncode != 0

    site.cluster.wait(f"{site.name} is gone", gone)


def edge_target(site: Site) -> str:
    """Where clients connect to: the edge's Service."""
    address = site.get("service", f"{site.name}-edge")["spec"]["clusterIP"]
    return f"{address}:{PORT}"


def ask(site: Site) -> str:
    """One prediction through the edge over TLS, by our command."""
    target = edge_target(site)
    words = ["predict", "--target", target, "--server-name", DOMAIN, "--model", "digits"]
    words += [*site.credentials, "--random", "1,8,8,1"]
    deadline = time.monotonic() + FIRST_ANSWER_SECONDS
    while True:
        asked = site.cluster.space.run(sys.executable, "-m", "sealserve", *words, check=False)
        if asked.returncode == 0:
            return asked.stdout
        assert time.monotonic() < deadline, asked.stderr
