"""What this machine has and lacks, for the lab and for hardware, and what to do about each.

It only looks: nothing is changed, installed or sent, but one request to a collateral service. The
lab needs Python packages alone; all else is reported.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from sealserve.deploy import collateral_service
from sealserve.deploy.clouds import load_cloud
from sealserve.deploy.clouds.machine import cloud_findings
from sealserve.deploy.description.model import Description
from sealserve.deploy.finding import Finding, command_output
from sealserve.deploy.nginx import find_nginx
from sealserve.deploy.sgx import Machine, sgx_findings, thorough_findings
from sealserve.deploy.sgx.host import cloud_of, host
from sealserve.deploy.sgx.quoting import clock
from sealserve.deploy.tdx import tdx_findings

_PACKAGE = "sealserve"
# Extras that running does not need.
_DEVELOPMENT = frozenset({"all", "bench", "containers", "dev", "fuzz", "interop", "train"})
# Extras that a flag or a setting asks for, and `all` leaves out.
_OPTIONS = frozenset({"otel", "pkcs11", "postgresql", "tensorflow"})
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^;]*(?:;.*\bextra == ['\"]([A-Za-z0-9._-]+)['\"])?")
_NO_CLOUD = "generic"  # what descriptions say of a machine that is of no known cloud
_EVIDENCE = frozenset({"hardware", "guest", "collateral"})
_BUILDERS = ("docker", "podman", "buildah")


@dataclass(frozen=True)
class Report:
    """All findings, in the order in which they are worth reading."""

    findings: tuple[Finding, ...]

    @property
    def lab_can_run(self) -> bool:
        """Whether everything in SealServe runs here with the simulated hardware."""
        return all(finding.good for finding in self.findings if finding.area == "lab")

    @property
    def hardware_is_ready(self) -> bool:
        """Whether enclaves can run and be attested here."""
        return not any(finding.blocks for finding in self.findings if finding.area == "hardware")

    @property
    def evidence_is_ready(self) -> bool:
        """Whether enclaves or this guest can give evidence, and what verifies it can be fetched."""
        return not any(finding.blocks for finding in self.findings if finding.area in _EVIDENCE)


def examine(
    root: Path = Path("/"),
    *,
    pccs: str | None = None,
    cloud: str | None = None,
    now: datetime | None = None,
) -> Report:
    """Look at the machine whose files are under `root`; `pccs` is the base URL of a service.

    `cloud` is a name of `deploy.clouds`: UsageError for another. `now`, the present by default, is
    for what ends there.
    """
    moment = now or datetime.now(UTC)
    return Report(
        (
            *_lab(),
            _nginx(),
            *sgx_findings(root),
            *tdx_findings(root),
            *(() if cloud is None else cloud_findings(root, cloud, load_cloud(cloud), moment)),
            collateral_service.ask(pccs or collateral_service.configured(root)).finding,
            _kubectl(),
            _builder(),
        )
    )


def examine_sgx(
    machine: Machine,
    *,
    description: Description | None = None,
    pccs: str | None = None,
    cloud: str | None = None,
    now: datetime | None = None,
) -> Report:
    """All that the owner of an SGX machine, or of a TDX guest, must know before running.

    `cloud` is by default that of the description, or the one that the machine says it is of; it is
    about SGX, and nothing is said of it for a guest.
    """
    moment = now or datetime.now(UTC)
    asked = collateral_service.ask(pccs or collateral_service.configured(machine.root))
    if guest := tuple(tdx_findings(machine.root)):
        return Report((host(machine), *guest, clock(machine, asked.skew), asked.finding))
    described = description.cloud if description else _NO_CLOUD
    name = cloud or (described if described != _NO_CLOUD else cloud_of(machine))
    return Report(
        (
            *thorough_findings(machine, description),
            clock(machine, asked.skew),
            *(() if name is None else cloud_findings(machine.root, name, load_cloud(name), moment)),
            asked.finding,
        )
    )


def _lab() -> Iterator[Finding]:
    yield Finding("lab", "Python", True, platform.python_version(), "")
    try:
        roles = _packages_by_role()
    except metadata.PackageNotFoundError:
        found = "not installed, so the packages that it needs are not known"
        yield Finding("lab", "SealServe", False, found, f"pip install '{_PACKAGE}[all]'")
        return
    for role, packages in sorted(roles.items(), key=lambda item: item[0] in _OPTIONS):
        versions = {name: _version_of(name) for name in packages}
        missing = [name for name, version in versions.items() if version is None]
        found = ", ".join(f"{name} {version or 'is missing'}" for name, version in versions.items())
        extra = f"[{role}]" if role else ""
        yield Finding(
            "options" if role in _OPTIONS else "lab",
            f"packages for {role}" if role else "packages of the core",
            not missing,
            found,
            f"pip install '{_PACKAGE}{extra}'" if missing else "",
        )


def _packages_by_role() -> dict[str, list[str]]:
    """The packages that each extra of the installed SealServe asks for; the core's are under ''."""
    roles: dict[str, list[str]] = {}
    for requirement in metadata.requires(_PACKAGE) or ():
        match = _REQUIREMENT.match(requirement)
        if match is None or match[1] == _PACKAGE or match[2] in _DEVELOPMENT:
            continue
        roles.setdefault(match[2] or "", []).append(match[1])
    return roles


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _nginx() -> Finding:
    nginx = find_nginx()
    if nginx is None:
        found, advice = "none", "apt-get install nginx-light libnginx-mod-stream"
    else:
        found = f"{nginx.version}, stream module {nginx.stream}"
        advice = "apt-get install libnginx-mod-stream"
    good = nginx is not None and nginx.stream != "missing"
    without = "; without it clients spread requests over the replicas themselves"
    return Finding("edge", "nginx", good, found, "" if good else advice + without)


def _kubectl() -> Finding:
    output = command_output("kubectl", "version", "--client")
    found = "none" if output is None else output.strip().partition("\n")[0]
    advice = "" if output is not None else "install kubectl, to deploy on Kubernetes"
    return Finding("deployment", "kubectl", output is not None, found, advice)


def _builder() -> Finding:
    outputs = (command_output(name, "--version") for name in _BUILDERS)
    found = [output.strip().partition("\n")[0] for output in outputs if output]
    advice = "" if found else f"install one of {', '.join(_BUILDERS)}, to build images"
    return Finding("deployment", "container tools", bool(found), "; ".join(found) or "none", advice)
