"""What `sealserve k8s diagnose` says of a service on the cluster of the tests."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from cluster_site import Site

SECONDS = 120

Finding = dict[str, Any]


def diagnosed(site: Site) -> tuple[int, list[Finding]]:
    """The exit code, and all findings."""
    command = site.live("diagnose", "--json")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)["findings"]


def wait_until_found(site: Site, code: str, exit_code: int) -> Finding:
    """Until this is the one error that is found; the finding."""
    last: list[Finding] = []

    def found() -> bool:
        ended, findings = diagnosed(site)
        last[:] = [each for each in findings if each["severity"] == "error"]
        return ended == exit_code and [each["code"] for each in last] == [code]

    site.cluster.wait(f"diagnose finds {code}", found, log="kubelet")
    return last[0]


def wait_until_whole(site: Site) -> None:
    """Until no error is found any more."""
    site.cluster.wait("diagnose finds no error", lambda: diagnosed(site)[0] == 0, log="kubelet")
