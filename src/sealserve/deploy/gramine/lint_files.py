"""Files of a manifest: those that the host may change at will, and those that are not encrypted.

Source: `manifest-syntax.rst` of Gramine 1.9, "Allowed files", "Trusted files", "Encrypted files",
"Untrusted shared memory".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sealserve.deploy.gramine.manifest import Listed, Manifest
from sealserve.deploy.gramine.rule import Found, error, warning
from sealserve.deploy.weakness import Rule

ALLOWED_TLS: Final = error(
    "allowed-tls",
    "the host puts its own TLS key or certificate there, and reads every request",
    "seal it, and mount it as encrypted",
)
ALLOWED_NAMES: Final = error(
    "allowed-names",
    "the host sends the enclave's connections, and those to the key service, wherever it likes",
    "remove it; sys.enable_extra_runtime_domain_names_conf = true gives the enclave a resolver",
)
ALLOWED_CONTENT: Final = error(
    "allowed-content",
    "the host replaces code or a model inside the enclave with its own",
    "list it in sgx.trusted_files, or seal it and mount it as encrypted",
)
ALLOWED_FOLDER: Final = error(
    "allowed-folder",
    "the host reads and rewrites every file in the folder, and adds others",
    'list single files, or mount it as tmpfs: { type = "tmpfs", path = "/tmp" }',
)
ALLOWED_FILE: Final = warning(
    "allowed-file",
    "the host reads it, and rewrites it at any moment",
    "list it in sgx.trusted_files, or seal it and mount it as encrypted",
)
ALLOWED_DEVICE: Final = warning(
    "allowed-device",
    "the host answers for the device, and sees what goes to it",
    "remove it, if the server starts without it",
)
TRUSTED_NAMES: Final = warning(
    "trusted-names",
    "the names of the machine that signs are measured: another machine's file stops the enclave",
    "remove it; sys.enable_extra_runtime_domain_names_conf = true gives the enclave a resolver",
)
TRUSTED_SECRET: Final = error(
    "trusted-secret",
    "trusted files are not encrypted: the host reads the private key or the model's plaintext",
    "seal it, and mount it as encrypted",
)
SHARED_MEMORY: Final = error(
    "shared-memory",
    "the host reads and alters what stands in it",
    "remove the mount",
)
PLAIN_MODELS: Final = warning(
    "plain-models",
    "the host reads what stands in it, unless the server unseals it itself",
    'type = "encrypted" for the mount, and seal the files',
)
NOTHING_ENCRYPTED: Final = warning(
    "nothing-encrypted",
    "no file is decrypted inside: models and TLS keys are plain, or do not open",
    '{ type = "encrypted", path = "/models", uri = "file:models", key_name = "default" }',
)
HOST_ETC: Final = warning(
    "host-etc",
    "the host's own /etc stands inside: what is allowed or trusted in it is the host's word",
    "mount the files that are needed, one by one",
)
RULES: Final = (
    *(ALLOWED_TLS, ALLOWED_NAMES, ALLOWED_CONTENT, ALLOWED_FOLDER, ALLOWED_FILE, ALLOWED_DEVICE),
    *(TRUSTED_NAMES, TRUSTED_SECRET, SHARED_MEMORY, PLAIN_MODELS, NOTHING_ENCRYPTED, HOST_ETC),
)

_NAMES: Final = frozenset(
    f"/etc/{name}" for name in ("hosts", "resolv.conf", "nsswitch.conf", "host.conf", "gai.conf")
)
_TLS: Final = re.compile(
    r"(?:^|/)ssl[^/]*\.cfg$|\.(?:pem|key|crt|cer|p12|pfx)$|(?:^|/)(?:ssl|tls)/"
)
_PRIVATE: Final = re.compile(r"\.(?:key|p12|pfx)$|wrap[-_]key|private|key\.pem$")  # of a name
_MODEL: Final = re.compile(
    r"(?:^|/)(?:saved_model\.pbtxt|saved_model\.pb|variables\.[^/]*|fingerprint\.pb)$|\.onnx$"
)
_CODE: Final = re.compile(r"\.(?:so(?:\.[0-9.]+)?|py|pyc|sh|jar|whl)$|(?:^|/)s?bin/")
_FOLDERS: Final = frozenset({"tmp", "etc", "var", "dev/shm", "", ".", "models"})
_MODELS: Final = re.compile(r"(?:^|/)(?:models?|ssl\.cfg)(?:/|$)")
_SHOWN: Final = 80  # characters of a file's name


def found_in_files(manifest: Manifest) -> Iterator[Found]:
    """What is wrong with allowed and trusted files, and with mounts."""
    for each in manifest.listed("sgx.allowed_files"):
        yield Found(_allowed(each), each.place, f"{shown(each.uri)} is an allowed file")
    for each in manifest.listed("sgx.trusted_files"):
        if each.file in _NAMES:
            yield Found(TRUSTED_NAMES, each.place, f"{shown(each.uri)} is a trusted file")
        elif _PRIVATE.search(each.name) or _MODEL.search(each.file):
            yield Found(TRUSTED_SECRET, each.place, f"{shown(each.uri)} is a trusted file")
    yield from _mounts(manifest)


def _allowed(each: Listed) -> Rule:
    file = each.file
    if each.uri.startswith("dev:"):
        return ALLOWED_DEVICE
    if file in _NAMES:
        return ALLOWED_NAMES
    if _TLS.search(file) or _PRIVATE.search(each.name):
        return ALLOWED_TLS
    if file.endswith("/") or file.strip("/") in _FOLDERS:
        return ALLOWED_FOLDER
    return ALLOWED_CONTENT if _CODE.search(file) or _MODEL.search(file) else ALLOWED_FILE


def _mounts(manifest: Manifest) -> Iterator[Found]:
    mounts, sealed = manifest.mounts(), _unseals_itself(manifest)
    for each in mounts:
        name = shown(each.path or each.uri)
        if each.kind == "untrusted_shm":
            yield Found(SHARED_MEMORY, each.place, f"{name} is memory shared with the host")
        elif each.kind == "chroot" and each.uri.rstrip("/") == "file:/etc":
            yield Found(HOST_ETC, each.place, f"{name} is the host's /etc")
        elif each.kind == "chroot" and _MODELS.search(each.path) and not sealed:
            yield Found(PLAIN_MODELS, each.place, f"{name} is mounted without encryption")
    if not sealed and not any(each.kind == "encrypted" for each in mounts):
        yield Found(NOTHING_ENCRYPTED, ("fs", "mounts"), "there is no encrypted mount")


def _unseals_itself(manifest: Manifest) -> bool:
    """It runs `sealserve serve` with a key service: sealed files are opened by the server."""
    arguments = manifest.arguments() or ()
    return "serve" in arguments and any(each.startswith("--key_service=") for each in arguments)


def shown(text: str) -> str:
    """A file's name as a terminal may have it."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
