"""A signed manifest, `NAME.manifest.sgx`: what it says, and the hash of each trusted file.

It is somebody else's, and parsed as such; what it says is compared, never believed.
Source: Gramine 1.9, `Documentation/manpages/gramine-sgx-sign.rst`; the file is TOML in UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sealserve.appraisal.bounded_toml import read_toml
from sealserve.errors import ConfigError, FormatError

SIGNED_LIMIT: Final = 16 << 20  # bytes; a Python with its libraries has some megabytes of hashes
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """`files` is URI -> SHA-256 in hex, in the order of the manifest."""

    data: bytes
    document: Mapping[str, Any]
    files: Mapping[str, str]
    libos_digest: str | None
    """SHA-256 of Gramine's LibOS in hex, which the manifest holds from 1.8 on."""


def read_signed(data: bytes) -> SignedManifest:
    """The signed manifest in `data`; raises FormatError for what is none."""
    try:
        document = read_toml(data.decode(), "the signed manifest")
    except UnicodeDecodeError:
        raise FormatError("the signed manifest is not UTF-8 text") from None
    except ConfigError as error:
        raise FormatError(error.message) from None
    sgx, loader = document.get("sgx"), document.get("loader")
    entries = sgx.get("trusted_files") if isinstance(sgx, dict) else None
    if not isinstance(entries, list):
        raise _not_signed("it has no list of trusted files")
    files: dict[str, str] = {}
    for index, entry in enumerate(entries):
        uri, digest = _file(entry, index)
        if uri in files:
            raise FormatError(f"the signed manifest lists a trusted file twice: {uri!r:.120}")
        files[uri] = digest
    entrypoint = loader.get("entrypoint") if isinstance(loader, dict) else None
    libos = entrypoint.get("sha256") if isinstance(entrypoint, dict) else None
    return SignedManifest(data, document, files, libos if isinstance(libos, str) else None)


def _file(entry: object, index: int) -> tuple[str, str]:
    uri = entry.get("uri") if isinstance(entry, dict) else None
    digest = entry.get("sha256") if isinstance(entry, dict) else None
    if not isinstance(uri, str) or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise _not_signed(f"trusted file {index} has no URI, or no SHA-256")
    return uri, digest


def _not_signed(reason: str) -> FormatError:
    return FormatError(
        f"this is no signed manifest: {reason}",
        hint="name the .manifest.sgx that gramine-sgx-sign wrote",
    )
