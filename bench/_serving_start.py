"""From the start of the server's process to its first answer: ResNet-50, plain, sealed, attested.

The same model, configuration and client each time, over mutual TLS. *Plain* reads the model and
ssl.cfg as they are; *key file* reads them sealed, under a key from a file; *attested* gets that key
from the key service, with evidence of the simulated platform. Each start is a process of its own,
and reads from the disk, for the server drops what it has read from the page cache.

The clock begins with the server's process. In the lab a quoting enclave measures every package
before it starts one, in place of the hardware's loader: that comes before, and is in no number. But
what it starts reads no bytecode, which nobody has measured: Python compiles every module again. So
an attested start is held to a plain one that reads none either. The server tells its own stages, in
the event `started` of its log; the answer comes after it.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench._process import READY_SECONDS, command, ended_with_the_block
from bench._serving_load import Predict
from bench._serving_site import (
    RESNET,
    UNSEALED,
    Site,
    free_ports,
    run_command,
    started_stages,
)
from bench.measure import Result, interleave

ROUNDS = 5
PLAIN, KEY_FILE, ATTESTED = "plain file", "sealed, key file", "sealed, attested"
SOURCES = "plain file, no bytecode"
NO_BYTECODE = ("-B", "-X", "pycache_prefix=/dev/null")  # as the lab starts enclaves
GOAL = 1.3
FIRST_ANSWER = "first answer"
SECRET = "resnet"  # its name


@dataclass(frozen=True)
class _Folders:
    """Where a start takes place: files have the same names in each, for sealed ones know theirs."""

    plain: Path
    sealed: Path


def measure(site: Site) -> Iterator[Result]:
    """Whole starts, their ratios, and the stages of each."""
    folders = _prepare(site)
    stages: dict[str, list[Mapping[str, float]]] = {}
    with ExitStack() as stack:
        attested = stack.enter_context(_key_service(site, folders.sealed))
        key = f"--dangerously_use_key_file={site.folder / 'wrap.key'}"
        starts: dict[str, tuple[Path, Sequence[str], Sequence[str]]] = {
            PLAIN: (folders.plain, _words(UNSEALED), ()),
            KEY_FILE: (folders.sealed, _words(key), ()),
            SOURCES: (folders.plain, _words(UNSEALED), NO_BYTECODE),
            ATTESTED: (folders.sealed, attested, ()),
        }

        def start(name: str) -> None:
            stages.setdefault(name, []).append(_start(site, *starts[name]))

        interleave({name: lambda name=name: start(name) for name in starts}, rounds=ROUNDS)
    rounds = {name: found[1:] for name, found in stages.items()}
    yield from lines(rounds)


def lines(rounds: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[Result]:
    whole = {
        name: [found["seconds"] + found[FIRST_ANSWER] for found in each]
        for name, each in rounds.items()
    }
    for name, peer, goal in (
        (KEY_FILE, PLAIN, GOAL),
        (ATTESTED, SOURCES, GOAL),
        (ATTESTED, PLAIN, None),
        (ATTESTED, KEY_FILE, None),
    ):
        ratio = statistics.median(
            ours / theirs for ours, theirs in zip(whole[name], whole[peer], strict=True)
        )
        yield Result(
            f"start to first answer, ResNet-50, {name}: times {peer}",
            ratio,
            "times",
            f"{statistics.median(whole[name]):.3g} s beside {statistics.median(whole[peer]):.3g} s",
            None,
            None if goal is None else f"value <= {goal:g}",
            None if goal is None else ratio <= goal,
        )
    for name, each in rounds.items():
        names = dict.fromkeys(stage for found in each for stage in found if stage != "seconds")
        for stage in names:
            seconds = statistics.median(found.get(stage, 0.0) for found in each)
            against = f"all: {statistics.median(whole[name]):.3g} s"
            yield Result(f"start, {name}: {stage}", seconds, "s", against, None, None, None)


def _start(
    site: Site, folder: Path, words: Sequence[str], options: Sequence[str]
) -> Mapping[str, float]:
    """Start, ask once, stop; the stages that the server told, and from ready to the answer."""
    with command(*words, folder=folder, options=options) as server:
        ready = time.monotonic()
        connection = Predict(server.port, site.tls).connect()
        connection.send(site.body(RESNET).read_bytes())
        answered = time.monotonic() - ready
    return {**started_stages(folder / "log"), FIRST_ANSWER: answered}


def _words(*flags: str) -> list[str]:
    return [
        *("serve", "--host=127.0.0.1", "--port=0", f"--model_name={RESNET}"),
        *(f"--model_base_path=models/{RESNET}", "--ssl_config_file=ssl.cfg", *flags),
    ]


def _prepare(site: Site) -> _Folders:
    """The same files twice, plain and sealed."""
    plain, sealed = site.folder / "start-plain", site.folder / "start-sealed"
    for folder in (plain, sealed):
        (folder / "models").mkdir(parents=True)
    (plain / "ssl.cfg").symlink_to(site.tls / "ssl.cfg")
    (plain / "models" / RESNET).symlink_to(site.model(RESNET))
    key = site.folder / "wrap.key"
    run_command("key", "new", str(key), folder=site.folder)
    for source, target in (
        (site.tls / "ssl.cfg", "ssl.cfg"),
        (site.model(RESNET), f"models/{RESNET}"),
    ):
        words = ("seal", "-w", str(key), "-i", str(source), "-o", target)
        run_command(*words, folder=sealed)
    return _Folders(plain, sealed)


@contextmanager
def _key_service(site: Site, folder: Path) -> Iterator[list[str]]:
    """A lab and a key service that run; the words that start an attested server in `folder`."""
    owner = site.folder / "owner"
    owner.mkdir()
    run_command("lab", "init", "lab", folder=folder)
    run_command("tls", "oneway", "localhost", "--out", "tls", folder=owner)
    (folder / "ca.pem").write_bytes((owner / "tls/server/cert.pem").read_bytes())
    (port,) = free_ports(1)
    program = _words(
        *("--attest", "--evidence_source=lab:lab/qe.sock", "--key_service_ca=ca.pem"),
        *(f"--key_service=localhost:{port}", f"--secret_name={SECRET}"),
    )
    shown = run_command("lab", "measure", "lab", "--json", "--", *program, folder=folder)
    root = ssl.PEM_cert_to_DER_cert((folder / "lab/root_ca.pem").read_text())
    (owner / "policy.toml").write_text(
        f'version = 2\ntrust_root = "{hashlib.sha256(root).hexdigest()}"\n'
        f'[[identities]]\nname = "server"\nmr_signer = "{json.loads(shown)["mr_signer"]}"\n'
        "isv_prod_id = 0\nminimum_isv_svn = 0\n"
        f'[[rules]]\nname = "model"\nidentities = ["server"]\nsecret = "{SECRET}"\n'
    )
    (owner / "keyservice.toml").write_text(
        f'listen = "127.0.0.1:{port}"\ndatabase = "keyservice.db"\nstate = "state"\n'
        '[wrapping]\nkind = "file"\nkey = "kek"\n'
        '[tls]\ncertificate = "tls/server/cert.pem"\nprivate_key = "tls/server/key.pem"\n'
        f'[attestation]\ntrust_root = "{folder}/lab/root_ca.pem"\n'
        f'collateral_dir = "{folder}/lab/collateral"\n'
    )
    chosen = ("--config", "keyservice.toml")
    run_command("keyservice", "init", *chosen, "--policy", "policy.toml", folder=owner)
    key = str(site.folder / "wrap.key")
    run_command("secret", "add", SECRET, "--from", key, *chosen, folder=owner)
    with _quoting_enclave(folder), command("keyservice", "run", *chosen, folder=owner):
        yield ["lab", "enclave", "lab", "--", *program]


@contextmanager
def _quoting_enclave(folder: Path) -> Iterator[None]:
    """The lab's, which also starts the servers."""
    words = [sys.executable, "-m", "sealserve", "lab", "qe", "lab"]
    with (folder / "qe.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    with ended_with_the_block(process):
        _wait_for(folder / "lab" / "qe.sock", process, folder / "qe.log")
        yield


def _wait_for(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"no quoting enclave: {log.read_text()[-2000:]}")
        time.sleep(0.05)
