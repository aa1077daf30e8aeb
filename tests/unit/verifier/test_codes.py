"""The codes are stable: their spelling, their steps, and the table that explains them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sealserve.appraisal import PolicyCode
from sealserve.errors import FormatError, VerificationError
from sealserve.verifier import Code
from sealserve.verifier.codes import rejecting

DOCS = Path(__file__).parents[3] / "docs"


def rows(document: str) -> list[list[str]]:
    """The rows of the document's tables whose first cell is a code."""
    text = (DOCS / document).read_text()
    lines = re.findall(r"^\| `([A-Za-z0-9_.-]+)` \|(.*)\|$", text, re.MULTILINE)
    return [[code, *(cell.strip() for cell in cells.split("|"))] for code, cells in lines]


def test_every_code_is_in_the_table_with_its_step() -> None:
    table = {row[0]: row[1] for row in rows("verifier.md") if len(row) == 4}
    assert table == {code.value: str(code.step or "–") for code in Code}


def test_every_code_has_a_cause_and_a_cure() -> None:
    for code, _, cause, cure in (row for row in rows("verifier.md") if len(row) == 4):
        assert len(cause.split()) > 3, code
        assert len(cure.split()) > 1, code


def test_every_policy_code_is_in_the_reference() -> None:
    found = [row[0] for row in rows("policy-reference.md") if row[0].startswith("policy.")]
    assert found == [code.value for code in PolicyCode]


def test_a_code_is_its_own_name() -> None:
    assert all(code.value == code.name for code in Code)
    assert all(0 <= code.step <= 7 for code in Code)


def test_bytes_that_are_malformed_are_rejected_with_the_code_of_their_check() -> None:
    with pytest.raises(VerificationError) as caught, rejecting(Code.CRL_FORMAT):
        raise FormatError("why", hint="what to do")
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        Code.CRL_FORMAT,
        "why",
        "what to do",
    )
