"""The edge of the demo: nginx where it is to be had, and gRPC's own round-robin where it is not.

nginx passes TLS through by SNI and holds no key. It is installed with apt where we are root; the
system service that Debian's package would start is kept from starting.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sealserve.deploy.nginx import Edge, Nginx, Route, find_nginx, write_config
from sealserve.hosts import Address
from sealserve.ports import free_port

PACKAGES = ("nginx", "libnginx-mod-stream")
INSTALL_SECONDS = 120.0
START_POLICY = Path("/usr/sbin/policy-rc.d")  # asked before a package starts a service


def find_edge(tell: Callable[[str], None]) -> Nginx | None:
    """An nginx that can pass TLS through, installed if need be; `tell` hears which edge it is."""
    nginx = find_nginx()
    if (nginx is None or nginx.stream == "missing") and _may_install():
        tell(f"installing {' and '.join(PACKAGES)} with apt-get")
        _install()
        nginx = find_nginx()
    if nginx is None:
        tell("nginx is not installed: gRPC's own round-robin takes its place")
        return None
    if nginx.stream == "missing":
        tell(
            f"nginx {nginx.version} has no stream module (Debian: libnginx-mod-stream): "
            "gRPC's own round-robin takes its place"
        )
        return None
    tell(f"nginx {nginx.version} passes TLS through, by SNI")
    return nginx


def configure(folder: Path, nginx: Nginx, name: str, replicas: list[Address]) -> Address:
    """Write nginx's configuration into `folder`; where it will listen."""
    listen = Address("127.0.0.1", free_port())
    edge = Edge(listen, (Route(name, tuple(replicas)),), balance="round_robin")
    write_config(folder, edge, nginx)
    return listen


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["install", "-y", "--no-install-recommends", *PACKAGES]
    with _services_stay_off(), suppress(subprocess.TimeoutExpired):
        for words in (["update"], install):
            subprocess.run(
                ["apt-get", "-qq", *words],
                check=False,
                capture_output=True,
                timeout=INSTALL_SECONDS,
                env=environment,
            )


@contextmanager
def _services_stay_off() -> Iterator[None]:
    if START_POLICY.exists():
        yield
        return
    START_POLICY.write_text("#!/bin/sh\nexit 101\n")
    START_POLICY.chmod(0o755)
    try:
        yield
    finally:
        START_POLICY.unlink()
