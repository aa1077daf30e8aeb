"""A stand-in for gramine-sgx-sign: its options and files; its measurement is no enclave's."""

from __future__ import annotations

import argparse
import stat
import sys
import tomllib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from made_sigstruct import made_sigstruct, stand_in_measurement

LIBPAL = b"a libpal.so"


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("--key", "--manifest", "--output", "--sigfile", "--libpal"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args()
    if stat.S_IMODE(given.key.parent.stat().st_mode) != 0o700:
        sys.exit("others may read the key")
    key = load_pem_private_key(given.key.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    manifest = given.manifest.read_bytes()
    document = tomllib.loads(manifest.decode())
    if "refused" in document:
        sys.exit("voluptuous.error.MultipleInvalid: extra keys not allowed")
    given.output.write_bytes(manifest)
    libpal = given.libpal.read_bytes() if given.libpal else LIBPAL
    sgx = document["sgx"]
    made = made_sigstruct(
        stand_in_measurement(manifest, libpal),
        product=sgx.get("isvprodid", 0),
        svn=sgx.get("isvsvn", 0),
        debug=sgx.get("debug", False),
        key=key,
    )
    given.sigfile.write_bytes(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
