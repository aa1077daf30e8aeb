"""What a machine lacks for one cloud: kernel, device names, and Intel's configuration. Only looks.

The rest of a machine's SGX is in `deploy.sgx`, and is looked at whatever the cloud.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sealserve.deploy.clouds import Cloud, common
from sealserve.deploy.clouds.endings import endings, is_near, sentence
from sealserve.deploy.clouds.model import REGION
from sealserve.deploy.clouds.qcnl_lint import Fault, lint_qcnl
from sealserve.deploy.clouds.qcnl_text import QCNL_LIMIT, read_qcnl
from sealserve.deploy.finding import Finding
from sealserve.errors import FormatError

QCNL = "etc/sgx_default_qcnl.conf"
QCNL_VARIABLE = "QCNL_CONF_PATH"  # Intel's reader looks there first
_HERE = Path("/")
_RELEASE_LIMIT = 1024  # bytes
_SYMLINK = Fault(
    True,
    "",
    "a symbolic link",
    "newer builds of Intel's reader refuse it, and fall back to localhost without a word",
    "a file; mount a ConfigMap's entry by subPath",
)


def cloud_findings(root: Path, name: str, cloud: Cloud, now: datetime) -> Iterator[Finding]:
    """For the machine whose files are under `root`; `now` has a time zone."""
    yield _kernel(root, cloud)
    yield _devices(root)
    yield from _qcnl(qcnl_path(root), name, cloud)
    near = [sentence(each, now) for each in endings(cloud) if is_near(each, now)]
    yield _finding(
        "dates", not near, "; ".join(near) or "nothing ends within a year", "plan the change"
    )


def qcnl_path(root: Path) -> Path:
    """Where Intel's reader looks for its configuration on that machine."""
    named = os.environ.get(QCNL_VARIABLE) if root == _HERE else None
    return Path(named) if named else root / QCNL


def lint_qcnl_file(path: Path) -> tuple[Fault, ...]:
    """All faults of the file at `path`, and of what `path` is; raises OSError."""
    link = (_SYMLINK,) if path.is_symlink() else ()
    return (*link, *lint_qcnl(_content(path)))


def _finding(name: str, good: bool, found: str, advice: str) -> Finding:
    return Finding("cloud", name, good, found, "" if good else advice)


def _kernel(root: Path, cloud: Cloud) -> Finding:
    release = _release(root)
    wanted = cloud.kernel
    found = f"Linux {release or 'unknown'}; {cloud.title}: {wanted.minimum} or newer, {wanted.os}"
    if wanted.unconfirmed:
        found += f" (unconfirmed: {wanted.unconfirmed})"
    good = bool(release) and _numbers(release) >= _numbers(wanted.minimum)
    return _finding("kernel for this cloud", good, found, f"{wanted.minimum} or newer")


def _release(root: Path) -> str:
    try:
        with (root / "proc/sys/kernel/osrelease").open("rb") as stream:
            return stream.read(_RELEASE_LIMIT).decode(errors="replace").strip()
    except OSError:
        return ""


def _numbers(release: str) -> tuple[int, ...]:
    """The version's numbers, up to the first word: 5.15.0-1037-azure is 5, 15, 0, 1037."""
    match = re.match(r"[0-9]{1,9}([.-][0-9]{1,9})*", release)
    return tuple(int(part) for part in re.split(r"[.-]", match[0])) if match else ()


def _devices(root: Path) -> Finding:
    found, good = [], True
    for device in common().devices:
        old = [path for path in device.older if (root / path.lstrip("/")).exists()]
        new = (root / device.path.lstrip("/")).exists()
        good &= new
        if new:
            found.append(device.path)
        elif old:
            found.append(f"{old[0]} (older name of {device.path})")
        else:
            found.append(f"no {device.path}")
    advice = "the kernel's own driver has these names; where the driver is older, a newer kernel"
    return _finding("device names", good, ", ".join(found), advice)


def _qcnl(path: Path, name: str, cloud: Cloud) -> Iterator[Finding]:
    render = f"sealserve cloud qcnl {name} renders it"
    try:
        data = _content(path)
        faults = lint_qcnl_file(path)
    except OSError as error:
        found = f"{path}: {error.strerror}"
        yield _finding("quote provider's configuration", False, found, render)
        return
    for fault in faults:
        found = f"{fault.found}: {fault.consequence}"
        yield _finding("quote provider's configuration", False, found, fault.cure)
    if not faults:
        yield _finding("quote provider's configuration", True, f"{path}: verifies TLS", "")
    try:
        values = read_qcnl(data).values
    except FormatError:
        return
    yield _service(values, cloud, render)


def _service(values: Any, cloud: Cloud, render: str) -> Finding:
    service = cloud.service
    ours = [url for url in (service.pccs_url, service.local_pck_url) if url is not None]
    hosts = [_host(values.get(key)) for key in ("pccs_url", "local_pck_url")]
    known = any(_matches(url, host) for url in ours for host in hosts)
    found = ", ".join(host for host in hosts if host) or "no service"
    good = known or (service.own and bool(hosts[0]))
    expected = urlsplit(service.pccs_url).netloc
    return _finding("service of this cloud", good, found, f"expected {expected}: {render}")


def _host(url: object) -> str:
    try:
        return urlsplit(url).hostname or "" if isinstance(url, str) else ""
    except ValueError:
        return ""


def _matches(url: str, host: str) -> bool:
    pattern = re.escape(urlsplit(url).hostname or "").replace(re.escape(REGION), "[a-z0-9-]+")
    return re.fullmatch(pattern, host) is not None


def _content(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(QCNL_LIMIT + 1)
