"""Who gets a quote: the process that the hardware launched, of what it measured; nobody else."""

import ast
import ctypes.util
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealserve.attester.deadline import Deadline
from sealserve.attester.source import QuotingServiceSource
from sealserve.errors import DeniedError, UsageError
from sealserve.evidence.quote import parse_quote
from sealserve.lab import launcher, protocol, quoting
from sealserve.lab.folder import LabFolder
from sealserve.lab.identity import read_mr_signer
from sealserve.lab.measurement import ENVIRONMENT, EnclaveRequest, Interpreter, measure
from sealserve.lab.quoting import quoting_service
from sealserve.lab.trees import Digests

DATA = b"what the enclave binds".ljust(64, b".")
WAIT_SECONDS = 60.0

Launch = Callable[..., Any]
Describe = Callable[..., EnclaveRequest]


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} runs on"
        time.sleep(0.02)


def test_an_enclave_gets_a_quote_of_what_was_measured(
    launch: Launch, service: LabFolder, describe_tiny: Describe, interpreter: Interpreter
) -> None:
    enclave = launch("--model_name=digits", isv_svn=5, isv_prod_id=4)
    body = parse_quote(bytes.fromhex(enclave.tell(f"quote {DATA.hex()}"))).body
    expected = measure(describe_tiny("--model_name=digits"), interpreter, Digests())
    assert body.mr_enclave == expected.mr_enclave == bytes.fromhex(enclave.mr_enclave)
    assert body.mr_signer == read_mr_signer(service.enclave_signing_key)
    assert (body.isv_svn, body.isv_prod_id, body.debug) == (5, 4, False)
    assert body.report_data == DATA


def test_a_debug_enclave_cannot_hide_that_it_is_one(launch: Launch) -> None:
    debugged = launch(debug=True)
    body = parse_quote(bytes.fromhex(debugged.tell(f"quote {DATA.hex()}"))).body
    assert body.debug
    assert body.mr_enclave.hex() == launch().mr_enclave


def test_a_changed_program_has_another_measurement(launch: Launch, tiny: Path) -> None:
    before = launch().mr_enclave
    with (tiny / "sealserve" / "cli.py").open("a") as stream:
        stream.write("\n")
    assert launch().mr_enclave != before


def test_a_process_that_was_not_launched_is_refused(service: LabFolder) -> None:
    with pytest.raises(DeniedError, match=r"lab\.not-an-enclave"):
        QuotingServiceSource(service.socket).quote(DATA)


def test_the_same_command_started_by_somebody_else_is_refused(
    launch: Launch, service: LabFolder
) -> None:
    enclave = launch()
    words = Path(f"/proc/{enclave.pid}/cmdline").read_bytes().split(b"\0")[:-1]
    imposter = subprocess.run(
        words, input=f"quote {DATA.hex()}\n".encode(), capture_output=True, check=True
    )
    assert imposter.stdout == b"lab.not-an-enclave\n"


# Writes another's command line over its own, in memory, and then asks for a quote.
LIAR = """
import ctypes, sys
from pathlib import Path
from sealserve.attester.source import QuotingServiceSource
from sealserve.errors import DeniedError
stolen = Path(f"/proc/{sys.argv[1]}/cmdline").read_bytes()
fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, proc(5)
assert end - start > len(stolen)
socket_path = Path(sys.argv[2])
ctypes.memset(start, 0, end - start)
ctypes.memmove(start, stolen, len(stolen))
assert Path("/proc/self/cmdline").read_bytes().rstrip(b"\\0") == stolen.rstrip(b"\\0")
try:
    QuotingServiceSource(socket_path).quote(bytes(64))
except DeniedError as error:
    print(error.message)
"""


@pytest.mark.skipif(not ctypes.util.find_library("c"), reason="needs ctypes to write over argv")
def test_a_process_that_overwrites_its_own_command_line_is_refused(
    launch: Launch, service: LabFolder
) -> None:
    enclave = launch()
    room = "." * 8192
    liar = subprocess.run(
        [sys.executable, "-c", LIAR, str(enclave.pid), str(service.socket), room],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "lab.not-an-enclave" in liar.stdout


def test_a_child_of_an_enclave_is_refused_and_the_enclave_is_not(launch: Launch) -> None:
    enclave = launch()
    assert enclave.tell(f"child-quote {DATA.hex()}") == "lab.not-an-enclave"
    assert parse_quote(bytes.fromhex(enclave.tell(f"quote {DATA.hex()}"))).body.report_data == DATA


def _change_code(tiny: Path, folder: Path) -> None:
    with (tiny / "sealserve" / "cli.py").open("a") as stream:
        stream.write("\n")


def _shadow_a_module(tiny: Path, folder: Path) -> None:
    (tiny / "sitecustomize.py").write_text("")


def _change_the_ca(tiny: Path, folder: Path) -> None:
    (folder / "ca.pem").write_text("another CA")


@pytest.mark.parametrize("change", [_change_code, _shadow_a_module, _change_the_ca])
def test_nothing_measured_may_change_after_launch(
    launch: Launch, tiny: Path, tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "ca.pem").write_text("the CA")
    enclave = launch("--key_service_ca=ca.pem")
    parse_quote(bytes.fromhex(enclave.tell(f"quote {DATA.hex()}")))
    change(tiny, tmp_path)
    assert enclave.tell(f"quote {DATA.hex()}") == "lab.changed-since-launch"


def test_putting_a_change_back_does_not_undo_it(launch: Launch, tiny: Path) -> None:
    enclave = launch()
    enclave.tell("arguments")  # it has loaded what is now changed
    file = tiny / "sealserve" / "cli.py"
    text = file.read_text()
    file.write_text(text + "\n")
    file.write_text(text)
    assert enclave.tell(f"quote {DATA.hex()}") == "lab.changed-since-launch"


def test_an_enclave_has_nothing_of_the_launching_sides_surroundings(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("LD_PRELOAD_OF_MINE", "evil.so")
    enclave = launch("--port", "8500", "--model_name", "digits")
    assert dict(ast.literal_eval(enclave.tell("environment"))) == dict(ENVIRONMENT)
    words = ast.literal_eval(enclave.tell("arguments"))
    assert words[:3] == ["sealserve", "tiny", "--model_name=digits"]
    assert "--port=8500" in words[3:]
    descriptors = ast.literal_eval(enclave.tell("descriptors"))
    assert len(descriptors) == 4  # its three streams, and the folder that it lists


def test_hundreds_of_quotes_are_given_at_once(launch: Launch) -> None:
    assert launch().tell(f"quotes 300 {DATA.hex()}") == "300"


def launch_request(payload: bytes) -> bytes:
    return b"SSL1" + struct.pack(">I", len(payload)) + payload


MALFORMED = {
    "another-magic": b"HTTP/1.1",
    "launch-without-streams": launch_request(b"{}"),
    "quote-cut-short": b"SSQ1" + bytes(63),
    "nothing": b"",
    "half-a-magic": b"SS",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_refused_and_the_next_is_served(
    service: LabFolder, launch: Launch, case: str
) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(service.socket))
        connection.sendall(MALFORMED[case])
        connection.shutdown(socket.SHUT_WR)
        granted, code = protocol.receive_answer(connection, Deadline(WAIT_SECONDS, task="asking"))
    assert not granted
    assert code in {b"lab.request", b"network"}
    parse_quote(bytes.fromhex(launch().tell(f"quote {DATA.hex()}")))


BAD_LAUNCHES = {
    "no-json": (b"{", b"lab.request"),
    "nothing-in-it": (b"{}", b"lab.request"),
    "too-long": (b"", b"network"),
}


@pytest.mark.parametrize("case", BAD_LAUNCHES)
def test_a_launch_request_that_is_none_is_refused(service: LabFolder, case: str) -> None:
    payload, expected = BAD_LAUNCHES[case]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(service.socket))
        if case == "too-long":
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("3i", 0, 1, 2))
            connection.sendmsg([b"SSL1"], [rights])
            connection.sendall(struct.pack(">I", protocol.MAX_REQUEST_BYTES + 1))
        else:
            protocol.send_launch(connection, payload, (0, 1, 2))
        assert protocol.receive_answer(connection, Deadline(WAIT_SECONDS, task="asking")) == (
            False,
            expected,
        )


REFUSED_LAUNCHES: dict[str, tuple[dict[str, Any], str]] = {
    "another-python": ({"interpreter": "/bin/true"}, "lab.python"),
    "no-such-folder": ({"folder": "/nonexistent"}, "lab.start"),
    "no-such-ca": ({"arguments": ("tiny", "--key_service_ca=no.pem")}, "lab.unmeasurable"),
    "port-without-value": ({"arguments": ("tiny", "--port")}, "usage"),
}


@pytest.mark.parametrize("case", REFUSED_LAUNCHES)
def test_what_cannot_be_an_enclave_is_not_launched(
    service: LabFolder, describe_tiny: Describe, case: str
) -> None:
    attributes, code = REFUSED_LAUNCHES[case]
    request = describe_tiny(**attributes).model_dump_json().encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(service.socket))
        protocol.send_launch(connection, request, (0, 1, 2))
        deadline = Deadline(WAIT_SECONDS, task="launching")
        assert protocol.receive_answer(connection, deadline) == (False, code.encode())


def test_a_caller_that_stalls_is_dropped_while_others_are_served(
    service: LabFolder, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quoting, "REQUEST_SECONDS", 0.5)
    enclave = launch()
    with socket.socket(socket.AF_UNIX) as stalling:
        stalling.settimeout(WAIT_SECONDS)
        stalling.connect(str(service.socket))
        stalling.sendall(b"SSQ1")
        parse_quote(bytes.fromhex(enclave.tell(f"quote {DATA.hex()}")))
        answer = b"".join(iter(lambda: stalling.recv(100), b""))
    assert answer.endswith(b"deadline")


def test_an_enclaves_exit_code_comes_back(launch: Launch) -> None:
    enclave = launch()
    os.write(enclave.standard_input, b"exit 7\n")
    assert enclave.exit_status() == 7
    wait_until_gone(enclave.pid)


def test_signals_are_passed_on_and_only_those_that_ask(launch: Launch) -> None:
    enclave = launch()
    enclave.connection.send(bytes((signal.SIGKILL, signal.SIGSTOP, 0, 255)))
    assert "sealserve" in enclave.tell("arguments")
    enclave.connection.send(bytes((signal.SIGTERM,)))
    assert enclave.exit_status() == -signal.SIGTERM


def test_an_enclave_ends_when_its_launching_side_goes(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "GRACE_SECONDS", 0.2)
    enclave = launch()
    assert enclave.tell("ignore-sigterm") == "ignored"
    enclave.connection.close()
    wait_until_gone(enclave.pid)


def test_what_an_enclave_has_started_ends_with_it(launch: Launch) -> None:
    enclave = launch()
    child = int(enclave.tell("spawn"))
    os.write(enclave.standard_input, b"exit 0\n")
    assert enclave.exit_status() == 0
    wait_until_gone(child)


def test_when_the_service_stops_its_enclaves_end(lab_folder: LabFolder, launch_at: Launch) -> None:
    with quoting_service(lab_folder):
        enclave = launch_at(lab_folder)
        child = int(enclave.tell("spawn"))
    assert enclave.exit_status() == -signal.SIGTERM
    wait_until_gone(child)
    assert not lab_folder.socket.exists()


def test_the_socket_is_the_users_alone(service: LabFolder) -> None:
    assert stat.S_IMODE(service.socket.stat().st_mode) == 0o600


def test_a_world_has_one_quoting_enclave(service: LabFolder) -> None:
    with pytest.raises(UsageError, match="already running"), quoting_service(service):
        pass
    with pytest.raises(DeniedError):
        QuotingServiceSource(service.socket).quote(DATA)


def test_a_socket_left_behind_is_replaced(lab_folder: LabFolder) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(lab_folder.socket))
    with (
        quoting_service(lab_folder),
        pytest.raises(DeniedError, match=r"lab\.not-an-enclave"),
    ):
        QuotingServiceSource(lab_folder.socket).quote(DATA)


def test_a_folder_with_too_long_a_name_for_a_socket_is_refused_with_the_reason(
    lab_folder: LabFolder,
) -> None:
    deep = lab_folder.path / ("x" * 100)
    deep.symlink_to(lab_folder.path)
    with pytest.raises(UsageError) as refused, quoting_service(LabFolder(deep)):
        pass
    assert "shorter" in str(refused.value.hint)
