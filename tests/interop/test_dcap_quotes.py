"""Real and synthetic DCAP quotes from the public corpus: parsing loses nothing."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from sealserve.errors import FormatError
from sealserve.evidence.quote import (
    BodyType,
    CertificationDataType,
    parse_quote,
    serialize_quote,
)
from sealserve.evidence.report import SgxReport
from sealserve.evidence.td_report import TdReport

PROJECT = Path(__file__).parents[2]
VECTORS = Path(os.environ.get("SEALSERVE_VECTORS", PROJECT.parent / "shared" / "vectors"))
DCAP = VECTORS / "dcap"

pytestmark = pytest.mark.skipif(
    not DCAP.is_dir(), reason=f"no DCAP vectors at {DCAP}: set SEALSERVE_VECTORS"
)


# What of the corpus is no quote, by its folder.
MALFORMED = {
    "neg-truncated--tdx-v5-2026-02": "quote.length",
    "neg-bad-vendor--tdx-v5-td-relaunch-advised": "quote.qe-vendor",
    "neg-bad-version--tdx-v5-td-relaunch-advised": "quote.version",
}


def quotes() -> list[tuple[str, bytes]]:
    """Folder and bytes of every quote."""
    found = [(path.parent.name, path.read_bytes()) for path in sorted(DCAP.glob("*/*/quote.bin"))]
    assert found
    return found


def readable() -> list[tuple[str, bytes]]:
    return [(name, data) for name, data in quotes() if name not in MALFORMED]


def bytes_of() -> list[bytes]:
    return [data for _, data in readable()]


def test_every_quote_serialises_to_the_bytes_it_came_from() -> None:
    for name, data in readable():
        assert serialize_quote(parse_quote(data)) == data, name


def test_every_kind_of_body_in_the_corpus_is_told_apart() -> None:
    kinds = {
        (quote.version, quote.body_type, type(quote.body)) for quote in map(parse_quote, bytes_of())
    }
    assert kinds == {
        (3, None, SgxReport),
        (4, None, SgxReport),
        (4, None, TdReport),
        (5, BodyType.SGX, SgxReport),
        (5, BodyType.TD_15, TdReport),
    }


def test_the_index_names_the_debug_enclaves_that_we_see() -> None:
    index = {
        entry["id"].rsplit("/", 1)[-1]: entry["expected"]
        for entry in json.loads((DCAP / "INDEX.json").read_text())
    }
    named = {name for name, _ in readable() if index[name].get("reason") == "DEBUG_ENCLAVE"}
    seen = {name for name, data in readable() if parse_quote(data).body.debug}
    assert named
    assert named <= seen


def test_certification_data_of_each_type_in_the_corpus_is_told_apart() -> None:
    kinds = Counter(parse_quote(data).certification_data_type for data in bytes_of())
    assert set(kinds) == {
        CertificationDataType.PCK_CHAIN,
        CertificationDataType.PPID_RSA_3072_ENCRYPTED,
    }


@pytest.mark.parametrize("name", MALFORMED, ids=lambda name: name.split("--")[0])
def test_a_malformed_quote_is_refused_with_its_code(name: str) -> None:
    (data,) = [data for found, data in quotes() if found == name]
    with pytest.raises(FormatError) as caught:
        parse_quote(data)
    assert caught.value.code == MALFORMED[name]
