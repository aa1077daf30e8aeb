"""The keys of Gramine's manifest, from which version to which, and of what type.

Sources: `Documentation/manifest-syntax.rst` at each tag from 1.0 to 1.9, and the schema that
`gramine-manifest` checks against from 1.7 on (`python/graminelibos/manifest_check.py`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

Version = tuple[int, int]

VERSIONS: Final = tuple(f"1.{minor}" for minor in range(10))
LATEST: Final = VERSIONS[-1]


class Key(NamedTuple):
    """`kinds` are the types it may have; `gone` is the first version without it."""

    kinds: tuple[type, ...]
    since: Version = (1, 0)
    gone: Version | None = None
    instead: str = ""


_BOOL, _INT, _TEXT, _LIST, _TABLE = (bool,), (int,), (str,), (list,), (dict,)
_MINIMUM: Final = (1, 0)


def _keys(kinds: tuple[type, ...], *names: str, since: Version = _MINIMUM) -> dict[str, Key]:
    return {name: Key(kinds, since) for name in names}


def _gone(
    kinds: tuple[type, ...], gone: Version, instead: str, *names: str, since: Version = _MINIMUM
) -> dict[str, Key]:
    return {name: Key(kinds, since, gone, instead) for name in names}


KEYS: Final[dict[str, Key]] = {
    **_keys(_TEXT, "libos.entrypoint", "loader.log_level", "loader.log_file", "fs.start_dir"),
    **_keys(_TEXT, "loader.argv_src_file", "loader.env_src_file", "fs.root.type", "fs.root.uri"),
    **_keys(_TEXT, "fs.root.key_name", since=(1, 2)),
    **_keys(_BOOL, "fs.root.enable_recovery", since=(1, 9)),
    **_keys(_TEXT, "sgx.enclave_size", "sgx.file_check_policy", "sys.stack.size"),
    **_keys(_TEXT, "sys.brk.max_size", "sgx.profile.enable", "sgx.profile.mode"),
    **_keys(_BOOL, "libos.check_invalid_pointers", "loader.insecure__use_cmdline_argv"),
    **_keys(_BOOL, "loader.insecure__use_host_env", "loader.insecure__disable_aslr"),
    **_keys(_BOOL, "sgx.debug", "sgx.enable_stats", "sgx.preheat_enclave"),
    **_keys(_BOOL, "sgx.profile.with_stack", "sys.enable_sigterm_injection"),
    **_keys(_BOOL, "sys.insecure__allow_eventfd"),
    **_keys(_INT, "loader.uid", "loader.gid", "sgx.isvprodid", "sgx.isvsvn"),
    **_keys(_INT, "sgx.profile.frequency"),
    **_keys((list, dict), "sgx.trusted_files", "sgx.allowed_files"),
    **_keys((str, bool, int), "sgx.remote_attestation"),
    **_keys(_TABLE, "loader.env"),
    **_keys((str, dict), "loader.entrypoint", since=(1, 1)),
    **_keys(_TEXT, "sgx.seal_key.flags_mask", "sgx.seal_key.xfrm_mask", since=(1, 1)),
    **_keys(_TEXT, "sgx.seal_key.misc_mask", since=(1, 1)),
    **_keys(_LIST, "fs.mounts", since=(1, 2)),
    **_keys(_TABLE, "fs.insecure__keys", since=(1, 2)),
    **_keys(_BOOL, "sgx.vtune_profile", since=(1, 2)),
    **_keys(_LIST, "loader.argv", since=(1, 3)),
    **_keys(_BOOL, "sys.enable_extra_runtime_domain_names_conf", since=(1, 3)),
    **_keys(_INT, "sgx.insecure__rpc_thread_num", since=(1, 3)),
    **_keys(_INT, "sgx.max_threads", since=(1, 4)),
    **_keys(_BOOL, "sgx.edmm_enable", since=(1, 4)),
    **_keys(_BOOL, "sys.experimental__enable_flock", "sys.disallow_subprocesses", since=(1, 5)),
    **_keys(_LIST, "sys.allowed_ioctls", since=(1, 5)),
    **_keys(_TABLE, "sys.ioctl_structs", since=(1, 5)),
    **_keys(_BOOL, "sgx.use_exinfo", since=(1, 6)),
    **_keys(_BOOL, "sgx.insecure__allow_memfaults_without_exinfo", since=(1, 6)),
    **_keys(_TABLE, "sgx.cpu_features", since=(1, 6)),
    **_keys(_INT, "sys.fds.limit", since=(1, 8)),
    **_keys(_LIST, "sys.debug__mock_syscalls", since=(1, 8)),
    **_gone(_TEXT, (1, 2), "loader.entrypoint", "loader.preload"),
    **_gone(_TEXT, (1, 3), "the first text of loader.argv", "loader.argv0_override"),
    **_gone(_INT, (1, 3), "nothing: it is insecure", "sgx.rpc_thread_num"),
    **_gone(_TABLE, (1, 5), "fs.mounts = [{ … }]", "fs.mount"),
    **_gone(_BOOL, (1, 5), "nothing", "fs.experimental__enable_sysfs_topology"),
    **_gone(_TEXT, (1, 5), "nothing", "loader.pal_internal_mem_size"),
    **_gone(_BOOL, (1, 5), "nothing", "sgx.nonpie_binary"),
    **_gone(_INT, (1, 5), "sgx.max_threads", "sgx.thread_num"),
    **_gone(
        *((list, dict), (1, 5), 'fs.mounts with type = "encrypted"'),
        *("sgx.protected_files", "sgx.protected_mrenclave_files", "sgx.protected_mrsigner_files"),
    ),
    **_gone(
        *(_TEXT, (1, 5), "a key that a key service releases"),
        *("sgx.insecure__protected_files_key", "fs.insecure__protected_files_key"),
    ),
    **_gone(
        *(_BOOL, (1, 8), "sgx.cpu_features"),
        *("sgx.require_avx", "sgx.require_avx512", "sgx.require_amx"),
        *("sgx.require_mpx", "sgx.require_pkru"),
    ),
    **_gone(_BOOL, (1, 8), "sgx.use_exinfo", "sgx.require_exinfo", since=(1, 4)),
    **_gone(_TEXT, (1, 9), 'sgx.remote_attestation = "dcap"', "sgx.ra_client_spid"),
    **_gone(_BOOL, (1, 9), 'sgx.remote_attestation = "dcap"', "sgx.ra_client_linkable"),
}
MOUNT_KEYS: Final = frozenset({"type", "path", "uri", "key_name", "enable_recovery"})
VALUES: Final = {
    "loader.log_level": ("none", "error", "warning", "debug", "trace", "all"),
    "sgx.file_check_policy": ("strict", "allow_all_but_log"),
    "sgx.remote_attestation": ("none", "dcap", "epid"),
    "sgx.profile.enable": ("none", "main", "all"),
}
UNKNOWN_IGNORED: Final = (1, 6)
"""The last version that ignores unknown keys without a word; 1.8 is the first that refuses them."""


def parse_version(text: str) -> Version:
    """`1.9` as numbers; raises ValueError."""
    major, minor = map(int, text.split("."))
    return major, minor
