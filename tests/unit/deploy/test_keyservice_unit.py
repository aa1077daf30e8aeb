"""systemd takes the unit, and it names what it should; the command writes the files once."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from operating import FILES
from sealserve.cli.keyservice_files import files
from sealserve.deploy.keyservice import (
    DASHBOARD,
    RULES,
    UNIT,
    is_hidden,
    operating_files,
    write_operating_files,
)
from sealserve.errors import UsageError
from sealserve.keyservice.config import load_config
from tools import needs_systemd

COMMAND = Path(sys.executable).parent / "sealserve"
CONFIG = Path("/etc/sealserve/keyservice.toml")
PAGE = (Path(__file__).parents[3] / "docs" / "watching.md").read_text()
CREDENTIALS = "/run/credentials/sealserve-keyservice.service/"


@needs_systemd
def test_systemd_takes_the_unit(tmp_path):
    write_operating_files(tmp_path, COMMAND, CONFIG)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", tmp_path / UNIT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert UNIT not in checked.stderr  # no warning about it either


@needs_systemd
def test_systemd_finds_little_that_the_service_could_still_do(tmp_path):
    write_operating_files(tmp_path, COMMAND, CONFIG)
    checked = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", tmp_path / UNIT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_openssl_needs_memory_that_is_written_and_executed():
    """Why the unit has no MemoryDenyWriteExecute; where this passes without it, it should have."""
    if ctypes.CDLL(None).prctl(66, 0, 0, 0, 0) < 0:  # PR_GET_MDWE, Linux 6.3
        pytest.skip("this kernel cannot deny memory that is written and executed (Linux 6.3)")
    program = (
        "import ctypes; from OpenSSL import SSL\n"
        "assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0\n"  # PR_SET_MDWE
        "SSL.Context(SSL.TLS_SERVER_METHOD).set_verify(SSL.VERIFY_PEER, lambda *_: True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert "MemoryError" in ended.stderr
    assert "MemoryDenyWriteExecute=yes is not possible" in FILES[UNIT]


def test_the_unit_names_the_command_and_the_configuration(tmp_path):
    write_operating_files(tmp_path, Path("/opt/sealserve/bin/sealserve"), Path("/etc/x/k.toml"))
    unit = (tmp_path / UNIT).read_text()
    assert "ExecStart=/opt/sealserve/bin/sealserve keyservice run --config /etc/x/k.toml\n" in unit
    assert "@" not in re.sub(r"@(system-service|privileged)", "", unit)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("relative/sealserve", id="relative"),
        pytest.param("/opt/seal serve/sealserve", id="a blank"),
        pytest.param("/opt/100%n/sealserve", id="a specifier"),
        pytest.param("/opt/$HOME/sealserve", id="a variable"),
        pytest.param("/opt/x\nExecStartPre=/bin/evil", id="a line of its own"),
        pytest.param('/opt/"x', id="a quote"),
    ],
)
def test_a_path_that_systemd_would_read_otherwise_is_refused(path):
    with pytest.raises(UsageError, match="cannot be named in a unit"):
        operating_files(Path(path), CONFIG)
    with pytest.raises(UsageError, match="cannot be named in a unit"):
        operating_files(COMMAND, Path(path))


def test_nothing_is_overwritten_and_then_nothing_is_written(tmp_path):
    (tmp_path / RULES).write_text("mine")
    with pytest.raises(UsageError, match="not overwritten"):
        write_operating_files(tmp_path, COMMAND, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == [RULES]
    assert (tmp_path / RULES).read_text() == "mine"


def test_the_command_writes_them_and_says_where(tmp_path):
    out = tmp_path / "new" / "watching"
    ended = CliRunner().invoke(files, ["--out", str(out), "--command", "/opt/s/bin/sealserve"])
    assert ended.exit_code == 0, ended.output
    assert {path.name for path in out.iterdir()} == {UNIT, RULES, DASHBOARD}
    assert all(f"wrote {out / name}" in ended.stdout for name in (UNIT, RULES, DASHBOARD))
    assert f"--config {CONFIG}\n" in (out / UNIT).read_text()


def test_a_command_in_a_home_is_said_to_be_hidden_from_the_service(tmp_path):
    assert is_hidden(Path("/home/alice/venv/bin/sealserve"))
    assert not is_hidden(Path("/homely/sealserve"))
    ended = CliRunner().invoke(files, ["--out", str(tmp_path), "--command", "/home/a/sealserve"])
    assert "ProtectHome" in ended.stderr


def test_the_pages_configuration_is_one_and_names_credentials_that_the_unit_loads(tmp_path):
    text = re.search(r"^```toml\n(listen = .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]
    path = tmp_path / "keyservice.toml"
    path.write_text(text)
    config = load_config(path)
    assert config.state.is_relative_to("/var/lib/sealserve-keyservice")
    loaded = dict(re.findall(r"^LoadCredential=(\S+):(\S+)$", FILES[UNIT], re.MULTILINE))
    named = set(re.findall(rf'"{CREDENTIALS}(.+)"', text))
    assert named
    assert named <= set(loaded)
    in_the_table = re.findall(r"^\| `(sealserve-keyservice\.\S+)` \| `\w", PAGE, re.MULTILINE)
    assert in_the_table == list(loaded.values())
    assert all(store == f"sealserve-keyservice.{name}" for name, store in loaded.items())


def test_the_page_says_where_each_file_goes():
    assert all(f"| `{name}` |" in PAGE for name in (UNIT, RULES, DASHBOARD))
