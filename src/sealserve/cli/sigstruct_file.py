"""A SIGSTRUCT's file, read and checked, and what it adds to a policy."""

from __future__ import annotations

import stat
from pathlib import Path

from sealserve.cli.policy_files import read_text
from sealserve.errors import UsageError
from sealserve.evidence.sigstruct import Sigstruct, check_signature, parse_sigstruct
from sealserve.files import read_file, write_file
from sealserve.policies import editing
from sealserve.policies.inserting import Edited

SIGSTRUCT_LIMIT = 64 << 10  # bytes: what is longer than a SIGSTRUCT, the parser says


def read_sigstruct(sig: Path) -> Sigstruct:
    """What the SIGSTRUCT in `sig` states; raises RejectedError unless its signature is right."""
    stated = parse_sigstruct(read_file(sig, limit=SIGSTRUCT_LIMIT))
    check_signature(stated)
    return stated


def add_to_policy(file: Path, sig: Path, identity: str, *, by_signer: bool, create: bool) -> Edited:
    """Add the enclave of `sig` to an identity of the policy `file`, which is replaced whole.

    Raises RejectedError for a SIGSTRUCT that does not verify, UsageError for one of a debug enclave
    or one that does not belong to that identity.
    """
    path = file.resolve()
    add = editing.add_signer if by_signer else editing.add_measurement
    edited = add(read_text(path), identity, reference_of(sig), create=create)
    if edited.changed:
        write_file(path, edited.text.encode(), mode=stat.S_IMODE(path.stat().st_mode))
    return edited


def reference_of(sig: Path) -> editing.Reference:
    """What a policy takes of the enclave of `sig`; UsageError for one of a debug enclave."""
    stated = read_sigstruct(sig)
    if stated.debug:
        raise UsageError(
            f"{sig} is of a debug enclave, whose memory its host can read",
            hint="build and sign it without debug (sgx.debug = false in Gramine's manifest)",
        )
    return editing.Reference(
        stated.mr_enclave,
        stated.mr_signer,
        stated.isv_prod_id,
        stated.isv_svn,
        f"{sig.name}, signed {signing_date(stated)}",
    )


def signing_date(stated: Sigstruct) -> str:
    """The date that the signer states, as `2025-06-20`."""
    digits = f"{stated.date:08x}"  # binary-coded decimal
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
