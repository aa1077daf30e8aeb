"""Our verifier over conformance vectors: in memory, and as they lie in a folder.

Source of the folder's form: `sealserve.lab.vectors.publishing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sealserve.endorsements.collateral import FILE_NAMES, ONE_FILE_LIMIT, PART_LIMIT, Collateral
from sealserve.errors import ConfigError, VerificationError
from sealserve.files import read_file
from sealserve.lab.vectors.case import Accepted, Evidence, Expected, Rejected
from sealserve.lab.vectors.manifest import parse_manifest
from sealserve.lab.vectors.publishing import MANIFEST, ONE_FILE, QUOTE, TRUST_ROOT
from sealserve.verifier import Code, verify
from sealserve.verifier.claims import DcapStanding

_MANIFEST_LIMIT = 64 << 10
_QUOTE_LIMIT = 1 << 20  # above the verifier's own, so that it is the one who objects


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one published vector."""

    id: str
    expected: Expected
    found: Expected
    """From the folder's files."""
    found_in_one_file: Expected | None
    """From its one-file form; None where it has none."""

    @property
    def agrees(self) -> bool:
        """Our verdict is the manifest's, in both forms."""
        return self.expected == self.found and self.found_in_one_file in (None, self.expected)


def judge(evidence: Evidence) -> Expected:
    """Our verifier's verdict."""
    try:
        claims = verify(
            evidence.quote,
            evidence.collateral,
            trust_root=evidence.trust_root,
            now=evidence.at,
        )
    except VerificationError as error:
        return Rejected(Code[error.code])
    standing = claims.standing
    assert isinstance(standing, DcapStanding)
    return Accepted(standing.tcb_status, standing.advisory_ids, claims.target.debug)


def replay(folder: Path) -> Iterator[Replayed]:
    """Every vector in `folder`, in order of their ids; raises ConfigError if there is none."""
    manifests = sorted(folder.glob(f"*/{MANIFEST}"))
    if not manifests:
        raise ConfigError(
            f"{folder} holds no conformance vectors", hint=f"sealserve lab vectors --out {folder}"
        )
    for manifest in manifests:
        yield _replay(manifest.parent)


def _replay(case: Path) -> Replayed:
    manifest = parse_manifest(read_file(case / MANIFEST, limit=_MANIFEST_LIMIT))
    quote = read_file(case / QUOTE, limit=_QUOTE_LIMIT)
    trust_root = read_file(case / TRUST_ROOT, limit=PART_LIMIT)
    files = {name: read_file(case / name, limit=PART_LIMIT) for name in FILE_NAMES.values()}
    evidence = Evidence(quote, Collateral.from_files(files), trust_root, manifest.at)
    one_file = case / ONE_FILE
    found_in_one_file = None
    if one_file.exists():
        text = read_file(one_file, limit=ONE_FILE_LIMIT)
        found_in_one_file = judge(
            Evidence(quote, Collateral.from_json(text), trust_root, manifest.at)
        )
    return Replayed(manifest.id, manifest.expected, judge(evidence), found_in_one_file)
