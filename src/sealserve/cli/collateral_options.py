"""Options that commands about collateral share."""

from __future__ import annotations

import re
from pathlib import Path

import click

from sealserve.errors import UsageError
from sealserve.files import read_file
from sealserve.verifier import INTEL_SGX_ROOT_CA, TrustRoot, load_trust_root

ROOT_LIMIT = 64 << 10  # bytes
_FMSPC = re.compile(r"[0-9a-fA-F]{12}")

trust_root_option = click.option(
    "--trust-root",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The root certificate (PEM or DER) to rest on.  [default: Intel's SGX Root CA]",
)
cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cache folder.  [default: $XDG_CACHE_HOME/sealserve/collateral]",
)
ca_file_option = click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PEM: who signed the service's own certificate.  [default: public authorities]",
)
subscription_key_option = click.option(
    "--subscription-key",
    "subscription_key_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file (mode 0600) with the key that the service asks for.",
)


def read_root(path: Path | None) -> TrustRoot:
    """The root in the file at `path`, Intel's without one; raises VerificationError."""
    return load_trust_root(INTEL_SGX_ROOT_CA if path is None else read_file(path, limit=ROOT_LIMIT))


def parse_fmspc(text: str) -> bytes:
    """The 6 bytes that `text` says in hex; raises UsageError."""
    if not _FMSPC.fullmatch(text):
        raise UsageError(f"the FMSPC {text!r} has not 12 hex digits")
    return bytes.fromhex(text)
