"""What a signed manifest measures with this machine's Gramine, by Gramine's own program.

MRENCLAVE is made of every byte of the manifest, Gramine's `libpal.so` and the enclave's layout. The
key that signs has no part in it, so one is made for this alone, in a folder that only this user may
enter, and is gone with it. Nothing else is written, and nothing of the manifest is run.
Source: Gramine 1.5 to 1.9, `python/gramine-sgx-sign`, `python/graminelibos/sgx_sign.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sealserve.errors import RejectedError, UsageError
from sealserve.evidence.sigstruct import Sigstruct, check_signature, parse_sigstruct
from sealserve.files import read_file, write_file

SIGNER: Final = "gramine-sgx-sign"
INSTALL: Final = (
    "install the Gramine that made the build (packages.gramineproject.io: gramine), and name its "
    "libpal.so with --libpal if it lies elsewhere"
)
_SECONDS: Final = 1800  # a page of the enclave is a step of its Python: 64 GiB take minutes
_SAID: Final = 400  # characters of what it says
_LIMIT: Final = 64 << 20  # bytes of the manifest that it writes


@dataclass(frozen=True, slots=True)
class Measured:
    """`same_bytes`: Gramine writes the manifest as it was signed, byte for byte."""

    sigstruct: Sigstruct
    same_bytes: bool
    program: str


def measure(manifest: bytes, libpal: Path | None) -> Measured | None:
    """The SIGSTRUCT of the manifest here; None where Gramine is not installed.

    Raises RejectedError for a manifest that Gramine refuses, UsageError for one that takes it too
    long.
    """
    program = shutil.which(SIGNER)
    if program is None:
        return None
    with tempfile.TemporaryDirectory(prefix="sealserve-measure.") as name:  # mode 0700
        folder = Path(name)
        given, written = folder / "enclave.manifest", folder / "enclave.manifest.sgx"
        sig = folder / "enclave.sig"
        write_file(given, manifest)
        write_file(folder / "key.pem", _throwaway_key())
        libpals = () if libpal is None else ("--libpal", str(libpal.resolve()))
        _run(
            *(program, "--quiet", "--key", str(folder / "key.pem"), "--manifest", str(given)),
            *("--output", str(written), "--sigfile", str(sig), *libpals),
            folder=folder,
        )
        stated = parse_sigstruct(read_file(sig, limit=1 << 16))
        check_signature(stated)
        return Measured(stated, read_file(written, limit=_LIMIT) == manifest, program)


def _throwaway_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=3, key_size=3072)  # SGX's own
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _run(*command: str, folder: Path) -> None:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
    except OSError as error:
        raise UsageError(f"cannot run {SIGNER}: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise UsageError(f"{SIGNER} took more than {_SECONDS} seconds") from None
    if ended.returncode:
        said = ended.stdout.decode(errors="replace").strip()[-_SAID:]
        last = "".join(c if c.isprintable() else " " for c in said)
        raise RejectedError(f"{SIGNER} refuses the signed manifest: {last}")
