"""compose.yaml: known bytes, read back by a YAML reader, every container hardened."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.deploy.compose.composefile import (
    compose_document,
    compose_text,
    render_nginx,
    service_digests,
)
from sealserve.deploy.compose.hardware import Sgx, find_sgx
from sealserve.deploy.compose.plan import (
    Composition,
    KeyServiceFolder,
    check,
    needed_files,
    serve_arguments,
)
from sealserve.deploy.description.model import Description
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.gramine.servers import program
from sealserve.deploy.yaml_text import to_yaml
from sealserve.errors import ConfigError, UsageError
from sealserve.hosts import Address
from sealserve.lab.arguments import normalize
from sealserve.serving import settings as serving_settings
from sealserve.serving.flags import parse_flags

GOLDEN = Path(__file__).parents[2] / "golden" / "compose"
FILE = Path("/home/operator/digits/sealserve.toml")
STATE = Path("/home/operator/digits/.sealserve.up")
LISTEN = Address("127.0.0.1", 8500)
KEYS = KeyServiceFolder(
    Path("/home/operator/owner"), "keyservice.toml", Address("0.0.0.0", 4433), None
)
TWO_MODELS = """
[[models]]
name = "two"
base_path = "models/two"
key = "digits"
size = "3G"

[server]"""


def described(**answers: Any) -> Description:
    return read(describe(Answers(**answers)))


def read(text: str) -> Description:
    checked = check_description(text)
    assert checked.description is not None, checked.findings
    return checked.description


COMPOSITIONS = {
    "lab": Composition(
        described(kind="sealserve"), FILE, LISTEN, lab=Path("/home/operator/lab"), key_service=KEYS
    ),
    "sgx": Composition(
        read(describe(Answers(kind="sealserve")).replace("\n[server]", TWO_MODELS)),
        FILE,
        Address("192.0.2.7", 443),
        enclave=Path("/home/operator/enclave"),
    ),
    "sgx-stock-one": Composition(
        described(replicas=1), FILE, LISTEN, registry="registry.example.com/team/"
    ),
}
SGX = Sgx(groups=(118,))


def rendered(composition: Composition) -> str:
    sgx = None if composition.simulated else SGX
    return compose_text(composition, compose_document(composition, sgx, state=STATE))


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_composition_renders_to_the_known_bytes(name: str) -> None:
    """With REWRITE_GOLDEN=1 the files are written anew, for `git diff` to show."""
    composition = COMPOSITIONS[name]
    found = {f"{name}.compose.yaml": rendered(composition)}
    if composition.has_proxy:
        found[f"{name}.nginx.conf"] = render_nginx(composition)
    if os.environ.get("REWRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        for file, text in found.items():
            (GOLDEN / file).write_text(text)
    for file, text in found.items():
        assert text == (GOLDEN / file).read_text()


letters = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True)
descriptions = st.builds(
    lambda answers, batching: (answers, batching),
    st.builds(
        Answers,
        cluster=st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True),
        replicas=st.integers(1, 30),
        model=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        base_path=letters.map("models/{}".format),
        key=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        size=st.integers(1, 4000).map("{}M".format),
        kind=st.sampled_from(["tensorflow-serving", "sealserve"]),
        tls=st.sampled_from(["oneway", "mutual"]),
        gramine=st.sampled_from(["1.5", "1.7", "1.9"]),
    ),
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(made=descriptions, lab=st.booleans(), keys=st.booleans(), registry=st.booleans())
def test_every_description_renders_hardened_and_is_read_back(
    made: tuple[Answers, bool], lab: bool, keys: bool, registry: bool
) -> None:
    answers, batching = made
    lab = lab and answers.kind == "sealserve"
    text = describe(answers).replace("batching = false", f"batching = {str(batching).lower()}")
    composition = Composition(
        read(text),
        FILE,
        LISTEN,
        lab=Path("/home/operator/lab") if lab else None,
        key_service=KEYS if keys else None,
        registry="registry.example.com/" if registry else "",
    )
    document = compose_document(composition, None if lab else SGX, state=STATE)
    written = compose_text(composition, document)
    assert yaml.safe_load(written) == document
    assert written == rendered(composition)
    assert f"sha256 {composition.description.digest}" in written
    assert ("SIMULATED" in written) is lab
    services = document["services"]
    assert len(services) == answers.replicas + keys + (answers.replicas > 1)
    for each in services.values():
        assert_hardened(each)
        assert each.get("pull_policy") == (None if registry else "never")
        assert ("io.sealserve.simulated" in each["labels"]) is lab
    published = [port for each in services.values() for port in each["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert published.count(f"127.0.0.1:8500:{composition.description.server.port}") == 1
    writable = [
        mount
        for each in services.values()
        for mount in each["volumes"]
        if not mount.endswith(":ro")
    ]
    assert writable == (["/home/operator/owner:/var/lib/sealserve"] if keys else [])


def assert_hardened(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service and "privileged" not in service
    assert "environment" not in service and "env_file" not in service
    assert "network_mode" not in service and "pid" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9][0-9]*m", service["mem_limit"])
    assert service["pids_limit"] > 0
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"] and service["healthcheck"]["timeout"]
    (temporary,) = service["tmpfs"]
    assert temporary.startswith("/tmp:") and "size=" in temporary and "noexec" in temporary


def test_a_service_is_told_apart_by_what_changes_it_and_by_nothing_else() -> None:
    two = COMPOSITIONS["lab"]
    three = replace(two, description=described(kind="sealserve", replicas=3))
    before = service_digests(compose_document(two, None, state=STATE))
    after = service_digests(compose_document(three, None, state=STATE))
    same = {name for name, digest in before.items() if after[name] == digest}
    assert same == {f"{two.project}-{name}" for name in ("keyservice", "server-1", "server-2")}
    assert after.keys() - before.keys() == {f"{two.project}-server-3"}


def test_two_descriptions_of_one_name_are_two_projects() -> None:
    one = COMPOSITIONS["lab"]
    other = replace(one, file=Path("/home/operator/other/sealserve.toml"))
    assert one.project != other.project
    assert one.project == replace(one, listen=Address("127.0.0.1", 9000)).project


@pytest.mark.parametrize("batching", ["true", "false"])
def test_the_lab_measures_what_the_manifest_pins(batching: str) -> None:
    text = describe(Answers(kind="sealserve")).replace("batching = false", f"batching = {batching}")
    description = read(text)
    listen = Address("127.0.0.1", 12345)
    words = serve_arguments(description, listen=listen, evidence_source="lab:x/qe.sock")
    flags, notes = parse_flags(words[1:])
    serving_settings.check(flags)
    assert not notes
    assert (flags.host, flags.port, flags.evidence_source) == ("127.0.0.1", 12345, "lab:x/qe.sock")
    pinned = program(description).arguments
    pinned = pinned[pinned.index("serve") :]
    assert normalize(words).measured == normalize(pinned).measured


def test_texts_of_any_kind_are_read_back_as_they_were() -> None:
    document = {
        "a": ["", "no", "#", ": x", '"', "\\", "ä\n\t", "- ", 0, True, None, [], {}],
        "on": {"Ä": {"nested": [{"x": 1, "y": [1, 2]}, [1]]}},
        "1": "1",
    }
    assert yaml.safe_load(to_yaml(document)) == document


def enclave_folder(folder: Path, description: Description) -> Path:
    for name in needed_files(description):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder / "sealserve.toml"


OURS: dict[str, Any] = {"kind": "sealserve"}
REFUSED = {
    "nothing is there": (OURS, "podman", {"file": Path("/nowhere/x.toml")}, "models/digits"),
    "the stock server in the lab": ({}, "podman", {"lab": Path("/lab")}, "Gramine alone"),
    "two enclaves with one port": (OURS, "processes", {}, "cannot listen on one machine"),
    "another port of the key service": (
        OURS,
        "podman",
        {"lab": Path("/lab"), "key_service": replace(KEYS, listen=Address("0.0.0.0", 4434))},
        "port 4434",
    ),
    "a key service on a container's loopback": (
        OURS,
        "docker",
        {"lab": Path("/lab"), "key_service": replace(KEYS, listen=Address("127.0.0.1", 4433))},
        "loopback is each container's own",
    ),
    "a key service that is called localhost": (
        {**OURS, "key_service": "localhost:4433"},
        "podman",
        {"lab": Path("/lab"), "key_service": KEYS},
        "loopback is each container's own",
    ),
    "a key service that is called as a server": (
        {**OURS, "key_service": "server-1:4433"},
        "podman",
        {"lab": Path("/lab"), "key_service": KEYS},
        "another container",
    ),
    "no signed manifest": ({**OURS, "replicas": 1}, "processes", {}, "sealserve.manifest.sgx"),
    "another port than the measured one": (
        {**OURS, "replicas": 1},
        "processes",
        {"listen": Address("127.0.0.1", 9000)},
        "8500",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_run_so_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    answers, way, choices, message = REFUSED[name]
    description = described(**answers)
    composition = Composition(description, enclave_folder(tmp_path, description), LISTEN)
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        check(replace(composition, **choices), way)  # type: ignore[arg-type]
    assert refused.value.hint


@pytest.mark.parametrize(
    "path",
    [
        "/home/operator/a:b",
        "/home/operator/$HOME",
        "/home/operator/a b",
        '/home/operator/"',
        "/home/operator/ä",
    ],
)
def test_a_path_that_would_mean_something_else_in_the_file_is_refused(path: str) -> None:
    composition = replace(COMPOSITIONS["lab"], lab=Path(path))
    with pytest.raises(UsageError, match="cannot be named"):
        compose_document(composition, None, state=STATE)


def test_without_sgx_and_without_a_lab_what_was_looked_for_and_the_way_out_are_said(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError) as refused:
        find_sgx(tmp_path)
    for word in ("enclave device", "provisioning device", "AESM"):
        assert word in refused.value.message
    assert "--lab" in str(refused.value.hint)
    assert "doctor" in str(refused.value.hint)


def test_with_sgx_the_enclave_device_is_passed_in_with_the_group_that_may_use_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("sgx_enclave", "sgx_provision"):
        (tmp_path / "dev" / name).touch()
        (tmp_path / "dev" / name).chmod(0o660)
    folder = tmp_path / "var" / "run" / "aesmd"
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as aesm:
        aesm.bind(str(folder / "aesm.socket"))
        aesm.listen()
        found = find_sgx(tmp_path)
    assert found.devices == ("/dev/sgx_enclave",)
    assert found.groups == ((tmp_path / "dev" / "sgx_enclave").stat().st_gid,)
