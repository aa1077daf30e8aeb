"""Files that are shipped with SealServe, written into an operator's folder: new ones, or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sealserve.errors import UsageError
from sealserve.files import PUBLIC, write_file


def write_new(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write them into `folder`, which is made if need be; never over another file: UsageError.

    A name may have folders in front, which are made too.
    """
    for parent in sorted({folder, *((folder / name).parent for name in files)}):
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {parent}: {error.strerror}") from error
    taken = [str(folder / name) for name in files if (folder / name).exists()]
    if taken:
        raise UsageError(
            f"{', '.join(taken)}: not overwritten", hint="name another folder, or move these away"
        )
    for name, data in files.items():
        write_file(folder / name, data, mode=PUBLIC, replace=False)
    return tuple(folder / name for name in files)
