"""A key service, two servers, nginx and clients as containers, from sealed files to predictions."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from typing import Any

import pytest

from container_site import EDGE_PORT, LAB, MODEL, Site, edge

pytestmark = [pytest.mark.containers, pytest.mark.timeout(2400)]

ASKED = 60
LEAST_RIGHT = 0.9
BEFORE = 10  # requests that are answered before a server is killed
DENIED = 4  # exit code
REJECTED = 2


def asking(site: Site, count: int, *options: str) -> list[str]:
    """The command of a client's container that asks `count` times."""
    mount = ["--volume", f"{site.client}:/etc/sealserve:ro", "--workdir", "/etc/sealserve"]
    target = f"{site.address('edge')}:{EDGE_PORT}"
    name = "grpc.tf-serving.service.com"
    image = [*mount, "--entrypoint", "python3", site.images["client"]]
    return [*site.container("other"), *options, *image, "asking.py", target, name, str(count)]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def replicas(site: Site) -> list[str]:
    """Whom nginx has given each connection to, so far: the last of those it tried."""
    log = site.podman.run("exec", "edge", "cat", "/tmp/access.log").stdout
    return [found.split(", ")[-1] for found in re.findall(r"replica=(\S+(?:, \S+)*) status=", log)]


def decisions(site: Site) -> list[dict[str, Any]]:
    """The key service's decisions, the oldest first."""
    name = secrets.token_hex(8)
    site.keyservice("audit", "export", "--out", f"/tmp/{name}")
    exported = site.podman.run("exec", "keyservice", "cat", f"/tmp/{name}").stdout
    return [line for line in lines(exported) if line["kind"] == "decision"]


def test_predictions_over_tls_come_from_both_servers(site: Site) -> None:
    asked = lines(site.podman.run(*asking(site, ASKED)).stdout)
    assert [line["error"] for line in asked] == [None] * ASKED
    assert sum(line["right"] for line in asked) >= LEAST_RIGHT * ASKED
    spread = replicas(site)
    assert {site.address("server-1"), site.address("server-2")} == {
        each.partition(":")[0] for each in spread
    }


def test_the_command_of_a_client_prints_the_answer_in_the_form_of_the_guide(site: Site) -> None:
    told = site.ask(
        *("predict", "--target", f"{site.address('edge')}:{EDGE_PORT}", "--model", MODEL),
        *("--server-name", "grpc.tf-serving.service.com", "--ca", "ca.pem"),
        *("--random", "1,8,8,1"),
    )
    assert told.stdout.startswith("{'outputs': {'predict': {'dtype': 'DT_FLOAT', 'tensorShape':")


def test_each_server_was_released_the_key_for_evidence_of_its_own(site: Site) -> None:
    released = [each for each in decisions(site) if each["outcome"] == "released"]
    assert len({each["evidence_sha256"] for each in released}) == len(released) == 2
    site.keyservice("audit", "verify")


def test_a_client_verifies_evidence_of_a_server_s_machine_over_its_own_nonce(site: Site) -> None:
    nonce = secrets.token_hex(32)
    quoted = site.podman.run(
        *("exec", "server-2", "sealserve", "lab", "enclave", LAB, "--qe", "/tmp/another", "--"),
        *("lab", "selfquote", "--evidence_source=lab:/tmp/another/qe.sock"),
        f"--report-data={nonce}",
    )
    (site.client / "quote").write_bytes(bytes.fromhex(quoted.stdout.strip()))
    words = ["quote", "verify", "quote", "--collateral", "collateral", "--json"]
    told = json.loads(site.ask(*words, "--trust-root", "root_ca.pem").stdout)
    assert told["verdict"] == "accept"
    assert told["claims"]["report_data"].startswith(nonce) and told["claims"]["simulated"]
    assert site.ask(*words, check=False).returncode == REJECTED, "it is under Intel's root, too"


def test_a_server_that_the_policy_does_not_name_is_denied_the_key(site: Site) -> None:
    before = decisions(site)
    words = [each for each in site.serve("changed", "--enable_batching") if each != "--detach"]
    ended = site.podman.run(*words, check=False)
    assert ended.returncode == DENIED, ended.stderr
    assert "Entering the event loop" not in ended.stdout + ended.stderr
    (denied,) = decisions(site)[len(before) :]
    assert denied["outcome"] == "denied"
    assert any("mr_enclave FAILS" in line for line in denied["explanation"])


@pytest.mark.parametrize("name", ["keyservice", "pccs", "server-1", "server-2", "edge"])
def test_a_container_runs_as_nobody_with_nothing_it_does_not_need(site: Site, name: str) -> None:
    (found,) = json.loads(site.podman.run("inspect", name).stdout)
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert not found["HostConfig"]["Privileged"]
    assert found["HostConfig"]["Memory"] > 0 and found["HostConfig"]["PidsLimit"] > 0
    assert not found["EffectiveCaps"]
    status = site.podman.run("exec", name, "cat", "/proc/1/status").stdout
    said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert said["Uid"].split() == ["10001"] * 4 and said["Gid"].split() == ["10001"] * 4
    assert int(said["CapEff"], 16) == int(said["CapBnd"], 16) == 0
    assert said["NoNewPrivs"] == "1"
    for folder in ("/", "/usr/bin", "/etc", "/srv/sealserve", "/etc/sealserve"):
        tried = site.podman.run("exec", name, "touch", f"{folder}/written", check=False)
        assert tried.returncode != 0, folder


def test_killing_a_server_fails_no_request_for_longer_than_the_edge_takes(site: Site) -> None:
    command = ["podman", *asking(site, 10_000, "--name", "asking")]
    with subprocess.Popen(
        command, env=site.podman.environment, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        told = [json.loads(client.stdout.readline()) for _ in range(BEFORE)]
        site.podman.run("kill", "--signal", "KILL", "server-1")
        killed = time.time()
        told_by = edge(site)
        over = killed + told_by.connect_timeout + told_by.failure_pause
        while told[-1]["began"] < over or len(told) < ASKED:
            told.append(json.loads(client.stdout.readline()))
        site.podman.run("rm", "--force", "--time", "0", "asking")
    failed = [line for line in told if line["error"] is not None]
    assert all(line["ended"] <= over for line in failed), (over, failed)
    later = [line for line in told if line["began"] > over]
    assert later and not any(line["error"] for line in later), later
    left = {each.partition(":")[0] for each in replicas(site)[-BEFORE:]}
    assert left == {site.address("server-2")}
