"""The public DCAP corpus, as values: each vector's evidence, collateral, time and expected verdict.

The vectors were collected from other projects (real quotes, mutations of them, Intel's own PKI
tests, and a synthetic PKI). They are other people's, so they are read from where they lie and are
not part of this repository: SEALSERVE_VECTORS names the folder. pytest has this one on its path
(`pythonpath` in pyproject.toml), so that every test that wants the corpus reads it the same way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sealserve.endorsements.collateral import FILE_NAMES, Collateral
from sealserve.verifier import INTEL_SGX_ROOT_CA

PROJECT = Path(__file__).parents[2]
VECTORS = Path(os.environ.get("SEALSERVE_VECTORS", PROJECT.parent / "shared" / "vectors")) / "dcap"
QUOTE_KINDS = ("quote", "mutation", "synthetic")


@dataclass(frozen=True)
class Vector:
    """One vector; its files are read when they are wanted."""

    name: str
    """Source and folder, such as `oasis-core/sgx-v3-2022-12-nocrl`."""
    kind: str
    manifest: dict[str, Any]

    @property
    def folder(self) -> Path:
        return VECTORS / self.name

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.manifest["eval_time"], UTC)

    @property
    def expected(self) -> dict[str, Any]:
        return self.manifest["expected"]

    @property
    def trust_root(self) -> bytes:
        name = self.manifest["trust_root"]
        return self.file(name) if name.startswith("trusted_root") else INTEL_SGX_ROOT_CA

    @property
    def quote(self) -> bytes:
        return self.file("quote.bin")

    @property
    def collateral(self) -> Collateral:
        """The vector's collateral; a part that it lacks is empty, as if nobody had sent it."""
        files = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        return Collateral.from_files({**dict.fromkeys(FILE_NAMES.values(), b""), **files})

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@cache
def vectors() -> tuple[Vector, ...]:
    """All of them, in the order of the index; none where the corpus is absent."""
    if not VECTORS.is_dir():
        return ()
    rows = json.loads((VECTORS / "INDEX.json").read_text())
    names = [row["id"].removeprefix("open/") for row in rows]
    manifests = [json.loads((VECTORS / name / "manifest.json").read_text()) for name in names]
    return tuple(
        Vector(name, row["kind"], manifest)
        for name, row, manifest in zip(names, rows, manifests, strict=True)
    )


def parameters(chosen: Iterable[Vector]) -> list[Any]:
    """For `parametrize`: the vectors, or one skip that says that they are absent."""
    found = [pytest.param(vector, id=vector.name.replace("/", "-")) for vector in chosen]
    missing = pytest.mark.skip(f"no DCAP vectors in {VECTORS}; see SEALSERVE_VECTORS")
    return found or [pytest.param(None, marks=missing, id="absent")]
