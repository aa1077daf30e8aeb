"""The path inside a protected file: Gramine opens the file under that path and no other.

It is the host path of the mount's URI (`file:models` gives `models/…`, `file:/abs` gives `/abs/…`),
not the path inside the enclave. Gramine has normalised both sides since 1.5 (`get_norm_path` in
`common/src/path_utils.c`, Gramine 1.9); before, the tool embedded its `-o` argument as it was
typed, which is the same for every path that is already normal. Linux paths are bytes; here they are
strings as Python makes them (UTF-8 with surrogate escapes), so every name can be embedded.
"""

from __future__ import annotations

from sealserve.errors import IntegrityError, UsageError

PATH_FIELD_BYTES = 772
MAX_PATH_BYTES = PATH_FIELD_BYTES - 1  # a NUL ends it


def normalize_path(path: str) -> str:
    """Fold `.`, `//` and `..` without looking at the disk, as Gramine does.

    A leading `..` of a relative path stays, that of an absolute one goes. A path of which nothing
    remains becomes empty, which no file can be sealed for.
    """
    folded: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            folded.append(part)
        elif folded and folded[-1] != "..":
            folded.pop()
        elif not path.startswith("/"):
            folded.append(part)
    return ("/" if path.startswith("/") else "") + "/".join(folded)


def encode_path(path: str) -> bytes:
    """The path field of the metadata, 772 bytes; raises UsageError for a path that has no place."""
    normal = normalize_path(path)
    encoded = normal.encode("utf-8", "surrogateescape")
    if normal in ("", "/"):
        raise UsageError(f"{path!r} names no file, and a protected file is sealed for a path")
    if b"\0" in encoded:
        raise UsageError(f"the path {path!r} holds a NUL byte")
    if len(encoded) > MAX_PATH_BYTES:
        raise UsageError(
            f"the path to embed has {len(encoded)} bytes of UTF-8, "
            f"and a protected file has room for {MAX_PATH_BYTES}",
            hint="seal from a folder nearer to the file, or give a shorter path to embed",
        )
    return encoded.ljust(PATH_FIELD_BYTES, b"\0")


def decode_path(field: bytes) -> str:
    """The path of an authentic path field; raises IntegrityError if nothing ends it."""
    encoded, end, _ = field.partition(b"\0")
    if not end:
        raise IntegrityError(
            f"the embedded path fills its {PATH_FIELD_BYTES} bytes without an end",
            code="integrity.metadata",
            hint="whoever sealed this file used a broken tool: seal it again",
        )
    return encoded.decode("utf-8", "surrogateescape")
