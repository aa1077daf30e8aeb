"""Real and synthetic DCAP quotes from the public corpus: parsing loses nothing."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from sealserve.errors import FormatError
from sealserve.evidence.quote import CertificationDataType, parse_quote, serialize_quote

PROJECT = Path(__file__).parents[2]
VECTORS = Path(os.environ.get("SEALSERVE_VECTORS", PROJECT.parent / "shared" / "vectors"))
DCAP = VECTORS / "dcap"

pytestmark = pytest.mark.skipif(
    not DCAP.is_dir(), reason=f"no DCAP vectors at {DCAP}: set SEALSERVE_VECTORS"
)


def quotes(*versions: int) -> list[tuple[str, bytes]]:
    """Identifier and bytes of every quote of these versions."""
    found = []
    for path in sorted(DCAP.glob("*/*/quote.bin")):
        data = path.read_bytes()
        if int.from_bytes(data[:2], "little") in versions:
            found.append((path.parent.name, data))
    assert found
    return found


def test_every_version_3_quote_serialises_to_the_bytes_it_came_from() -> None:
    for name, data in quotes(3):
        assert serialize_quote(parse_quote(data)) == data, name


def test_the_index_names_the_debug_enclaves_that_we_see() -> None:
    index = {
        entry["id"].rsplit("/", 1)[-1]: entry["expected"]
        for entry in json.loads((DCAP / "INDEX.json").read_text())
    }
    named = {name for name, _ in quotes(3) if index[name].get("reason") == "DEBUG_ENCLAVE"}
    seen = {name for name, data in quotes(3) if parse_quote(data).body.debug}
    assert named
    assert named <= seen


def test_certification_data_of_each_type_in_the_corpus_is_told_apart() -> None:
    kinds = Counter(parse_quote(data).certification_data_type for _, data in quotes(3))
    assert set(kinds) == {
        CertificationDataType.PCK_CHAIN,
        CertificationDataType.PPID_RSA_3072_ENCRYPTED,
    }


def test_later_versions_are_refused_by_name() -> None:
    for name, data in quotes(4, 5, 6):
        with pytest.raises(FormatError) as caught:
            parse_quote(data)
        assert caught.value.code == "quote.version", name
