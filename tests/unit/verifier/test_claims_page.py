"""docs/claims.md describes the claims that there are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from sealserve.verifier.claims import AzureStanding, DcapStanding, SgxEnclave, TrustDomain

PAGE = (Path(__file__).parents[3] / "docs" / "claims.md").read_text()


def described(section: str) -> set[str]:
    """The claims in the first column of the tables under a heading."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    cells = (line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def names(*kinds: type) -> set[str]:
    return {field.name for kind in kinds for field in fields(kind)}


def test_the_page_describes_every_claim_and_no_other() -> None:
    assert described("An SGX enclave") == names(SgxEnclave)
    assert described("A TDX trust domain") == names(TrustDomain) | {"debug"}
    assert described("The platform's standing, by our own verifier") == names(DcapStanding)
    assert described("The platform's standing, by Azure Attestation") == names(AzureStanding)
