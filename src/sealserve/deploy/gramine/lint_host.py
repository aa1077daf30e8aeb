"""Options by which a manifest gives the host a say, or a look, in its enclave.

Source: `manifest-syntax.rst` of Gramine 1.9 at each option, and the options that Gramine warns of
itself when it starts (`libos/src/utils/warn.c`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sealserve.deploy.gramine.jinja import is_open
from sealserve.deploy.gramine.manifest import Manifest
from sealserve.deploy.gramine.rule import Found, error, note, warning
from sealserve.deploy.weakness import Rule

HOST_ARGUMENTS: Final = error(
    "host-arguments",
    "the host chooses the arguments: which model is served, with which TLS key, on which ports",
    "write them down: loader.argv = [ … ]",
)
HOST_ENVIRONMENT: Final = error(
    "host-environment",
    "the host sets every variable: with LD_PRELOAD it runs its own library inside",
    "set what is needed: loader.env.NAME",
)
DEBUG: Final = error(
    "debug-enclave",
    "the host reads and writes the enclave's memory, keys and models in it",
    "sgx.debug = false, and no policy that takes debug enclaves",
)
ALL_FILES: Final = error(
    "all-files-allowed",
    "the host reads and rewrites every file that is not listed as trusted",
    'sgx.file_check_policy = "strict", and list what is needed',
)
KEY_IN_MANIFEST: Final = error(
    "key-in-manifest",
    "the host reads the wrap key in the manifest, and unseals everything",
    "remove it, and let a key service release the key to the enclave",
)
VERBOSE_LOG: Final = error(
    "verbose-log",
    "the log shows the host what the enclave does, and data with it",
    'loader.log_level = "error"',
)
NO_ASLR: Final = error(
    "no-aslr",
    "every start has the same addresses: a fault in the program is easier to exploit",
    "remove loader.insecure__disable_aslr",
)
MEMORY_FAULTS: Final = error(
    "memory-faults",
    "the host injects memory faults that the program takes for its own",
    "remove it; sgx.use_exinfo = true where faults must be told",
)
RPC_THREADS: Final = error(
    "rpc-threads",
    "threads outside run the system calls: the host reads stale data (CVE-2022-21233, -21166)",
    "remove sgx.insecure__rpc_thread_num",
)
PROFILING: Final = error(
    "profiling",
    "it needs a debug enclave, and shows the host where the program is and what it does",
    "remove it",
)
MOCKED_CALLS: Final = warning(
    "mocked-calls",
    "system calls seem to succeed and do nothing: what the program relies on did not happen",
    "remove sys.debug__mock_syscalls",
)
EVENTFD: Final = warning(
    "host-eventfd",
    "the host forges or withholds events between the program's threads",
    "remove it, if the server starts without eventfd",
)
FLOCK: Final = warning(
    "unfinished-flock",
    "file locks run code that Gramine's authors have not finished checking",
    "remove sys.experimental__enable_flock",
)
IOCTLS: Final = warning(
    "allowed-ioctls",
    "the host sees and alters what goes to the device and comes from it",
    "remove sys.allowed_ioctls, or check all that comes back",
)
SIGTERM: Final = note(
    "host-sigterm",
    "the host sends one SIGTERM at any moment; a server that ends tidily then loses nothing",
    "keep it for tidy ends, if the handler does no more than that",
)
HOST_NAMES: Final = note(
    "host-names",
    "the host chooses the resolver and the host name: names prove nothing",
    "keep it, and trust peers by their certificates alone",
)


class _Option(NamedTuple):
    rule: Rule
    name: str
    harmless: tuple[Any, ...]
    """Values that give nothing away; what is missing gives nothing away either."""


_OFF: Final[tuple[Any, ...]] = (False,)
OPTIONS: Final = (
    _Option(HOST_ARGUMENTS, "loader.insecure__use_cmdline_argv", _OFF),
    _Option(HOST_ENVIRONMENT, "loader.insecure__use_host_env", _OFF),
    _Option(DEBUG, "sgx.debug", _OFF),
    _Option(ALL_FILES, "sgx.file_check_policy", ("strict",)),
    _Option(KEY_IN_MANIFEST, "fs.insecure__keys", ({},)),
    _Option(KEY_IN_MANIFEST, "sgx.insecure__protected_files_key", ()),
    _Option(KEY_IN_MANIFEST, "fs.insecure__protected_files_key", ()),
    _Option(VERBOSE_LOG, "loader.log_level", ("none", "error")),
    _Option(NO_ASLR, "loader.insecure__disable_aslr", _OFF),
    _Option(MEMORY_FAULTS, "sgx.insecure__allow_memfaults_without_exinfo", _OFF),
    _Option(RPC_THREADS, "sgx.insecure__rpc_thread_num", (0,)),
    _Option(RPC_THREADS, "sgx.rpc_thread_num", (0,)),
    _Option(PROFILING, "sgx.enable_stats", _OFF),
    _Option(PROFILING, "sgx.profile.enable", ("none",)),
    _Option(PROFILING, "sgx.vtune_profile", _OFF),
    _Option(MOCKED_CALLS, "sys.debug__mock_syscalls", ([],)),
    _Option(EVENTFD, "sys.insecure__allow_eventfd", _OFF),
    _Option(FLOCK, "sys.experimental__enable_flock", _OFF),
    _Option(IOCTLS, "sys.allowed_ioctls", ([],)),
    _Option(SIGTERM, "sys.enable_sigterm_injection", _OFF),
    _Option(HOST_NAMES, "sys.enable_extra_runtime_domain_names_conf", _OFF),
)
RULES: Final = tuple(dict.fromkeys(option.rule for option in OPTIONS))


def found_in_options(manifest: Manifest) -> Iterator[Found]:
    """Each option that is on. What Jinja decides is not judged here."""
    for option in OPTIONS:
        value = manifest.get(option.name)
        if value is None or is_open(value) or value in option.harmless:
            continue
        yield Found(option.rule, tuple(option.name.split(".")), f"{option.name} is {_said(value)}")


def _said(value: object) -> str:
    """Booleans and small words; what else may be a key is not repeated."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str) and value in ("warning", "debug", "trace", "all", "main"):
        return f'"{value}"'
    return "set"
