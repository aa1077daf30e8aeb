"""What a version of Gramine makes of a manifest's keys: gone, too new, unknown, of a wrong type."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sealserve.deploy.gramine.jinja import is_open
from sealserve.deploy.gramine.manifest import Manifest
from sealserve.deploy.gramine.rule import Found, dotted, error, warning
from sealserve.deploy.gramine.schema import (
    KEYS,
    MOUNT_KEYS,
    UNKNOWN_IGNORED,
    VALUES,
    Key,
    Version,
)
from sealserve.policies.places import Path

KEY_GONE: Final = error(
    "key-gone",
    "Gramine ignores it to 1.7 and refuses the manifest from 1.8; what it asked for does not hold",
    "write what came in its place",
)
THREADS_GONE: Final = error(
    "threads-gone",
    "from 1.5 it is ignored, and the enclave has 4 threads: a server stalls or does not start",
    "write sgx.max_threads with the same number",
)
KEY_TOO_NEW: Final = error(
    "key-too-new",
    "this version does not know it: what it asks for does not hold",
    "take a newer Gramine, or leave it out",
)
UNKNOWN_KEY: Final = error(
    "unknown-key",
    "Gramine refuses the manifest from 1.8 and ignores the key before: a slip of the pen may leave "
    "a protection off",
    "correct its name, or remove it",
)
UNKNOWN_INSECURE: Final = error(
    "unknown-insecure",
    "by its own name it takes a protection away, and which one is not known here",
    "remove it",
)
WRONG_TYPE: Final = error(
    "wrong-type",
    "Gramine refuses the manifest, or starts no enclave with it",
    "write a value of the type that the manifest's documentation names",
)
WRONG_VALUE: Final = error(
    "wrong-value", "Gramine refuses the manifest", "write one of the values that there are"
)
OLD_FORM: Final = error(
    "old-form",
    "this version refuses the form, or reads nothing from it",
    "write it in the form that this version reads",
)
MISSING_ENTRYPOINT: Final = error(
    "no-entrypoint",
    "Gramine does not know what to run",
    'write libos.entrypoint = "/path/inside/the/enclave"',
)
UNDECIDED: Final = warning(
    "undecided",
    "who fills the template in decides it, and with it what the host may do",
    "write the value itself, or lint what gramine-manifest makes of the template",
)
RULES: Final = (
    *(KEY_GONE, THREADS_GONE, KEY_TOO_NEW, UNKNOWN_KEY, UNKNOWN_INSECURE, WRONG_TYPE),
    *(WRONG_VALUE, OLD_FORM, MISSING_ENTRYPOINT, UNDECIDED),
)

_MARKS: Final = ("insecure__", "dangerous", "debug__", "experimental__")
_SUGGESTED: Final = 20  # unknown keys for which the nearest name is looked up
_TYPES: Final = {
    bool: "true or false",
    int: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}
_DECISIVE: Final = ("sgx.debug", "loader.log_level", "sgx.file_check_policy")


def found_in_keys(manifest: Manifest, version: Version) -> Iterator[Found]:
    """What is wrong with the keys, as `version` reads them."""
    unknown = 0
    for name, place, value in _walk(manifest.document):
        key = KEYS.get(name)
        if key is not None:
            yield from _known(name, place, value, key, version)
            continue
        unknown += 1
        yield _unknown(name, place, version, suggest=unknown <= _SUGGESTED)
    yield from _mount_keys(manifest, version)
    yield from _forms(manifest, version)
    if not manifest.get("libos.entrypoint"):
        yield Found(MISSING_ENTRYPOINT, (), "there is no libos.entrypoint")


def _walk(table: Mapping[str, Any], before: Path = ()) -> Iterator[tuple[str, Path, Any]]:
    """Each key that is known, and of the others each that is no table."""
    for part, value in table.items():
        place = (*before, part)
        name = ".".join(map(str, place))
        if name in KEYS or not isinstance(value, dict):
            yield name, place, value
        else:
            yield from _walk(value, place)


def _known(name: str, place: Path, value: Any, key: Key, version: Version) -> Iterator[Found]:
    if key.gone is not None and version >= key.gone:
        rule = THREADS_GONE if name == "sgx.thread_num" else KEY_GONE
        text = f"{name} is gone since Gramine {_text(key.gone)}"
        yield Found(rule, place, text, f"instead: {key.instead}")
        return
    if version < key.since:
        yield Found(KEY_TOO_NEW, place, f"{name} is new in Gramine {_text(key.since)}")
    insecure = any(mark in name for mark in _MARKS)
    if is_open(value):
        if insecure or name in _DECISIVE:
            yield Found(UNDECIDED, place, f"{name} is left to Jinja")
        return
    # A bool is an int in Python, and none in TOML.
    if not isinstance(value, key.kinds) or (isinstance(value, bool) and bool not in key.kinds):
        wanted = " or ".join(_TYPES[kind] for kind in key.kinds)
        yield Found(WRONG_TYPE, place, f"{name} is {_kind(value)}, expected {wanted}")
    elif name in VALUES and isinstance(value, str) and value not in VALUES[name]:
        yield Found(WRONG_VALUE, place, f"{name} is none of {', '.join(VALUES[name])}")


def _unknown(name: str, place: Path, version: Version, *, suggest: bool) -> Found:
    shown = dotted(place)
    if any(mark in name for mark in _MARKS):
        return Found(UNKNOWN_INSECURE, place, f"{shown} is an insecure option that is not known")
    text = f"{shown} is no key of Gramine's"
    if version <= UNKNOWN_IGNORED:
        text += ", and is ignored without a word"
    nearest = difflib.get_close_matches(name[:80], KEYS, n=1, cutoff=0.75) if suggest else []
    return Found(UNKNOWN_KEY, place, text, f"did you mean {nearest[0]}?" if nearest else None)


def _mount_keys(manifest: Manifest, version: Version) -> Iterator[Found]:
    mounts = manifest.get("fs.mounts")
    for index, mount in enumerate(mounts if isinstance(mounts, list) else ()):
        place: Path = ("fs", "mounts", index)
        if not isinstance(mount, dict):
            yield Found(WRONG_TYPE, place, f"{dotted(place)} is {_kind(mount)}, expected a table")
            continue
        for key in mount:
            if key not in MOUNT_KEYS:
                at = (*place, key)
                yield Found(UNKNOWN_KEY, at, f"{dotted(at)} is no key of a mount")
            elif key == "enable_recovery" and version < (1, 9):
                at = (*place, key)
                yield Found(KEY_TOO_NEW, at, f"{dotted(at)} is new in Gramine 1.9")


def _forms(manifest: Manifest, version: Version) -> Iterator[Found]:
    """Keys that stayed, in a form that is gone."""
    for name in ("sgx.trusted_files", "sgx.allowed_files"):
        if version >= (1, 2) and isinstance(manifest.get(name), dict):
            cure = f'{name} = ["file:…"]'
            text = f"{name} is a table, which is gone since Gramine 1.2"
            yield Found(OLD_FORM, tuple(name.split(".")), text, cure)
    if version >= (1, 9) and isinstance(manifest.get("loader.entrypoint"), str):
        text = "loader.entrypoint is text, which is gone since Gramine 1.9"
        cure = "remove it, or write loader.entrypoint.uri"
        yield Found(OLD_FORM, ("loader", "entrypoint"), text, cure)
    attestation, place = manifest.get("sgx.remote_attestation"), ("sgx", "remote_attestation")
    cure = 'sgx.remote_attestation = "dcap"'
    if version >= (1, 5) and isinstance(attestation, int):
        text = "sgx.remote_attestation is no text, and other forms are gone since Gramine 1.5"
        yield Found(OLD_FORM, place, text, cure)
    if version < (1, 3) and isinstance(attestation, str) and not is_open(attestation):
        text = "sgx.remote_attestation is text, which is new in Gramine 1.3"
        yield Found(OLD_FORM, place, text, "sgx.remote_attestation = true")
    if version >= (1, 9) and attestation == "epid":
        text = "sgx.remote_attestation is epid, which is gone since Gramine 1.9"
        yield Found(OLD_FORM, place, text, cure)
    if version >= (1, 9) and manifest.variable("SECRET_PROVISION_SET_PF_KEY") is not None:
        name = "SECRET_PROVISION_SET_PF_KEY"
        text = f"{name} is gone since Gramine 1.9: no key is set"
        yield Found(OLD_FORM, ("loader", "env", name), text, 'SECRET_PROVISION_SET_KEY = "default"')


def _kind(value: object) -> str:
    return next((text for kind, text in _TYPES.items() if isinstance(value, kind)), "another type")


def _text(version: Version) -> str:
    return ".".join(map(str, version))
