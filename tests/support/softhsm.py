"""A SoftHSM token of a test's own: a real PKCS#11 module, with its objects in a folder.

SoftHSM reads SOFTHSM2_CONF when it is initialised. SealServe finalises the module after the last
session of a process, so that each test has its own tokens; a test that leaves a session open is
told so, because the next test would meet its tokens.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealserve.files import write_file
from sealserve.keyservice.wrapping import Pkcs11Wrapping, cryptoki

PACKAGE = "softhsm2"
INSTALL_SECONDS = 120.0
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",  # Debian
    "/usr/lib64/pkcs11/libsofthsm2.so",  # Fedora
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
PIN = "test-pin-4711"
SO_PIN = "test-so-pin-0815"


@dataclass(frozen=True)
class SoftHsm:
    """Where the module and the tokens are."""

    module: Path
    folder: Path

    def make_token(self, label: str) -> None:
        """A new token that `PIN` opens."""
        words = ["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN]
        subprocess.run(
            ["softhsm2-util", *words], check=True, capture_output=True, timeout=INSTALL_SECONDS
        )

    def remove_tokens(self) -> None:
        """As if somebody had pulled them out."""
        shutil.rmtree(self.folder / "tokens")
        (self.folder / "tokens").mkdir()

    def wrapping(self, *, token: str = "models", key: str = "kek", pin: str = PIN):
        """The configuration of a key in a token, with its PIN in a private file."""
        path = self.folder / "pin"
        write_file(path, f"{pin}\n".encode())
        return Pkcs11Wrapping.model_validate(
            {
                "kind": "pkcs11",
                "module": str(self.module),
                "token": token,
                "key": key,
                "pin": str(path),
            },
            context=self.folder,
        )


@contextmanager
def softhsm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    """SoftHSM with its tokens in `folder`, for this process and those that it starts.

    Skips the test where SoftHSM is missing (`scripts/test_packages.sh` installs it).
    """
    pytest.importorskip(
        "pkcs11", reason="python-pkcs11 is missing: pip install 'sealserve[pkcs11]'"
    )
    module = _find()
    if module is None:
        pytest.skip(f"SoftHSM is missing: apt-get install {PACKAGE}")
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    yield SoftHsm(module, folder)
    assert not any(cryptoki.open_sessions().values()), "the test left a session open"


def _find() -> Path | None:
    if shutil.which("softhsm2-util") is None:
        return None
    return next((path for path in map(Path, MODULES) if path.exists()), None)
