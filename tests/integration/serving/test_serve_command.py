"""`sealserve serve` as a process: sealed files, ready line, signals, exit codes, no secrets."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.client import Client
from sealserve.sealing import seal

KEY = bytes(range(100, 116))
READY = re.compile(
    r"sealserve serve: ready, gRPC (\S+), REST (\S+), model scale version 2\. "
    r"Entering the event loop \.\.\."
)
PATIENCE = 40


@dataclass
class Site:
    """A working folder with a sealed model, a sealed ssl.cfg and the key."""

    folder: Path
    world: Any

    def seal(self, path: str, plain: bytes, *, embed: str | None = None) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w+b") as sink:
            seal(io.BytesIO(plain), sink, KEY, path=embed or path)
        return target

    def command(self, *more: str) -> list[str]:
        return [
            *(sys.executable, "-m", "sealserve", "serve", "--host=127.0.0.1", "--port=0"),
            *("--rest_api_port=0", "--model_name=scale", "--model_base_path=models/scale"),
            *("--ssl_config_file=ssl.cfg", "--dangerously-use-key-file", "wrap.key", *more),
        ]


@pytest.fixture
def site(tmp_path: Path, publish: Any, world: Any) -> Site:
    site = Site(tmp_path, world)
    plain = publish(tmp_path / "plain", 2) / "saved_model.pb"
    site.seal("models/scale/2/saved_model.pb", plain.read_bytes())
    site.seal("ssl.cfg", world.ssl_config(mutual=True))
    key = tmp_path / "wrap.key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    return site


Spawn = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def spawn(site: Site) -> Iterator[Spawn]:
    """Start the command; returns it and its ready line. What it logs is read in the background."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*more: str) -> tuple[subprocess.Popen[str], str]:
        with (site.folder / "log").open("w") as log:
            process = subprocess.Popen(
                site.command(*more),
                cwd=site.folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        processes.append(process)
        assert process.stdout is not None
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        return process, line

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def refused(site: Site, *more: str) -> tuple[int, str]:
    done = subprocess.run(
        site.command(*more), cwd=site.folder, capture_output=True, text=True, timeout=PATIENCE
    )
    return done.returncode, done.stderr


def test_a_sealed_model_is_served_until_the_process_is_told_to_end(
    site: Site, spawn: Spawn
) -> None:
    process, line = spawn()
    ready = READY.fullmatch(line.strip())
    assert ready is not None, line
    client = Client(
        ready[1],
        ca=site.world.authority.certificate_pem,
        certificate=site.world.client.certificate_pem,
        private_key=site.world.client.key_pem,
    )
    with client:
        assert client.predict("scale", {"x": np.ones((1, 2), "f4")})["sum"].tolist() == [4]
    shown = [
        (site.folder / "log").read_bytes(),
        Path(f"/proc/{process.pid}/cmdline").read_bytes(),
        Path(f"/proc/{process.pid}/environ").read_bytes(),
    ]
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    shown.append((site.folder / "log").read_bytes())
    secrets = (KEY, KEY.hex().encode(), site.world.server.key_pem.splitlines()[1])
    assert not [secret for secret in secrets for text in shown if secret in text]
    assert b'"event": "DANGEROUS", "reason": "the wrap key comes from wrap.key' in shown[0]


def test_no_plaintext_is_left_on_the_disk_or_in_an_open_file(site: Site, spawn: Spawn) -> None:
    process, _ = spawn()
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), "no core of it either"
    links = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
    assert not [link for link in links if "memfd:model" in link or "memfd:tls" in link]
    for path in site.folder.rglob("*"):
        if path.is_file() and "plain" not in path.parts and path.name != "wrap.key":
            content = path.read_bytes()
            assert b"Placeholder" not in content
            assert b"PRIVATE KEY" not in content


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)


def swap_key(site: Site) -> None:
    (site.folder / "wrap.key").write_bytes(bytes(16))


FAILURES: dict[str, tuple[Callable[[Site], object], list[str], int, str]] = {
    "model-with-a-flipped-byte": (
        lambda site: flip(site.folder / "models/scale/2/saved_model.pb"),
        [],
        5,
        "models/scale/2/saved_model.pb: ",
    ),
    "ssl-configuration-with-a-flipped-byte": (
        lambda site: flip(site.folder / "ssl.cfg"),
        [],
        5,
        "ssl.cfg: ",
    ),
    "another-key": (swap_key, [], 5, "[integrity.key-or-header]"),
    "model-sealed-for-another-place": (
        lambda site: site.seal("models/scale/2/saved_model.pb", b"x", embed="models/b/2/x.pb"),
        [],
        5,
        "[integrity.path]",
    ),
    "plain-model-in-its-place": (
        lambda site: (site.folder / "models/scale/2/saved_model.pb").write_bytes(b"plain"),
        [],
        5,
        "[integrity.not-protected]",
    ),
    "plain-ssl-configuration-in-its-place": (
        lambda site: (site.folder / "ssl.cfg").write_bytes(site.world.ssl_config(mutual=False)),
        [],
        5,
        "[integrity.not-protected]",
    ),
    "ssl-configuration-for-every-client": (
        lambda site: site.seal("ssl.cfg", site.world.ssl_config(mutual=False)),
        ["--tls_mode=mutual"],
        1,
        "ssl.cfg has no client_verify: every client would be let in",
    ),
    "sealed-but-no-model": (
        lambda site: site.seal("models/scale/2/saved_model.pb", b"\xff\xff"),
        [],
        2,
        "[saved-model]",
    ),
    "no-version": (
        lambda site: (site.folder / "models/scale/2").rename(site.folder / "models/scale/two"),
        [],
        1,
        "no version to serve under models/scale",
    ),
    "unknown-flag": (lambda site: None, ["--modle_name=x"], 1, "did you mean --model_name?"),
    "nobody-to-attest-to": (
        lambda site: None,
        [
            *("--dangerously-use-key-file=", "--attest", "--evidence_source=lab:none.sock"),
            *("--key_service=127.0.0.1:1", "--key_service_ca=ssl.cfg"),
        ],
        3,
        "no quoting service answers",
    ),
}


@pytest.mark.parametrize(("change", "more", "code", "text"), FAILURES.values(), ids=FAILURES.keys())
def test_a_start_that_must_fail_fails_with_its_own_code(
    change: Callable[[Site], object], more: list[str], code: int, text: str, site: Site
) -> None:
    change(site)
    status, log = refused(site, *more)
    assert status == code, log
    assert text in log
    assert "Traceback" not in log


def test_the_version_is_printed_and_nothing_started() -> None:
    command = [sys.executable, "-m", "sealserve", "serve", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0
    assert done.stdout.startswith("sealserve 0.")
