"""`sealserve k8s diagnose` on a real cluster: one thing is broken, explained, and mended.

Each time the old server serves on, and what is found is one sentence with a cure.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cluster_diagnosis import diagnosed, wait_until_found, wait_until_whole
from cluster_load import pods, wait_for_pods
from cluster_site import Site
from sealserve.deploy.images.roles import USER_ID

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

CONFIGURATION, DENIED, INTEGRITY = 1, 4, 5
CONTAINER = "/spec/template/spec/containers/0"
MEASUREMENT = re.compile(r"\b[0-9a-f]{64}\b")


@contextmanager
def changed(site: Site, path: str = "", value: Any = None) -> Iterator[None]:
    """A Deployment of servers with another value, or rolled out anew; as before afterwards."""
    before = pods(site)
    name = f"deployment/{site.name}-server"
    if path:
        patch = json.dumps([{"op": "add", "path": path, "value": value}])
        site.kubectl("patch", name, "--type=json", f"--patch={patch}")
    else:
        site.kubectl("rollout", "restart", name)
    try:
        yield
        assert before <= pods(site)  # who served serves on
    finally:
        site.kubectl("rollout", "undo", name)
        site.wait("server", log="kubelet")
        wait_for_pods(site, len(before))
    wait_until_whole(site)


def arguments(site: Site) -> list[str]:
    deployment = site.get("deployment", f"{site.name}-server")
    return list(deployment["spec"]["template"]["spec"]["containers"][0]["args"])


def test_a_service_that_serves_has_no_error_and_all_its_pods_are_ready(applied: Site) -> None:
    assert diagnosed(applied)[0] == 0
    command = applied.live("status", *applied.credentials, "--json")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    status = json.loads(ended.stdout)
    assert status["ready"] and status["simulated"] and status["as_described"]
    (server,) = (each for each in status["pods"] if each["component"] == "server")
    assert server["attested"]["state"] == "released"
    assert MEASUREMENT.fullmatch(server["attested"]["measurement"])
    assert server["attested"]["tcb_status"] == "UpToDate"
    assert server["models"] == [{"model": "digits", "version": 1, "state": "AVAILABLE"}]


def test_a_tag_that_the_registry_does_not_have_is_told_by_the_images_name(applied: Site) -> None:
    image = f"{applied.images['server'].rpartition(':')[0]}:none"
    with changed(applied, f"{CONTAINER}/image", image):
        finding = wait_until_found(applied, "image.not-found", CONFIGURATION)
        assert image in finding["message"]


def test_a_secret_that_is_missing_is_told_with_the_command_that_makes_it(applied: Site) -> None:
    name = f"{applied.name}-lab"
    applied.kubectl("delete", "secret", name)
    try:
        with changed(applied):
            finding = wait_until_found(applied, "given.secret", CONFIGURATION)
            assert name in finding["message"]
            made, command = finding["hint"].split("; ")
            assert made == "tar -cf lab.tar lab"
            words = command.replace("lab.tar", str(applied.folder / "lab.tar")).split()
            applied.kubectl(*words[1:])
            wait_until_whole(applied)
    finally:
        archive = applied.folder / "lab.tar"
        applied.kubectl(
            *("create", "secret", "generic", name, f"--from-file={archive}"), check=False
        )


def test_a_changed_argument_is_denied_and_told_by_what_was_measured(applied: Site) -> None:
    place = arguments(applied).index("serve") + 1
    with changed(applied, f"{CONTAINER}/args/{place}", "--rest_api_timeout_in_ms=29999"):
        finding = wait_until_found(applied, "policy.measurement", DENIED)
        found, expected = MEASUREMENT.findall(finding["message"])
        assert found != expected
        assert expected in (applied.folder / "policy.toml").read_text()
        assert found in finding["hint"] and "sealserve policy apply" in finding["hint"]


def test_more_cpu_than_the_node_has_is_told_by_how_much_it_has(applied: Site) -> None:
    with changed(applied, f"{CONTAINER}/resources/requests/cpu", "64"):
        finding = wait_until_found(applied, "node.cpu", CONFIGURATION)
        assert re.search(r"asks for 64 of cpu, and a node offers [0-9.]+", finding["message"])


def test_models_under_another_key_are_told_by_the_file_that_does_not_open(applied: Site) -> None:
    models = applied.models / "models"
    kept = models.rename(applied.folder / "models-under-the-key")
    try:
        _seal_with_another_key(applied)
        with changed(applied):
            finding = wait_until_found(applied, "integrity.key-or-header", INTEGRITY)
            assert "models/digits/1/saved_model.pb" in finding["message"]
            shutil.rmtree(models)
            kept.rename(models)
    finally:
        if kept.exists():
            shutil.rmtree(models, ignore_errors=True)
            kept.rename(models)


def _seal_with_another_key(site: Site) -> None:
    other = site.owner / "other.key"
    other.unlink(missing_ok=True)
    site.do("key", "new", "other.key", folder=site.owner)
    words = ("seal", "-w", "../owner/other.key", "-i", "../owner/models", "-o", "models")
    site.do(*words, folder=site.models)
    subprocess.run(["chown", "-R", f"{USER_ID}:{USER_ID}", site.models / "models"], check=True)
