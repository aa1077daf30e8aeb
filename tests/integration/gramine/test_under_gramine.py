"""With Gramine itself: a build verified by its programs, and the server in its LibOS, without SGX.

`make test-gramine` makes the environment that the server's packages come from.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.client import Client
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.gramine.testing import SUFFIX
from sealserve.errors import SourceError
from sealserve.models.digits import held_out

ROOT = Path(__file__).parents[3]
PROGRAMS = ("gramine-direct", "gramine-manifest", "gramine-sgx-sign")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]
PACKAGES = sorted(ROOT.glob("build/gramine/lib/python3*/site-packages"))
PYTHON = ROOT / "build" / "gramine" / "bin" / "python"
DOMAIN = "grpc.example.com"
TWO_MODELS = """
[[models]]
name = "two"
base_path = "models/two"
key = "digits"
size = "1M"

[server]"""
START_SECONDS = 240  # thousands of trusted files are looked up, each hashed as it is opened
IMAGES = 20
MODELS = ("digits", "two")

pytestmark = [
    pytest.mark.gramine,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=f"missing: {', '.join(MISSING)} (package gramine)"),
    pytest.mark.skipif(not PACKAGES, reason="no build/gramine: run make test-gramine"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def sealserve(*arguments: object, cwd: Path) -> str:
    ended = run(sys.executable, "-m", "sealserve", *arguments, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def manifest(name: str, folder: Path) -> None:
    """`gramine-manifest`, with the paths of this machine."""
    filled = {
        "arch_libdir": f"/lib/{sysconfig.get_config_var('MULTIARCH')}",
        "entrypoint": PYTHON.resolve(),
        "packages": PACKAGES[0],
    }
    given = [f"-D{key}={value}" for key, value in filled.items()]
    files = (f"{name}.manifest.template", f"{name}.manifest")
    ended = run("env", "-u", "PYTHONPATH", "gramine-manifest", *given, *files, cwd=folder)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A description of two models, with batching and mutual TLS, and the enclave's folder.

    Both manifests are rendered, and everything is sealed.
    """
    site = tmp_path_factory.mktemp("site")
    text = describe(Answers(kind="sealserve", domain=DOMAIN, tls="mutual"))
    for old, new in (
        ("port = 8500", f"port = {free_port()}"),
        ("batching = false", "batching = true"),
        ("\n[server]", TWO_MODELS),
    ):
        text = text.replace(old, new)
    (site / "d.toml").write_text(text)
    for name in MODELS:
        sealserve("model", "digits", "--out", f"plain/models/{name}", cwd=site)
    sealserve("tls", "twoway", DOMAIN, "client.example.com", "--out", "tls", cwd=site)
    folder = site / "enclave"
    rendered = ("gramine", "render", "d.toml", "--out")
    sealserve(*rendered, "enclave", cwd=site)
    sealserve(*rendered, "for-a-test", "--dangerously-for-testing", cwd=site)
    shutil.copytree(site / "for-a-test", folder, dirs_exist_ok=True)
    (folder / "config").mkdir()
    for source, target in (
        ("plain/models", "models"),
        ("tls/ssl.cfg", "ssl.cfg"),
        ("enclave/to-seal/config/models.config", "config/models.config"),
    ):
        sealserve("seal", "-w", "testing/wrap-key", "-i", site / source, "-o", target, cwd=folder)
    shutil.copy(site / "tls/ca_cert.pem", folder / "key-service-ca.pem")
    return site


@contextmanager
def under_gramine(site: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The server in Gramine's LibOS, ready; killed if it is still there in the end."""
    log = site / "server.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            ["gramine-direct", f"sealserve.{SUFFIX}"],
            cwd=site / "enclave",
            stdout=stream,
            stderr=stream,
        )
    try:
        end = time.monotonic() + START_SECONDS
        while "Entering the event loop" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield server, log
    finally:
        server.kill()
        server.wait()


def test_the_server_answers_under_gramine_and_drains_when_it_is_told_to_end(site: Path) -> None:
    manifest(f"sealserve.{SUFFIX}", site / "enclave")
    images, labels = held_out()
    with under_gramine(site) as (server, log):
        port = next(
            line.partition("gRPC 0.0.0.0:")[2].partition(",")[0]
            for line in log.read_text().splitlines()
            if "gRPC 0.0.0.0:" in line
        )
        with Client(
            f"127.0.0.1:{port}",
            ca=site / "tls/ca_cert.pem",
            certificate=site / "tls/client/cert.pem",
            private_key=site / "tls/client/key.pem",
            server_name=DOMAIN,
            timeout=60,
        ) as client:
            for name in MODELS:
                scores = np.asarray(client.predict(name, {"input": images[:IMAGES]})["predict"])
                assert (scores.argmax(axis=1) == labels[:IMAGES]).mean() >= 0.9
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0, log.read_text()
    events = log.read_text()
    assert '"event": "DANGEROUS"' in events
    assert '"event": "version_unloaded"' in events


def test_the_manifest_that_is_meant_serves_nothing_where_there_are_no_quotes(site: Path) -> None:
    folder = site / "enclave"
    manifest("sealserve", folder)
    ended = run("gramine-direct", "sealserve", cwd=folder)
    told = ended.stdout + ended.stderr  # Gramine has one stream for both
    assert ended.returncode == SourceError.exit_code, told
    assert "[evidence-source]" in told
    assert "Entering the event loop" not in told


def verified(site: Path) -> tuple[int, dict[str, Any]]:
    files = ("--manifest", "enclave/sealserve.manifest.sgx", "--sig", "enclave/sealserve.sig")
    ended = run(
        *(sys.executable, "-m", "sealserve", "gramine", "verify-build", "d.toml", *files),
        *("--folder", "enclave", "--json"),
        cwd=site,
    )
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_a_build_by_gramine_s_programs_is_reproduced_and_each_change_of_it_is_named(
    site: Path,
) -> None:
    folder = site / "enclave"
    made = run("openssl", "genrsa", "-3", "-out", site / "key.pem", "3072", cwd=site)
    assert made.returncode == 0, made.stderr
    signed = ("--key", site / "key.pem", "--output", "sealserve.manifest.sgx")
    ended = run("gramine-sgx-sign", "--manifest", "sealserve.manifest", *signed, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    code, facts = verified(site)
    assert (code, facts["outcome"], facts["differences"]) == (0, "reproduced", [])
    assert facts["mr_enclave_here"] == facts["mr_enclave"]
    model = next((folder / "models").rglob("saved_model.pb"))
    model.write_bytes(model.read_bytes() + os.urandom(1))
    code, facts = verified(site)
    assert (code, facts["outcome"]) == (5, "differs")
    (difference,) = facts["differences"]
    assert difference["kind"] == "changed-file"
    assert difference["name"] == f"file:{model.relative_to(folder)}"
