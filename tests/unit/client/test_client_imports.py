"""What `import sealserve.client` pulls in, and what it must not: a program waits for all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    *("tensorflow", "openvino", "PIL", "pydantic", "httpx", "h11", "click", "rich"),
    *("cryptography", "uvicorn", "starlette", "uvloop", "OpenSSL", "multiprocessing"),
    *("google.protobuf.json_format", "sealserve.serving", "sealserve.cli", "sealserve.client.load"),
)


def imported(program: str) -> set[str]:
    """The modules of HEAVY that a fresh Python has after `program`."""
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stderr == ""
    return set(ended.stdout.split()) & set(HEAVY)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("import sealserve.client", id="the library"),
        pytest.param("import sealserve.client.inputs", id="its inputs"),
        pytest.param(
            "from sealserve.client import Client\n"
            "Client('127.0.0.1:1', dangerously_plaintext=True).close()",
            id="a client without TLS",
        ),
    ],
)
def test_nothing_is_imported_that_is_not_needed(program: str) -> None:
    assert imported(program) == set()


def test_a_prediction_of_the_command_line_does_without_what_measures() -> None:
    needed = {"click", "rich", "sealserve.cli"}
    assert imported("import sealserve.cli.predict") == needed


def test_certificates_bring_their_parser_and_nothing_else() -> None:
    program = (
        "from sealserve.client import Client\n"
        "from sealserve.errors import ConfigError\n"
        "try: Client('localhost:1', ca=b'none')\n"
        "except ConfigError: pass"
    )
    assert imported(program) == {"cryptography"}
