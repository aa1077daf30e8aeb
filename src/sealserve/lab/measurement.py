"""What the simulated hardware measures when it launches an enclave, and how.

SGX hashes the pages of an enclave as they are loaded. Here an enclave is a Python process, so what
is hashed is everything that decides how that process behaves: the interpreter, every file of its
standard library and of the folders from which it imports, its arguments in one form
(`sealserve.lab.arguments`), the content of the files among them that are trusted, its environment.

1. The interpreter is this service's own. Its standard library is found by asking it with `-I -S`,
   when nothing but that library can answer, and this very service runs on it.
2. The enclave runs with `-S`, too: no `site`, no `.pth` file, no `sitecustomize` adds to its path.
   The launching side names the folders to import from (the hardware does not care which), they are
   what is measured, and they are what the started interpreter is given, in this order.
3. `-B` and a cache prefix under /dev/null: bytecode is neither read nor written, so that the
   measured sources are what runs, and `__pycache__` needs no measuring.
4. `-I`: no environment variable, no user folder, not the working folder.
5. MRENCLAVE is the SHA-256 of the manifest: JSON in ASCII, keys sorted, no spaces. Files go by
   their names within their folder, so the same packages elsewhere measure the same.

As in SGX, attributes, product id and security version are not part of MRENCLAVE. What is launched
as a trust domain is measured in the same way: `sealserve.lab.launched` says where that shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sealserve.endorsements.collateral import Tee
from sealserve.errors import UsageError
from sealserve.lab.arguments import Arguments, normalize
from sealserve.lab.trees import MISSING, Digests, Seen

FORMAT = "sealserve lab manifest 1 (SIMULATED)"
ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {"HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "TZ": "UTC"}
)
BOOTSTRAP = """\
import sys
count = int(sys.argv[1])
sys.path += sys.argv[2 : 2 + count]
sys.argv[:] = ["sealserve", *sys.argv[2 + count :]]
from sealserve.cli import main
main()
"""
OPTIONS = ("-I", "-S", "-B", "-X", "pycache_prefix=/dev/null", "-c", BOOTSTRAP)
# Packages installed into the interpreter itself lie inside its standard library, but are imported
# only when that folder is named as one to import from, and then it is measured as such.
_PACKAGES_IN_STDLIB = frozenset(("site-packages", "dist-packages"))
_ASK_SECONDS = 30.0

Text = Annotated[str, Field(max_length=32 << 10, pattern=r"^[^\x00]*$")]


class EnclaveRequest(BaseModel):
    """An enclave that somebody wants launched: everything the launching side may choose."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    interpreter: Text
    """The interpreter that the launching side runs on; a check, not a choice."""
    import_path: Annotated[tuple[Text, ...], Field(min_length=1, max_length=64)]
    """Absolute folders to import from, in order, the standard library left out."""
    arguments: Annotated[tuple[Text, ...], Field(min_length=1, max_length=1024)]
    """A `sealserve` command line."""
    folder: Text
    """The absolute working folder."""
    tee: Tee = "SGX"
    """What the hardware says that it is: an enclave, or a trust domain."""
    debug: bool = False
    isv_prod_id: Annotated[int, Field(ge=0, lt=1 << 16)] = 0
    isv_svn: Annotated[int, Field(ge=0, lt=1 << 16)] = 0

    @model_validator(mode="after")
    def _has_what_its_kind_has(self) -> Self:
        if self.tee == "TDX" and (self.isv_prod_id or self.isv_svn):
            raise ValueError("product id and security version are an enclave's: a TD has neither")
        return self


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python interpreter and what decides what it is before any package is imported."""

    executable: Path
    runtime: tuple[Path, ...]
    """The executable, its library where it is a shared one, and the files that could move its
    standard library (which usually are not there)."""
    stdlib: tuple[Path, ...]

    @classmethod
    def own(cls) -> Interpreter:
        """The one that runs this process, whichever virtual environment it serves."""
        executable = Path("/proc/self/exe").readlink()
        prefix = executable.parent
        runtime = [executable, prefix / "pyvenv.cfg", prefix.parent / "pyvenv.cfg"]
        runtime += [prefix / "pybuilddir.txt"]
        if sysconfig.get_config_var("Py_ENABLE_SHARED"):
            library = sysconfig.get_config_var("INSTSONAME")
            runtime.append(Path(sysconfig.get_config_var("LIBDIR"), library))
        stdlib = tuple(map(Path, _ask_path(str(executable), "-I", "-S")))
        if Path(os.__file__).resolve().parent not in _resolved(stdlib):
            raise UsageError(
                f"{executable} has another standard library than this process", code="lab.python"
            )
        return cls(executable, tuple(runtime), stdlib)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured, and what runs accordingly."""

    manifest: bytes
    """The canonical JSON."""
    mr_enclave: bytes
    """Its SHA-256."""
    seen: Seen
    command: tuple[str, ...]
    """The process to start, with `ENVIRONMENT` and nothing else of the launching side's."""


def describe(
    arguments: Sequence[str],
    interpreter: Interpreter,
    *,
    code: Sequence[Path] = (),
    tee: Tee = "SGX",
    debug: bool = False,
    isv_prod_id: int = 0,
    isv_svn: int = 0,
) -> EnclaveRequest:
    """The enclave that would run `sealserve` with these arguments as this process does.

    It imports from the folders in `code`, then from where this process' Python does when it is
    isolated, and works in this process' folder. Raises UsageError.
    """
    stdlib = _resolved(interpreter.stdlib)
    ours = _ask_path(sys.executable, "-I")
    installed = [entry for entry in ours if Path(entry).resolve() not in stdlib]
    try:
        return EnclaveRequest(
            interpreter=str(interpreter.executable),
            import_path=(*(str(folder.resolve()) for folder in code), *installed),
            arguments=tuple(arguments),
            folder=str(Path.cwd()),
            tee=tee,
            debug=debug,
            isv_prod_id=isv_prod_id,
            isv_svn=isv_svn,
        )
    except ValidationError as error:
        problems = "; ".join(problem["msg"] for problem in error.errors())
        raise UsageError(f"no enclave can be launched so: {problems}") from None


def measure(request: EnclaveRequest, interpreter: Interpreter, digests: Digests) -> Measurement:
    """Measure the enclave that `request` describes.

    Raises UsageError: `lab.python` for another interpreter than ours, `lab.unmeasurable` for files
    that cannot be measured, `usage` for arguments that have no one form.
    """
    if request.interpreter != str(interpreter.executable):
        raise UsageError(
            f"the enclave is to run on {request.interpreter}, this hardware simulates "
            f"{interpreter.executable}",
            code="lab.python",
            hint="start `sealserve lab qe` with the same Python",
        )
    folders = [Path(request.folder), *map(Path, request.import_path)]
    if not all(folder.is_absolute() for folder in folders):
        raise UsageError("an enclave's folders must be absolute paths")
    arguments = normalize(request.arguments)
    runtime, runtime_seen = digests.measure(interpreter.runtime)
    stdlib, stdlib_seen = digests.measure(interpreter.stdlib, leave_out=_PACKAGES_IN_STDLIB)
    packages, packages_seen = digests.measure(folders[1:])
    measured, trusted_seen = _measure_arguments(arguments, folders[0], digests)
    manifest = {
        "format": FORMAT,
        "runtime": [tree[""] for tree in runtime],
        "options": OPTIONS,
        "stdlib": stdlib,
        "packages": packages,
        "arguments": measured,
        "environment": dict(ENVIRONMENT),
    }
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode("ascii")
    count = str(len(request.import_path))
    return Measurement(
        manifest=text,
        mr_enclave=hashlib.sha256(text).digest(),
        seen=runtime_seen | stdlib_seen | packages_seen | trusted_seen,
        command=(
            str(interpreter.executable),
            *OPTIONS,
            count,
            *request.import_path,
            *arguments.launched,
        ),
    )


def _measure_arguments(
    arguments: Arguments, folder: Path, digests: Digests
) -> tuple[list[str], Seen]:
    """The measured tokens, with the content of trusted files in place of their paths."""
    files = [folder / trusted.path for trusted in arguments.trusted_files]
    trees, seen = digests.measure(files)
    measured = list(arguments.measured)
    for trusted, tree in zip(arguments.trusted_files, trees, strict=True):
        digest = tree.get("", MISSING)
        if digest == MISSING:
            raise UsageError(
                f"{trusted.flag} names {trusted.path}, which is no file in {folder}",
                code="lab.unmeasurable",
                hint="the content of this file is part of the measurement",
            )
        measured[trusted.index] = f"{trusted.flag}=sha256:{digest}"
    return measured, seen


def _resolved(paths: Iterable[Path]) -> set[Path]:
    """Without symbolic links: a virtual environment may know its Python by another name."""
    return {path.resolve() for path in paths}


def _ask_path(executable: str, *options: str) -> list[str]:
    """`sys.path` of an interpreter started with these options."""
    program = "import sys; sys.stdout.write('\\0'.join(sys.path))"
    try:
        answer = subprocess.run(
            [executable, *options, "-B", "-c", program],
            env={},
            capture_output=True,
            timeout=_ASK_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"{executable} does not start: {error}", code="lab.python") from error
    return os.fsdecode(answer.stdout).split("\0")
