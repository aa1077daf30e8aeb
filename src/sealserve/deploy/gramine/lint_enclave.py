"""The enclave of a manifest: attestation, version, size and threads.

Sources: `manifest-syntax.rst` of Gramine 1.9, "Enclave size", "Number of threads", "EDMM",
"Attestation and quotes"; `host_main.c` (a power of two); `pal_linux_defs.h` (a thread's slot).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sealserve.deploy.gramine.jinja import is_open
from sealserve.deploy.gramine.manifest import Manifest
from sealserve.deploy.gramine.rule import Found, error, note, warning
from sealserve.deploy.gramine.schema import Version

NO_ATTESTATION: Final = error(
    "no-attestation",
    "the enclave proves nothing: a key service releases no key to it, and the host may run another "
    "program in its place",
    'sgx.remote_attestation = "dcap"',
)
NO_SVN: Final = note(
    "no-svn",
    "the enclave's security version is 0: policies by signer cannot shut out a build with a fault",
    "sgx.isvsvn = 1, and one more with each build that mends a fault",
)
BAD_SIZE: Final = error(
    "bad-size",
    "the enclave does not start",
    'sgx.enclave_size = "4G": a power of two',
)
DEFAULT_SIZE: Final = warning(
    "default-size",
    "the enclave has 256 MiB, and a model server does not fit",
    'sgx.enclave_size = "4G", or what the model needs: a power of two',
)
HUGE_SIZE: Final = warning(
    "huge-size",
    "without EDMM all of it is committed at the start, for each process anew",
    "write what the model needs",
)
DEFAULT_THREADS: Final = warning(
    "default-threads",
    "the enclave has 4 threads, of which Gramine itself takes up to 3: a server stalls",
    "sgx.max_threads = 64, or what the server needs",
)
FEW_THREADS: Final = error(
    "few-threads",
    "Gramine itself takes up to 3 threads: fewer than 4 do not run one program",
    "sgx.max_threads = 64, or what the server needs",
)
THREADS_TAKE_ALL: Final = error(
    "threads-take-all",
    "the threads' slots and stacks leave less than half of the enclave to the model",
    "fewer threads, smaller stacks or a larger enclave",
)
PREHEATED: Final = error(
    "preheated-edmm",
    "Gramine refuses both together",
    "sgx.preheat_enclave = false",
)
RULES: Final = (
    *(NO_ATTESTATION, NO_SVN, BAD_SIZE, DEFAULT_SIZE, HUGE_SIZE),
    *(DEFAULT_THREADS, FEW_THREADS, THREADS_TAKE_ALL, PREHEATED),
)

_SIZE: Final = re.compile(r"([0-9]{1,18})([KMG]?)", re.IGNORECASE | re.ASCII)
_UNIT: Final = {"": 0, "K": 10, "M": 20, "G": 30}
_HUGE: Final = 64 << 30
_SLOT: Final = 360 << 10  # bytes of one thread
_STACK: Final = 256 << 10  # bytes, Gramine's default
_ATTESTED: Final = ("dcap", "epid")
_LEAST_THREADS: Final = 4


def found_in_enclave(manifest: Manifest, version: Version) -> Iterator[Found]:
    """What is wrong with the enclave as such."""
    attestation = manifest.get("sgx.remote_attestation")
    on = attestation in _ATTESTED or is_open(attestation)
    if not on and not (isinstance(attestation, int) and attestation):
        text = "sgx.remote_attestation is " + ("missing" if attestation is None else "off")
        yield Found(NO_ATTESTATION, ("sgx", "remote_attestation"), text)
    if manifest.get("sgx.isvsvn") in (None, 0):
        yield Found(NO_SVN, ("sgx", "isvsvn"), "sgx.isvsvn is 0, or missing")
    yield from _size(manifest)
    yield from _threads(manifest, version)
    edmm, preheat = manifest.get("sgx.edmm_enable"), manifest.get("sgx.preheat_enclave")
    if edmm is True and preheat is True:
        yield Found(PREHEATED, ("sgx", "preheat_enclave"), "sgx.preheat_enclave with EDMM")


def _size(manifest: Manifest) -> Iterator[Found]:
    place, value = ("sgx", "enclave_size"), manifest.get("sgx.enclave_size")
    edmm = manifest.get("sgx.edmm_enable") is True
    if value is None:
        if not edmm:
            yield Found(DEFAULT_SIZE, place, "there is no sgx.enclave_size")
        return
    if not isinstance(value, str) or is_open(value):
        return
    size = in_bytes(value)
    if size is None or size <= 0 or size & (size - 1):
        yield Found(BAD_SIZE, place, "sgx.enclave_size is no power of two with K, M or G")
    elif size > _HUGE and not edmm:
        yield Found(HUGE_SIZE, place, f"sgx.enclave_size is {size >> 30} GiB")


def _threads(manifest: Manifest, version: Version) -> Iterator[Found]:
    name = "sgx.max_threads" if version >= (1, 4) else "sgx.thread_num"
    place, threads = tuple(name.split(".")), manifest.get(name)
    edmm = manifest.get("sgx.edmm_enable") is True
    if threads is None:
        if not edmm or version < (1, 6):
            yield Found(DEFAULT_THREADS, place, f"there is no {name}")
        return
    if not isinstance(threads, int) or isinstance(threads, bool):
        return
    if threads < (1 if edmm else _LEAST_THREADS):
        yield Found(FEW_THREADS, place, f"{name} is {threads}")
    stack = in_bytes(manifest.get("sys.stack.size")) or _STACK
    size = in_bytes(manifest.get("sgx.enclave_size"))
    if size and not edmm and threads * (_SLOT + stack) * 2 > size:
        taken = threads * (_SLOT + stack) >> 20
        yield Found(THREADS_TAKE_ALL, place, f"{threads} threads take up to {taken} MiB")


def in_bytes(value: object) -> int | None:
    """`4G` as bytes; None for what is no size."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) << _UNIT[match[2].upper()] if match else None
