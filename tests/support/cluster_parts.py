"""The programs of a single-node cluster: where they come from, their files and command lines.

Sources: Kubernetes, `hack/local-up-cluster.sh`, the references of the configuration files, and
"Configure the Aggregation Layer";
containerd, `docs/cri/config.md`, `docs/hosts.md`; distribution, `docs/configuration.md`; CNI,
plugins `bridge`, `host-local`, `portmap`; etcd, `--help`; kube-router, `docs/user-guide.md`.
Modest machines are provided for: cgroups of version 1 without systemd, no right to raise a limit or
a score of the OOM killer, sysctls of the machine left as they are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from cluster_space import NAME, NODE_ADDRESS, Space
from cluster_trust import Authority, authority, kubeconfig

GO = Path(__file__).parents[1] / "cluster" / "go"
CNI_PLUGINS = Path("/usr/lib/cni")  # Debian's place
PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "prometheus": "prometheus",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "nsenter": "util-linux",
    "ip": "iproute2",
}
SERVICES, FIRST_SERVICE, DNS_SERVICE = "10.96.0.0/16", "10.96.0.1", "10.96.0.10"
PODS = "10.211.0.0/24"
DOMAIN = "cluster.local"
API = f"https://{NODE_ADDRESS}:6443"
ETCD = "http://127.0.0.1:2379"
PEERS = "http://127.0.0.1:2380"
SOCKET = "/run/containerd/containerd.sock"  # /run is the space's own
REGISTRY = "localhost:5000"  # containerd speaks plain HTTP with a registry of this host
PAUSE = "sealserve.test/pause:1"
BUILD_SECONDS = 7200


def cache() -> Path:
    """Where what is built stays between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sealserve/cluster"


def programs() -> Path:
    """The folder of the built programs; builds what is missing, skips where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("a cluster needs root")
    if absent := {package for name, package in PACKAGES.items() if shutil.which(name) is None}:
        pytest.skip(f"not installed: {', '.join(sorted(absent))} (Debian's packages)")
    if not CNI_PLUGINS.is_dir():
        pytest.skip("not installed: containernetworking-plugins (Debian's package)")
    if shutil.which("go") is None:
        pytest.skip("not installed: Go, which builds Kubernetes from its modules")
    listing = ["go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"]
    version = subprocess.run(listing, cwd=GO, capture_output=True, text=True, check=True)
    folder = cache() / version.stdout.strip()
    subprocess.run([str(GO / "build.sh"), str(folder)], check=True, timeout=BUILD_SECONDS)
    return folder


@dataclass(frozen=True)
class Parts:
    """Starts each program in a space, with files of its own in the space's folder."""

    space: Space
    bin: Path

    @property
    def folder(self) -> Path:
        return self.space.folder

    @property
    def trust(self) -> Path:
        return self.folder / "trust"

    @cached_property
    def ca(self) -> Authority:
        made = authority(self.trust, "ca")
        hosts = ("kubernetes.default.svc", "localhost", FIRST_SERVICE, NODE_ADDRESS, "127.0.0.1")
        made.issue("api", "kube-apiserver", hosts=hosts)
        made.issue("admin", "test", groups=("system:masters",))
        made.issue("api-to-kubelet", "kube-apiserver-kubelet-client", groups=("system:masters",))
        made.issue("controllers", "system:kube-controller-manager")
        made.issue("scheduler", "system:kube-scheduler")
        made.issue("proxy", "system:kube-proxy")
        made.issue("policies", "kube-router", groups=("system:masters",))
        node = ("system:nodes",)
        made.issue("node", f"system:node:{NAME}", groups=node, hosts=(NAME, NODE_ADDRESS))
        authority(self.trust, "accounts")  # whose key signs the tokens of service accounts
        front = authority(self.trust, "front")  # of who may pass on other people's requests
        front.issue("api-in-front", "front-proxy-client")
        return made

    def file(self, name: str, content: object) -> Path:
        """A file of configuration, in JSON (which is YAML too) or as it is."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def etcd(self) -> None:
        self.space.start(
            "etcd",
            *(self.bin / "etcd", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync"),
            *(f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"),
            *(f"--listen-peer-urls={PEERS}", f"--initial-advertise-peer-urls={PEERS}"),
            f"--initial-cluster=default={PEERS}",
        )

    def api_server(self) -> None:
        ca, trust = self.ca, self.trust
        self.space.start(
            "kube-apiserver",
            *(self.bin / "kube-apiserver", f"--etcd-servers={ETCD}", "--secure-port=6443"),
            *(f"--advertise-address={NODE_ADDRESS}", f"--client-ca-file={ca.pem}"),
            *(
                f"--tls-cert-file={trust / 'api.pem'}",
                f"--tls-private-key-file={trust / 'api.key'}",
            ),
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={trust / 'accounts.pem'}",
            f"--service-account-signing-key-file={trust / 'accounts.key'}",
            *(f"--service-cluster-ip-range={SERVICES}", "--authorization-mode=Node,RBAC"),
            f"--kubelet-client-certificate={trust / 'api-to-kubelet.pem'}",
            f"--kubelet-client-key={trust / 'api-to-kubelet.key'}",
            f"--kubelet-certificate-authority={ca.pem}",
            "--kubelet-preferred-address-types=InternalIP",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",  # as kubeadm has it: a namespace decides, by Pod Security
            *self._aggregation(),
        )

    def _aggregation(self) -> tuple[str, ...]:
        """How APIs that are served by pods know that the API server asks, and for whom."""
        return (
            f"--requestheader-client-ca-file={self.trust / 'front.pem'}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={self.trust / 'api-in-front.pem'}",
            f"--proxy-client-key-file={self.trust / 'api-in-front.key'}",
        )

    def controllers(self) -> None:
        ca = self.ca
        config = kubeconfig(ca, "controllers", API)
        self.space.start(
            "kube-controller-manager",
            *(self.bin / "kube-controller-manager", f"--kubeconfig={config}"),
            f"--service-account-private-key-file={self.trust / 'accounts.key'}",
            *(f"--root-ca-file={ca.pem}", f"--cluster-signing-cert-file={ca.pem}"),
            *(f"--cluster-signing-key-file={ca.private}", "--use-service-account-credentials"),
            *("--leader-elect=false", "--bind-address=127.0.0.1"),
        )

    def scheduler(self) -> None:
        config = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig(self.ca, "scheduler", API))},
            "leaderElection": {"leaderElect": False},
        }
        path = self.file("scheduler.json", config)
        words = (f"--config={path}", "--bind-address=127.0.0.1")
        self.space.start("kube-scheduler", self.bin / "kube-scheduler", *words)

    def containerd(self) -> None:
        path = self.file("containerd.toml", _CONTAINERD.format(folder=self.folder))
        plugins = [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(self.folder / "addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ]
        network = {"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}
        self.file("cni/10-pods.conflist", network)
        self.space.start("containerd", "containerd", "--config", path)

    def registry(self) -> None:
        """Where our images are pulled from, as this node sees it; no pod reaches it."""
        settings = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "registry")}},
            "http": {"addr": "127.0.0.1:5000"},
        }
        path = self.file("registry.json", settings)
        self.space.start("docker-registry", "docker-registry", "serve", path)

    def kubelet(self) -> None:
        config = kubeconfig(self.ca, "node", API)
        settings = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(self.ca.pem)},
            },
            "tlsCertFile": str(self.trust / "node.pem"),
            "tlsPrivateKeyFile": str(self.trust / "node.key"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{NAME}",
            "clusterDNS": [DNS_SERVICE],
            "clusterDomain": DOMAIN,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "evictionHard": {"memory.available": "64Mi", "nodefs.available": "1%"},
            "failSwapOn": False,
            "imageGCHighThresholdPercent": 100,
            "oomScoreAdj": 0,
            "podLogsDir": str(self.folder / "logs" / "pods"),
            "resolvConf": "",
            "volumePluginDir": str(self.folder / "volume-plugins"),
        }
        path = self.file("kubelet.json", settings)
        self.space.start(
            "kubelet",
            *(self.bin / "kubelet", f"--kubeconfig={config}", f"--config={path}"),
            *(f"--hostname-override={NAME}", f"--node-ip={NODE_ADDRESS}"),
            f"--root-dir={self.folder / 'kubelet'}",
        )

    def proxy(self) -> None:
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig(self.ca, "proxy", API))},
            "clusterCIDR": PODS,
            "conntrack": {
                "maxPerCore": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "hostnameOverride": NAME,
            "metricsBindAddress": "127.0.0.1:10249",
            "mode": "iptables",
            "oomScoreAdj": 0,
        }
        path = self.file("proxy.json", config)
        self.space.start("kube-proxy", self.bin / "kube-proxy", f"--config={path}")

    def policies(self) -> None:
        """kube-router, which here enforces NetworkPolicies and does nothing else."""
        config = kubeconfig(self.ca, "policies", API)
        self.space.start(
            "kube-router",
            *(self.bin / "kube-router", "--run-firewall=true", "--run-router=false"),
            *("--run-service-proxy=false", "--enable-cni=false", f"--kubeconfig={config}"),
            *(f"--hostname-override={NAME}", f"--service-cluster-ip-range={SERVICES}"),
        )


_CONTAINERD = f"""\
version = 2
root = "{{folder}}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
path = "{{folder}}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{{folder}}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""
