"""`sealserve k8s scale` and `upgrade` under a steady load: no request fails, whatever happens.

One service goes to another image and a new version of its model at once, back again, through an
upgrade that is interrupted, and to an image that never gets ready.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster_images import changed_image
from cluster_load import errors, pods, report, steady, wait_for_pods
from cluster_site import DOMAIN, MODEL, Site, edge_target
from sealserve.deploy.images.roles import USER_ID

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]

SECONDS = 600  # for a command that changes all servers
NEVER_READY = 45  # seconds
LEAST_RIGHT = 0.9
CHANGED = "sealserve/serving/server.py"
CHANGES = {
    "second": b"\n# another build\n",
    "broken": b"\nimport time\ntime.sleep(86400)\n",
}
SHOW = ("sealserve", "policy", "show", "--config=/etc/sealserve/keyservice.toml")
VERSIONS = """
import json, sys
from sealserve.client import Client
given = json.loads(sys.argv[1])
with Client(given.pop("target"), **given) as client:
    print(json.dumps([each.version for each in client.status("digits")]))
"""


@pytest.fixture(scope="module")
def tagged(applied: Site, archives: dict[str, Path], tmp_path_factory: Any) -> Mapping[str, str]:
    """Our images under two more tags, by which there are other servers; the description of each."""
    folder = tmp_path_factory.mktemp("tagged")
    plain = (applied.folder / "sealserve.toml").read_text()
    tag = applied.images["server"].rpartition(":")[2]
    found = {"first": plain}
    for name, code in CHANGES.items():
        change = partial(_with, code)
        made = changed_image(archives["server"], folder / f"{name}.tar", CHANGED, change, tag=name)
        applied.cluster.push(made)
        made.unlink()
        for role in ("keyservice", "proxy"):
            applied.cluster.push(archives[role], tag=name)
        found[name] = plain.replace(f'tag = "{tag}"', f'tag = "{name}"')
        assert found[name] != plain
    return found


def _with(code: bytes, held: bytes) -> bytes:
    return held + code


@pytest.fixture(autouse=True)
def described(applied: Site, tagged: Mapping[str, str]) -> Iterator[None]:
    """Leave the description as others know it."""
    yield
    (applied.folder / "sealserve.toml").write_text(tagged["first"])


def live(site: Site, what: str, *words: str) -> subprocess.CompletedProcess[str]:
    """One of our commands, to its end."""
    command = site.live(what, *words)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    sys.stderr.write(ended.stderr)
    return ended


def upgraded(site: Site, text: str, *words: str) -> dict[str, Any]:
    """What an upgrade to a description says, which is to succeed."""
    (site.folder / "sealserve.toml").write_text(text)
    ended = live(site, "upgrade", *site.credentials, "--json", *words)
    assert ended.returncode == 0, ended.stdout
    said: dict[str, Any] = json.loads(ended.stdout)
    tell_seconds(said)
    return said


def tell_seconds(said: dict[str, Any]) -> None:
    sys.stderr.write(f"{said['seconds']:6.1f} s  sealserve k8s upgrade\n")


def policy(site: Site) -> str:
    """The policy in force."""
    words = ("exec", f"deploy/{site.name}-keyservice", "--container=keyservice", "--")
    return site.kubectl(*words, *SHOW).stdout


def versions(site: Site) -> list[int]:
    """The versions of the model that are served."""
    names = {"ca": "ca.pem", "certificate": "cert.pem", "private_key": "key.pem"}
    given = {key: str(site.client / file) for key, file in names.items()}
    given |= {"target": edge_target(site), "server_name": DOMAIN}
    words = (sys.executable, "-c", VERSIONS, json.dumps(given))
    return list(json.loads(site.cluster.space.run(*words).stdout))


def add_version(site: Site, number: int) -> None:
    """The first version of the model once more, under another number, sealed for its place."""
    source = site.owner / "models" / MODEL
    shutil.copytree(source / "1", source / str(number))
    place = Path("models") / MODEL / str(number)
    folder = site.folder / "sealing"
    (folder / place).parent.mkdir(parents=True)
    words = ("seal", "-w", "../owner/wrap.key", "-i", f"../owner/{place}", "-o", str(place))
    site.do(*words, folder=folder)
    subprocess.run(["chown", "-R", f"{USER_ID}:{USER_ID}", folder / place], check=True)
    (folder / place).rename(site.models / place)
    shutil.rmtree(folder)


def none_failed(lines: list[dict[str, Any]]) -> None:
    report(lines)
    assert not errors(lines)
    assert sum(line["right"] for line in lines) >= LEAST_RIGHT * len(lines)


def test_scaling_by_our_command_waits_until_all_serve_or_are_gone(applied: Site) -> None:
    lines: list[dict[str, Any]] = []
    with steady(applied, lines):
        for replicas in (2, 1):
            before = pods(applied)
            ended = live(applied, "scale", str(replicas), "--json", "--wait", "300")
            assert ended.returncode == 0, ended.stdout
            said = json.loads(ended.stdout)
            found = pods(applied)
            assert (said["before"], said["serving"], len(found)) == (
                len(before),
                replicas,
                replicas,
            )
            for changed in found ^ before:
                assert f"pod {changed}  {'ready' if changed in found else 'gone'}" in ended.stderr
            scaler = applied.get("hpa", f"{applied.name}-server")["spec"]
            assert (scaler["minReplicas"], scaler["maxReplicas"]) == (replicas, 4)
    none_failed(lines)


def test_another_image_and_another_version_of_the_model_fail_no_request(
    applied: Site, tagged: Mapping[str, str]
) -> None:
    lines: list[dict[str, Any]] = []
    before, text = pods(applied), policy(applied)
    assert versions(applied) == [1]
    add_version(applied, 2)
    with steady(applied, lines):
        said = upgraded(applied, tagged["second"])
    assert said["changed"] and said["retired"]
    assert policy(applied) == text.replace(said["old_measurement"], said["new_measurement"])
    assert not pods(applied) & before
    assert versions(applied) == [2]
    none_failed(lines)


def test_the_way_back_fails_no_request(applied: Site, tagged: Mapping[str, str]) -> None:
    lines: list[dict[str, Any]] = []
    before, text = pods(applied), policy(applied)
    with steady(applied, lines):
        said = upgraded(applied, tagged["second"], "--back")
    assert policy(applied) == text.replace(said["old_measurement"], said["new_measurement"])
    assert not pods(applied) & before
    none_failed(lines)


def test_an_interrupted_upgrade_says_what_holds_and_another_run_goes_on(
    applied: Site, tagged: Mapping[str, str]
) -> None:
    lines: list[dict[str, Any]] = []
    text = policy(applied)
    (applied.folder / "sealserve.toml").write_text(tagged["second"])
    with steady(applied, lines):
        command = applied.live("upgrade", *applied.credentials)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            for line in running.stderr:
                if line.endswith("  made\n"):
                    break
            entered = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text()
            os.kill(int(entered), signal.SIGTERM)
            rest = running.stderr.read()
        assert running.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)
        assert "the policy takes" in rest and "goes on with it" in rest
        said = upgraded(applied, tagged["second"])
    assert said["new_measurement"] in rest and said["old_measurement"] in rest
    assert policy(applied) == text.replace(said["old_measurement"], said["new_measurement"])
    none_failed(lines)


def test_an_image_that_never_gets_ready_goes_back_by_itself(
    applied: Site, tagged: Mapping[str, str]
) -> None:
    lines: list[dict[str, Any]] = []
    before, text = pods(applied), policy(applied)
    (applied.folder / "sealserve.toml").write_text(tagged["broken"])
    with steady(applied, lines):
        words = (*applied.credentials, "--wait", str(NEVER_READY), "--json")
        ended = live(applied, "upgrade", *words)
    assert ended.returncode == 3
    said = json.loads(ended.stdout)["error"]
    assert "the former servers serve, and the policy is as before" in said["message"]
    assert policy(applied) == text
    assert pods(applied) == before
    none_failed(lines)


def test_what_is_applied_at_last_is_the_first_description_again(
    applied: Site, tagged: Mapping[str, str]
) -> None:
    said = upgraded(applied, tagged["first"])
    wait_for_pods(applied, 1)
    again = upgraded(applied, tagged["first"])
    assert again["changed"] is False
    assert again["new_measurement"] == said["new_measurement"]
