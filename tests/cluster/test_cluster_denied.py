"""Servers that are given no key: changed code, and a platform that was struck off.

Each time the old server serves on, the new one is never ready, and `sealserve k8s diagnose` says
why in one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster_diagnosis import diagnosed
from cluster_images import changed_image
from cluster_load import errors, pods, report, steady, wait_for_pods
from cluster_site import NAME, Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

DENIED = 4
SERVER = f"deployment/{NAME}-server"
CHANGED = "sealserve/serving/process.py"
KEYS = ("exec", f"deploy/{NAME}-keyservice", "--container=keyservice", "--")
CONFIG = "--config=/etc/sealserve/keyservice.toml"


def wait_until_denied(site: Site, code: str) -> dict[str, Any]:
    """Until a denial whose code begins so is explained; the finding."""
    found: list[dict[str, Any]] = []

    def explained() -> bool:
        exit_code, findings = diagnosed(site)
        found[:] = [each for each in findings if each["code"].startswith(code)]
        return exit_code == DENIED and bool(found)

    site.cluster.wait("diagnose says that the key was denied", explained, log="kubelet")
    return found[0]


@contextmanager
def one_more_is_never_ready(site: Site) -> Iterator[None]:
    """Under load: whoever serves goes on, and nobody else is ready at the end."""
    lines: list[dict[str, Any]] = []
    before = pods(site)
    with steady(site, lines):
        yield
        (new,) = pods(site) - before
        status = site.get("pod", new)["status"]["containerStatuses"]
        assert not any(each["ready"] for each in status)
        assert before <= pods(site)
    report(lines)
    assert not errors(lines)


def test_an_image_with_changed_code_is_never_ready_and_it_is_said_why(
    applied: Site, archives: dict[str, Path], tmp_path: Path
) -> None:
    made = changed_image(
        archives["server"],
        tmp_path / "changed.tar",
        CHANGED,
        lambda code: code + b"\n",
        tag="other",
    )
    image = applied.cluster.push(made)
    with one_more_is_never_ready(applied):
        applied.kubectl("set", "image", SERVER, f"server={image}")
        finding = wait_until_denied(applied, "policy.")
    assert "mr_enclave" in finding["message"] or "measurement" in finding["message"]
    assert finding["hint"]
    applied.kubectl("rollout", "undo", SERVER)
    applied.wait("server", log="kubelet")
    assert diagnosed(applied)[0] == 0


def test_a_platform_that_was_struck_off_is_given_no_key_until_it_is_let_in_again(
    applied: Site,
) -> None:
    platform = _platform(applied)
    words = ("--platform", platform, "--reason", "a test", CONFIG)
    applied.kubectl(*KEYS, "sealserve", "revocation", "add", *words)
    try:
        with one_more_is_never_ready(applied):
            applied.kubectl("scale", SERVER, "--replicas=2")
            finding = wait_until_denied(applied, "policy.revoked")
        assert "platform" in finding["message"]
    finally:
        applied.kubectl(*KEYS, "sealserve", "revocation", "lift", *words)
    applied.wait("server", log="kubelet")
    applied.kubectl("scale", SERVER, "--replicas=1")
    wait_for_pods(applied, 1)


def _platform(site: Site) -> str:
    """The platform of all pods, by the evidence on record."""
    export = f"sealserve audit export --out /tmp/exported {CONFIG} >/dev/null; cat /tmp/exported"
    told = site.kubectl(*KEYS, "sh", "-c", export).stdout
    records = [json.loads(line) for line in told.splitlines()]
    claims = [each["claims"] for each in records if each["kind"] == "decision"]
    return str(claims[-1]["ppid"])
