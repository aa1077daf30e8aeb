"""The lab's conformance vectors on another verifier, `dcap-qvl`: every difference is explained.

Either the vector itself grants latitude, or the difference is in the table of
docs/conformance-vectors.md, which this test reads and of which no row may be idle.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sealserve.errors import VerificationError
from sealserve.lab.vectors.case import Accepted, Case, Evidence
from sealserve.lab.vectors.catalogue import all_cases
from sealserve.lab.vectors.publishing import collateral_json
from sealserve.verifier import load_trust_root

pytestmark = pytest.mark.interop

PAGE = (Path(__file__).parents[2] / "docs" / "conformance-vectors.md").read_text()
ROW = re.compile(r"^\| `(.+)` \| (accept|reject) \| .+ \|$", re.MULTILINE)


def theirs(evidence: Evidence) -> str | None:
    """Its verdict, with status and advisories; None where it cannot be asked."""
    import dcap_qvl

    one_file = collateral_json(evidence.collateral)
    if one_file is None:
        return None
    try:
        root = load_trust_root(evidence.trust_root).certificate.der
    except VerificationError:
        return None
    parts = json.loads(one_file)
    for name in ("tcb_info_signature", "qe_identity_signature", "pck_crl", "root_ca_crl"):
        parts[name] = bytes.fromhex(parts[name])
    collateral = dcap_qvl.QuoteCollateralV3(**parts)
    try:
        report = dcap_qvl.verify_with_root_ca(
            evidence.quote, collateral, root, int(evidence.at.timestamp())
        )
    except ValueError:
        return "reject"
    return f"accept {report.status} {sorted(report.advisory_ids)}"


def expected(case: Case) -> str:
    if isinstance(case.expected, Accepted):
        return f"accept {case.expected.tcb_status} {list(case.expected.advisory_ids)}"
    return "reject"


@pytest.fixture(scope="module")
def differences() -> dict[str, str]:
    """What it says of vectors without latitude, where it says something else."""
    asked = {case.id: (case, theirs(case.evidence)) for case in all_cases()}
    assert sum(found is not None for _, found in asked.values()) > 1200
    return {
        id: found
        for id, (case, found) in asked.items()
        if found not in (None, expected(case)) and case.latitude is None
    }


def test_it_differs_where_the_page_says_and_nowhere_else(differences: dict[str, str]) -> None:
    rows = [(pattern.replace("\\|", "|"), verdict) for pattern, verdict in ROW.findall(PAGE)]
    unexplained = [
        (id, found)
        for id, found in differences.items()
        if not any(re.fullmatch(p, id) and found.startswith(v) for p, v in rows)
    ]
    assert unexplained == []
    idle = [p for p, _ in rows if not any(re.fullmatch(p, id) for id in differences)]
    assert idle == []


def test_it_agrees_about_most_of_them(differences: dict[str, str]) -> None:
    assert len(differences) < 100


def test_the_page_names_the_version_that_was_asked() -> None:
    import dcap_qvl

    assert f"dcap-qvl {dcap_qvl.__version__}" in PAGE
