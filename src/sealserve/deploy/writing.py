"""Files written into an operator's folder, new ones or none; and folders, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sealserve.errors import UsageError
from sealserve.files import PRIVATE, PUBLIC, sync_folder, write_file


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


def write_folder(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Make `folder` with these files, whole or not at all; UsageError where that cannot be.

    Names may have one folder in front. What holds a private key is for its owner alone (0600).
    """
    if folder.exists() or folder.is_symlink():
        raise UsageError(
            f"{folder} exists and is not overwritten",
            hint="name another folder with --out, or move this one away",
        )
    temporary: Path | None = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", dir=folder.parent))
        _fill(temporary, files)
        temporary.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return tuple(folder / name for name in files)


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        mode = PRIVATE if b"PRIVATE KEY" in content else PUBLIC
        write_file(path, content, mode=mode, replace=False)
