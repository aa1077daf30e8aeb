"""What changes an enclave's measurement, and what does not."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

import sealserve
from sealserve.errors import UsageError
from sealserve.lab.measurement import EnclaveRequest, Interpreter, measure
from sealserve.lab.trees import Digests

ARGUMENTS = ("serve", "--model_name=digits", "--key_service_ca=ca.pem", "--port=8500")


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    """Our own, with so little of its standard library that measuring takes no time."""
    whole = Interpreter.own()
    return Interpreter(whole.executable, whole.runtime, (Path(json.__file__).parent,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a CA, and in `packages` a copy of SealServe."""
    (tmp_path / "ca.pem").write_text("the CA of the key service")
    package = Path(sealserve.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, tmp_path / "packages" / "sealserve", ignore=ignored)
    return tmp_path


@pytest.fixture
def request_here(folder: Path, interpreter: Interpreter) -> EnclaveRequest:
    return EnclaveRequest(
        interpreter=str(interpreter.executable),
        import_path=(str(folder / "packages"),),
        arguments=ARGUMENTS,
        folder=str(folder),
    )


def mr_enclave(request: EnclaveRequest, interpreter: Interpreter, /, **changes: object) -> bytes:
    return measure(request.model_copy(update=changes), interpreter, Digests()).mr_enclave


def test_mr_enclave_is_the_digest_of_a_canonical_manifest(
    request_here: EnclaveRequest, interpreter: Interpreter
) -> None:
    measurement = measure(request_here, interpreter, Digests())
    assert measurement.mr_enclave == hashlib.sha256(measurement.manifest).digest()
    manifest = json.loads(measurement.manifest)
    assert "SIMULATED" in manifest["format"]
    ca_digest = hashlib.sha256(b"the CA of the key service").hexdigest()
    assert manifest["arguments"] == [
        "serve",
        "--model_name=digits",
        f"--key_service_ca=sha256:{ca_digest}",
    ]
    executable = hashlib.sha256(interpreter.executable.read_bytes()).hexdigest()
    assert manifest["runtime"][0] == executable
    assert "sealserve/lab/measurement.py" in manifest["packages"][0]


def test_what_starts_is_what_was_measured(
    request_here: EnclaveRequest, interpreter: Interpreter, folder: Path
) -> None:
    command = measure(request_here, interpreter, Digests()).command
    assert command[0] == str(interpreter.executable)
    assert command[1:6] == ("-I", "-S", "-B", "-X", "pycache_prefix=/dev/null")
    assert command[-6:] == ("1", str(folder / "packages"), *ARGUMENTS)


def test_one_changed_byte_of_a_package_changes_it(
    request_here: EnclaveRequest, interpreter: Interpreter, folder: Path
) -> None:
    before = mr_enclave(request_here, interpreter)
    file = folder / "packages" / "sealserve" / "errors.py"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    assert mr_enclave(request_here, interpreter) != before


CHANGES: dict[str, dict[str, object]] = {
    "another-value": {"arguments": ("serve", "--model_name=other", *ARGUMENTS[2:])},
    "one-more-flag": {"arguments": (*ARGUMENTS, "--dangerously-use-key-file=key")},
    "another-order": {"arguments": ("serve", ARGUMENTS[2], ARGUMENTS[1], ARGUMENTS[3])},
    "another-command": {"arguments": ("keyservice", *ARGUMENTS[1:])},
}


@pytest.mark.parametrize("change", CHANGES)
def test_arguments_that_decide_what_it_does_change_it(
    request_here: EnclaveRequest, interpreter: Interpreter, change: str
) -> None:
    before = mr_enclave(request_here, interpreter)
    assert mr_enclave(request_here, interpreter, **CHANGES[change]) != before


SAME: dict[str, dict[str, object]] = {
    "another-port": {"arguments": (*ARGUMENTS[:3], "--port=9999", "--rest_api_port=0")},
    "no-port": {"arguments": ARGUMENTS[:3]},
    "other-spelling": {
        "arguments": ("serve", "--model_name", "digits", "--key_service_ca", "ca.pem")
    },
    "another-socket": {"arguments": (*ARGUMENTS, "--evidence_source=lab:/elsewhere/qe.sock")},
    "debug": {"debug": True},
    "another-version": {"isv_svn": 7, "isv_prod_id": 3},
}


@pytest.mark.parametrize("change", SAME)
def test_what_is_the_platforms_to_choose_or_an_attribute_does_not(
    request_here: EnclaveRequest, interpreter: Interpreter, change: str
) -> None:
    before = mr_enclave(request_here, interpreter)
    assert mr_enclave(request_here, interpreter, **SAME[change]) == before


def test_the_content_of_a_trusted_file_changes_it_and_its_place_does_not(
    request_here: EnclaveRequest, interpreter: Interpreter, folder: Path
) -> None:
    before = mr_enclave(request_here, interpreter)
    (folder / "ca.pem").rename(folder / "moved.pem")
    moved = (*ARGUMENTS[:2], "--key_service_ca=moved.pem")
    assert mr_enclave(request_here, interpreter, arguments=moved) == before
    (folder / "moved.pem").write_text("the CA of somebody else")
    assert mr_enclave(request_here, interpreter, arguments=moved) != before


def test_the_order_of_import_folders_changes_it(
    request_here: EnclaveRequest, interpreter: Interpreter, folder: Path
) -> None:
    (folder / "more").mkdir()
    paths = (str(folder / "packages"), str(folder / "more"))
    first = mr_enclave(request_here, interpreter, import_path=paths)
    assert mr_enclave(request_here, interpreter, import_path=paths[::-1]) != first


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "another-interpreter": ({"interpreter": "/bin/true"}, "lab.python"),
    "no-such-trusted-file": ({"arguments": ("serve", "--key_service_ca=no")}, "lab.unmeasurable"),
    "trusted-folder": ({"arguments": ("serve", "--key_service_ca=packages")}, "lab.unmeasurable"),
    "relative-import-folder": ({"import_path": ("packages",)}, "usage"),
    "relative-working-folder": ({"folder": "."}, "usage"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_measurement_is_refused(
    request_here: EnclaveRequest, interpreter: Interpreter, case: str
) -> None:
    changes, code = REFUSED[case]
    with pytest.raises(UsageError) as refused:
        mr_enclave(request_here, interpreter, **changes)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"arguments": []}, id="nothing-to-run"),
        pytest.param({"arguments": ["a\0b"]}, id="nul"),
        pytest.param({"arguments": ["x"] * 1025}, id="too-many"),
        pytest.param({"isv_svn": 65536}, id="version-of-17-bits"),
        pytest.param({"debug": 1}, id="debug-is-no-truth-value"),
        pytest.param({"mr_enclave": "00" * 32}, id="a-measurement-of-its-own"),
    ],
)
def test_a_launch_request_that_is_none_is_refused(
    request_here: EnclaveRequest, wrong: dict[str, object]
) -> None:
    whole = json.loads(request_here.model_dump_json())
    with pytest.raises(ValidationError):
        EnclaveRequest.model_validate_json(json.dumps({**whole, **wrong}))


def test_our_own_interpreter_knows_its_standard_library_and_nothing_of_packages() -> None:
    interpreter = Interpreter.own()
    assert Path(json.__file__).parent.parent in interpreter.stdlib
    assert not any(path.name == "site-packages" for path in interpreter.stdlib)
    assert interpreter.runtime[0] == interpreter.executable
