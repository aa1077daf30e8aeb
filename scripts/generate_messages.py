"""Write `src/sealserve/messages/*_pb2.py` and `*_pb2.pyi` from `proto/`; `make proto` runs it.

    generate_messages.py            write the files
    generate_messages.py --check    write nothing; exit 1 if the committed files differ

The compiler is that of grpcio-tools 1.76.0 (protobuf 6.31.1), neither newer nor older: generated
code runs on the runtime of its own major version and of the next one, so this one runs on
protobuf >=6.31.1,<8, which is what TensorFlow 2.21 can share a process with. It is not a dependency
of the project: where this interpreter lacks it, it is installed into an environment that is thrown
away afterwards.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMPILER = ("grpcio-tools", "1.76.0")

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
SOURCE = ROOT / "src"
ROOM = Path("sealserve/messages")


@contextmanager
def compiler() -> Iterator[str]:
    """The interpreter that has the wanted compiler: this one, or one for the moment."""
    name, version = COMPILER
    try:
        present = importlib.metadata.version(name) == version
    except importlib.metadata.PackageNotFoundError:
        present = False
    if present:
        yield sys.executable
        return
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", f"{name}=={version}"], check=True)
        yield python


def generate(python: str, target: Path) -> None:
    """Compile every `.proto` of the room into `target`."""
    sources = sorted(str(path.relative_to(PROTO)) for path in (PROTO / ROOM).glob("*.proto"))
    options = [f"--proto_path={PROTO}", f"--python_out={target}", f"--pyi_out={target}"]
    subprocess.run([python, "-m", "grpc_tools.protoc", *options, *sources], check=True)
    finish(target)


def generated(folder: Path) -> dict[str, bytes]:
    """The generated files of a folder, by name."""
    return {path.name: path.read_bytes() for path in (folder / ROOM).glob("*_pb2.py*")}


def finish(folder: Path) -> None:
    """End each file with one newline, and keep mypy's strict rules to what people write."""
    for path in (folder / ROOM).iterdir():
        head = "# mypy: ignore-errors\n" if path.suffix == ".pyi" else ""
        path.write_text(f"{head}{path.read_text().rstrip()}\n")


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description="Generate the protobuf messages.")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args().check

    with compiler() as python, tempfile.TemporaryDirectory() as folder:
        generate(python, Path(folder))
        wanted = generated(Path(folder))
    found = generated(SOURCE)
    differing = sorted(n for n in wanted | found if wanted.get(n) != found.get(n))

    if check:
        for name in differing:
            print(f"{ROOM / name}: differs from proto/; run `make proto`", file=sys.stderr)
        return 1 if differing else 0
    for name in differing:
        path = SOURCE / ROOM / name
        if name in wanted:
            path.write_bytes(wanted[name])
        else:
            path.unlink()
        print(f"{'wrote' if name in wanted else 'removed'} {ROOM / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
