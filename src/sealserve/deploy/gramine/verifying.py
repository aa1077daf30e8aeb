"""Whether somebody else's enclave is the one that a description gives: steps 1 to 5.

1. The SIGSTRUCT is whole: format and signature. Whether its signer is to be trusted is not asked.
2. The manifest is filled in with the paths of the machine that built, which the signed manifest
   says; every key must then be the description's, or Gramine's own default.
3. Every trusted file is here, is the same, and there is no other.
4. The SIGSTRUCT states the description's product, version and debug attribute.
5. Gramine's own program measures the signed manifest: MRENCLAVE must be the SIGSTRUCT's. Where it
   is not installed the measurement is not made, and that is another outcome than one that holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sealserve.appraisal.bounded_toml import read_toml
from sealserve.deploy.description.model import Description
from sealserve.deploy.gramine.comparing import (
    Difference,
    Kind,
    different_files,
    different_keys,
)
from sealserve.deploy.gramine.filling import BuildPaths, fill, paths_in
from sealserve.deploy.gramine.measuring import Measured, measure
from sealserve.deploy.gramine.render import render
from sealserve.deploy.gramine.schema import parse_version
from sealserve.deploy.gramine.signed import SignedManifest
from sealserve.deploy.gramine.trusted import Root, digest_of, trusted_files
from sealserve.evidence.sigstruct import Sigstruct

HASHES_LIBOS = (1, 8)
"""The first Gramine whose signed manifests hold the LibOS's hash beside its name."""


class Outcome(StrEnum):
    """What is known in the end."""

    REPRODUCED = "reproduced"
    DIFFERS = "differs"
    NOT_RECOMPUTED = "not-recomputed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`paths` are those of the machine that built; `measured` is None without Gramine."""

    outcome: Outcome
    differences: tuple[Difference, ...]
    paths: BuildPaths
    files: int
    measured: Measured | None


def verify_build(
    description: Description,
    signed: SignedManifest,
    stated: Sigstruct,
    root: Root,
    libpal: Path | None = None,
) -> Verdict:
    """Steps 2 to 5; `stated` has been checked. Raises what `measure` and `trusted_files` raise."""
    hashes_libos = parse_version(description.gramine.version) >= HASHES_LIBOS
    paths = paths_in(signed.document)
    expected = _expected(description, paths, root)
    here = trusted_files(expected["sgx"]["trusted_files"], root)
    found = [
        *different_keys(signed.document, expected, parse_version(description.gramine.version)),
        *(_libos(signed, paths, root) if hashes_libos else ()),
        *different_files(signed.files, here),
        *_statements(description, stated),
    ]
    measured = measure(signed.data, libpal)
    if measured is not None:
        found += _measurement(stated, measured)
    return Verdict(_outcome(found, measured), tuple(found), paths, len(here), measured)


def _expected(description: Description, paths: BuildPaths, root: Root) -> dict[str, Any]:
    rendered = render(description)
    template = rendered.files[rendered.manifest].decode()
    document = read_toml(fill(template, paths, root), "the filled template")
    if parse_version(description.gramine.version) >= HASHES_LIBOS:
        document["loader"]["entrypoint"] = {"uri": f"file:{paths.libos}"}
    return document


def _libos(signed: SignedManifest, paths: BuildPaths, root: Root) -> Iterator[Difference]:
    """Gramine's LibOS: from 1.8 on its hash stands beside its name, before it is a trusted file."""
    try:
        found = digest_of(root.find(paths.libos))
    except OSError:
        found = None
    files = {} if signed.libos_digest is None else {f"file:{paths.libos}": signed.libos_digest}
    yield from different_files(files, {f"file:{paths.libos}": found})


def _statements(description: Description, stated: Sigstruct) -> Iterator[Difference]:
    gramine = description.gramine
    for name, signed, here in (
        ("isv_prod_id", stated.isv_prod_id, gramine.product),
        ("isv_svn", stated.isv_svn, gramine.svn),
        ("debug", stated.debug, False),
    ):
        if signed != here:
            yield Difference(Kind.SIGSTRUCT, name, signed, here)


def _measurement(stated: Sigstruct, measured: Measured) -> Iterator[Difference]:
    here = measured.sigstruct
    if stated.mr_enclave != here.mr_enclave:
        yield Difference(
            Kind.MEASUREMENT, "mr_enclave", stated.mr_enclave.hex(), here.mr_enclave.hex()
        )
    for name in ("attributes", "attribute_mask", "misc_select", "misc_mask"):
        signed, ours = getattr(stated, name), getattr(here, name)
        if signed != ours:
            yield Difference(Kind.SIGSTRUCT, name, _shown(signed), _shown(ours))


def _shown(value: bytes | int) -> str | int:
    return value.hex() if isinstance(value, bytes) else value


def _outcome(found: list[Difference], measured: Measured | None) -> Outcome:
    if found:
        return Outcome.DIFFERS
    return Outcome.NOT_RECOMPUTED if measured is None else Outcome.REPRODUCED
