"""Step 9: four things that must fail, each tried for real, each with its own reason.

A changed server and a debug enclave are denied by policy; a flipped byte is an integrity error of
the server; a client without a certificate is refused by TLS (with one-way TLS, where every client
may come, it is the client that refuses a server whose certificate it was not given).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import sealserve
from sealserve.demo.asking import IMAGE
from sealserve.demo.logged import audit
from sealserve.demo.running import Edge, client_words, on_hardware
from sealserve.demo.stage import MODEL, Stage
from sealserve.errors import DeniedError, IntegrityError, NetworkError

CHANGED = "serving/dataplane.py"
FLIPPED_OFFSET = 2 * 4096 + 1000  # in node 2, the first data node: after header and root MHT node


def refuse(stage: Stage, edge: Edge, key_service_port: int, *, mutual: bool) -> None:
    """All four, in turn."""
    stage.tell.step("Four things that must fail, and do")
    sgx = stage.tee == "SGX"
    start = partial(on_hardware, stage, "enclave", key_service_port)
    _denied(
        stage,
        "a server whose code was changed",
        start("--code", _changed_code(stage)),
        because="mr_enclave" if sgx else "rtmr3",
    )
    _denied(
        stage,
        "a debug enclave" if sgx else "a debug trust domain",
        start("--debug"),
        because="debug",
    )
    _flipped_byte(stage, start())
    _unknown_client(stage, edge, mutual=mutual)


def _changed_code(stage: Stage) -> str:
    """A folder with the same server, but for one line; its name from the platform's folder."""
    folder = stage.platform / "changed"
    source = Path(sealserve.__file__).parent
    shutil.copytree(source, folder / "sealserve", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "sealserve" / CHANGED).open("a") as file:
        file.write("\n# One line that the model owner has not seen.\n")
    stage.tell.say(f"one line added to a copy of sealserve/{CHANGED}")
    return folder.name


def _denied(stage: Stage, what: str, words: list[str], *, because: str) -> None:
    before = len(audit(stage))
    ended = stage.run(words, folder=stage.platform)
    stage.tell.say(_reason(ended.stderr))
    told = [line for record in audit(stage)[before:] for line in record.explanation]
    failed = [line for line in told if " FAILS: " in line]
    stage.tell.say("the audit log says: " + "; ".join(failed))
    stage.tell.check(
        ended.returncode == DeniedError.exit_code
        and [line.partition(" ")[0] for line in failed] == [because],
        f"{what} is denied the key (exit code {ended.returncode})",
    )


def _flipped_byte(stage: Stage, words: list[str]) -> None:
    file = stage.platform / "models" / MODEL / "1" / "saved_model.pb"
    with _flipped(file):
        stage.tell.say(f"byte {FLIPPED_OFFSET} of {stage.path(file)} flipped")
        ended = stage.run(words, folder=stage.platform)
    stage.tell.say(_reason(ended.stderr))
    stage.tell.check(
        ended.returncode == IntegrityError.exit_code,
        f"a model file with one flipped byte is not served (exit code {ended.returncode})",
    )


def _unknown_client(stage: Stage, edge: Edge, *, mutual: bool) -> None:
    words = client_words(edge.targets, mutual=False, npy=IMAGE)
    if mutual:
        what = "a client without a certificate is turned away"
        words[words.index("--ca") + 1] = "ca_cert.pem"
    else:
        what = "a client that was given another certificate turns away from the server"
        words[words.index("--ca") + 1] = "../platform/key-service-ca.pem"
    ended = stage.run(words, folder=stage.client)
    stage.tell.say(_reason(ended.stderr))
    stage.tell.check(
        ended.returncode == NetworkError.exit_code and not ended.stdout,
        f"{what} (exit code {ended.returncode})",
    )


@contextmanager
def _flipped(file: Path) -> Iterator[None]:
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[FLIPPED_OFFSET] ^= 1
    file.write_bytes(damaged)
    try:
        yield
    finally:
        file.write_bytes(whole)


def _reason(printed: str) -> str:
    """The lines that a command's error is made of."""
    lines = printed.splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith("error:")), 0)
    return "\n".join(lines[first:])
