"""`sealserve up` with podman-compose: everything ready, asked over TLS, mended, and gone again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from composed_site import ComposedSite, admit, here, make_site
from podman_host import Podman
from sealserve import __version__
from sealserve.deploy.compose.running import in_force, state_of
from sealserve.deploy.images.roles import USER_ID
from sealserve.errors import ConfigError, DeniedError, NetworkError
from sealserve.ports import free_port

if TYPE_CHECKING:
    from conftest import Images

pytestmark = [
    pytest.mark.containers,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        shutil.which("podman-compose") is None,
        reason="podman-compose is missing (Debian, Ubuntu: podman-compose)",
    ),
]
KEYS = "keys.example.com:4433"
REGISTRY = "localhost/composed"
SERVICES = ["keyservice", "server-1", "server-2", "proxy"]
SECONDS = 600


class Composed:
    """The site, podman's own store, and where clients connect."""

    def __init__(self, site: ComposedSite, podman: Podman) -> None:
        self.site = site
        self.podman = podman
        self.target = f"127.0.0.1:{free_port()}"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.site.run(*words, env=self.podman.environment)

    def up(self) -> subprocess.CompletedProcess[str]:
        choices = ("--lab", "lab", "--key-service", "../owner", "--listen", self.target)
        return self.run("up", "--with", "podman", *choices, "--registry", REGISTRY)

    def ready(self) -> dict[str, bool]:
        told = json.loads(self.run("status", "--json").stdout)
        return {each["service"]: each["ready"] for each in told["services"]}

    def inspect(self, service: str) -> dict:
        found = in_force(state_of(self.site.description))
        assert found is not None
        name = f"{found.project}-{service}"
        return json.loads(self.podman.run("container", "inspect", name).stdout)[0]


@pytest.fixture(scope="module")
def composed(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    podman = images.podman
    for role in ("keyservice", "server", "proxy"):
        name = f"{REGISTRY}/sealserve-{role}:{__version__}"
        podman.run("tag", images.references[role], name)
    site = make_site(tmp_path_factory.mktemp("composed"), keys=KEYS, listen="0.0.0.0:4433")
    words = here(site.platform, "compose", "arguments").split()
    measuring = podman.run(
        *("run", "--rm", "--user", "0", "--volume", f"{site.platform}:/srv/sealserve:ro"),
        *("--volume", f"{site.platform / 'lab'}:/etc/sealserve/lab:ro"),
        *(images.references["server"], "lab", "measure", "/etc/sealserve/lab", "--json", "--"),
        *words,
    )
    admit(site, json.loads(measuring.stdout)["mr_enclave"])
    made = Composed(site, podman)
    try:
        yield made
    finally:
        made.run("down")


def test_folders_with_private_keys_must_be_the_user_s_that_reads_them(composed: Composed) -> None:
    if os.geteuid() != 0:
        pytest.skip("rootless podman lets the user of the images be this one")
    refused = composed.up()
    assert refused.returncode == ConfigError.exit_code
    assert f"chown -R {USER_ID}:{USER_ID}" in refused.stderr
    for folder in (composed.site.platform / "lab", composed.site.owner):
        subprocess.run(["chown", "-R", f"{USER_ID}:{USER_ID}", str(folder)], check=True)


def test_up_gets_everything_ready_and_a_client_is_answered_through_nginx(
    composed: Composed,
) -> None:
    told = composed.up()
    assert told.returncode == 0, told.stderr
    assert "SIMULATED" in told.stderr
    assert composed.ready() == dict.fromkeys(SERVICES, True)
    answer = composed.site.predict(composed.target)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_every_container_is_as_hardened_as_its_compose_file_says(
    composed: Composed, service: str
) -> None:
    found = composed.inspect(service)
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert not found["EffectiveCaps"]
    assert found["Config"]["User"] == f"{USER_ID}:{USER_ID}"
    assert "no-new-privileges" in found["HostConfig"]["SecurityOpt"]
    assert found["HostConfig"]["Memory"] > 0 and found["HostConfig"]["PidsLimit"] > 0
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    writable = {each["Destination"] for each in found["Mounts"] if each["RW"]}
    assert writable == ({"/var/lib/sealserve"} if service == "keyservice" else set())
    bound = [each for ports in found["NetworkSettings"]["Ports"].values() for each in ports]
    assert {each["HostIp"] for each in bound} == {"127.0.0.1"}
    secret = (composed.site.owner / "wrap.key").read_bytes()
    assert secret.hex() not in json.dumps(found)


def test_up_again_changes_nothing(composed: Composed) -> None:
    before = {name: composed.inspect(name)["State"]["StartedAt"] for name in SERVICES}
    assert composed.up().returncode == 0
    assert {name: composed.inspect(name)["State"]["StartedAt"] for name in SERVICES} == before


def test_requests_go_on_while_a_server_is_gone_and_up_mends_it(composed: Composed) -> None:
    name = composed.inspect("server-1")["Name"]
    composed.podman.run("rm", "--force", "--time", "30", name)
    answers = [composed.site.predict(composed.target).returncode for _ in range(3)]
    assert answers == [0, 0, 0]
    assert composed.run("status").returncode == NetworkError.exit_code
    kept = composed.inspect("server-2")["State"]["StartedAt"]
    told = composed.up()
    assert told.returncode == 0, told.stderr
    assert composed.ready() == dict.fromkeys(SERVICES, True)
    assert composed.inspect("server-2")["State"]["StartedAt"] == kept


def test_logs_are_those_of_the_containers(composed: Composed) -> None:
    told = composed.run("logs", "sealserve.toml")
    assert {line.partition(" | ")[0].rstrip() for line in told.stdout.splitlines()} == set(SERVICES)


def test_a_changed_server_is_denied_the_key_and_does_not_ask_for_ever(composed: Composed) -> None:
    composed.site.redescribe("batching = false", "batching = true")
    denied = composed.up()
    assert denied.returncode in (DeniedError.exit_code, ConfigError.exit_code), denied.stderr
    assert "the description has changed" in denied.stderr
    assert "release-denied" in denied.stderr
    assert not composed.ready()["server-1"]
    composed.site.redescribe("batching = true", "batching = false")


def test_down_leaves_no_container_no_network_and_no_file_of_its_own(composed: Composed) -> None:
    found = in_force(state_of(composed.site.description))
    assert found is not None
    down = composed.run("down")
    assert down.returncode == 0, down.stderr
    assert composed.podman.run("ps", "--all", "--quiet").stdout == ""
    networks = composed.podman.run("network", "ls", "--format", "{{.Name}}").stdout.split()
    assert found.project not in networks
    assert not composed.site.state.exists()
    assert (composed.site.owner / "keyservice.db").exists()
