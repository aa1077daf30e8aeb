"""A quoting enclave over its real socket, and tiny programs that run as enclaves on it."""

from __future__ import annotations

import json
import os
import select
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from sealserve.attester.deadline import Deadline
from sealserve.files import write_file
from sealserve.lab import protocol
from sealserve.lab.folder import LabFolder
from sealserve.lab.identity import create_signing_key
from sealserve.lab.measurement import EnclaveRequest, Interpreter
from sealserve.lab.quoting import quoting_service
from sealserve.lab.world import World

WAIT_SECONDS = 60.0

# A stand-in for the package `sealserve`, so small that it starts at once: it does what it is told
# on standard input. The hardware does not care what it runs; it measures it.
# What it imports is compiled anew at each start: `_socket`, the core of `socket`, is quicker.
TINY_ENCLAVE = '''
import os, sys

ASK = """
import _socket
def ask(path, report_data):
    s = _socket.socket(_socket.AF_UNIX)
    s.connect(path)
    s.sendall(b"SSQ1" + bytes.fromhex(report_data))
    answer = b"".join(iter(lambda: s.recv(65536), b""))
    s.close()
    return answer
def show(path, report_data):
    answer = ask(path, report_data)
    print(answer[5:].hex() if answer[0] == 0 else answer[5:].decode(), flush=True)
"""
exec(ASK)

def main():
    source = [word for word in sys.argv if word.startswith("--evidence_source=lab:")]
    path = source[0].partition(":")[2] if source else ""
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "quote":
            show(path, rest[0])
        elif word == "child-quote":
            program = f"{ASK}\\nshow({path!r}, {rest[0]!r})"
            os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program])
        elif word == "quotes":
            from concurrent.futures import ThreadPoolExecutor
            with ThreadPoolExecutor(40) as pool:
                answers = pool.map(lambda _: ask(path, rest[1]), range(int(rest[0])))
                print(sum(answer[0] == 0 for answer in answers), flush=True)
        elif word == "spawn":
            print(os.spawnvp(os.P_NOWAIT, "sleep", ["sleep", "600"]), flush=True)
        elif word == "descriptors":
            print(sorted(os.listdir("/proc/self/fd")), flush=True)
        elif word == "arguments":
            print(sys.argv, flush=True)
        elif word == "environment":
            print(sorted(os.environ.items()), flush=True)
        elif word == "ignore-sigterm":
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("ignored", flush=True)
        elif word == "exit":
            sys.exit(int(rest[0]))
'''


@dataclass
class RunningEnclave:
    """The launching side of an enclave, in this process."""

    pid: int
    mr_enclave: str  # nothing for a trust domain
    connection: socket.socket
    standard_input: int
    standard_output: int

    def tell(self, line: str) -> str:
        """Its one-line answer to a line."""
        os.write(self.standard_input, f"{line}\n".encode())
        answer = bytearray()
        while not answer.endswith(b"\n"):
            assert select.select([self.standard_output], [], [], WAIT_SECONDS)[0], "no answer"
            piece = os.read(self.standard_output, 65536)
            assert piece, "the enclave has ended"
            answer += piece
        return answer.decode().strip()

    def exit_status(self) -> int | None:
        """How it ended."""
        self.connection.settimeout(WAIT_SECONDS)
        return protocol.parse_exit_status(self.connection.recv(protocol.STATUS_BYTES))


@pytest.fixture(scope="session")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One for all worlds: making an RSA-3072 key takes seconds."""
    file = tmp_path_factory.mktemp("signer") / "key.pem"
    create_signing_key(file)
    return file.read_bytes()


def _new_folder(stack: ExitStack, signing_key: bytes) -> LabFolder:
    """A saved world, under a path short enough for a socket."""
    name = stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp"))
    folder = LabFolder(Path(name))
    World.create(now=datetime.now(UTC)).save(folder.path)
    write_file(folder.enclave_signing_key, signing_key)
    return folder


@pytest.fixture
def lab_folder(signing_key: bytes) -> Iterator[LabFolder]:
    """A world of one test's own."""
    with ExitStack() as stack:
        yield _new_folder(stack, signing_key)


@pytest.fixture(scope="module")
def service(signing_key: bytes) -> Iterator[LabFolder]:
    """The folder of a world whose quoting enclave runs, shared by the tests of a module."""
    with ExitStack() as stack:
        folder = _new_folder(stack, signing_key)
        stack.enter_context(quoting_service(folder))
        yield folder


@pytest.fixture(scope="session")
def interpreter() -> Interpreter:
    return Interpreter.own()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder to import the tiny enclave from."""
    package = tmp_path / "tiny" / "sealserve"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(TINY_ENCLAVE)
    return package.parent


@pytest.fixture
def describe_tiny(
    tiny: Path, tmp_path: Path, interpreter: Interpreter
) -> Callable[..., EnclaveRequest]:
    """A launch request for the tiny enclave."""

    def describe(*arguments: str, **attributes: object) -> EnclaveRequest:
        request = EnclaveRequest(
            interpreter=str(interpreter.executable),
            import_path=(str(tiny),),
            arguments=("tiny", *arguments),
            folder=str(tmp_path),
        )
        return request.model_copy(update=attributes)

    return describe


@pytest.fixture
def launch_at(
    describe_tiny: Callable[..., EnclaveRequest],
) -> Iterator[Callable[..., RunningEnclave]]:
    """Launches tiny enclaves at a lab folder, and lets go of them after the test."""
    with ExitStack() as stack:

        def launch_at(folder: LabFolder, *arguments: str, **attributes: object) -> RunningEnclave:
            source = f"--evidence_source=lab:{folder.socket}"
            request = describe_tiny(*arguments, source, **attributes)
            their_input, our_output = os.pipe()
            our_input, their_output = os.pipe()
            for descriptor in (our_input, our_output):
                stack.callback(os.close, descriptor)
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(folder.socket))
            streams = (their_input, their_output, 2)
            protocol.send_launch(connection, request.model_dump_json().encode(), streams)
            os.close(their_input)
            os.close(their_output)
            deadline = Deadline(WAIT_SECONDS, task="launching")
            granted, payload = protocol.receive_answer(connection, deadline)
            assert granted, payload
            facts = json.loads(payload)
            return RunningEnclave(
                facts["pid"], facts.get("mr_enclave", ""), connection, our_output, our_input
            )

        yield launch_at


@pytest.fixture
def launch(
    service: LabFolder, launch_at: Callable[..., RunningEnclave]
) -> Callable[..., RunningEnclave]:
    """Launches tiny enclaves at the shared service."""
    return partial(launch_at, service)
