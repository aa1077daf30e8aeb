"""What runs as a trust domain on the lab's hardware: measured as an enclave is, quoted as a TD."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from sealserve.cli.lab import lab
from sealserve.evidence.quote import parse_quote
from sealserve.lab.folder import LabFolder
from sealserve.lab.launched import MR_TD, RTMRS
from sealserve.lab.measurement import EnclaveRequest, Interpreter, measure
from sealserve.lab.trees import Digests
from sealserve.lab.world import World
from sealserve.verifier import verify

DATA = b"what the trust domain binds".ljust(64, b".")

Launch = Callable[..., Any]
Describe = Callable[..., EnclaveRequest]


def test_it_gets_a_quote_that_verifies_and_says_what_was_measured(
    launch: Launch, service: LabFolder, describe_tiny: Describe, interpreter: Interpreter
) -> None:
    started = launch("--model_name=digits", tee="TDX")
    world = World.load(service.path)
    claims = verify(
        bytes.fromhex(started.tell(f"quote {DATA.hex()}")),
        world.collateral("TDX"),
        trust_root=world.root_ca_pem,
        now=datetime.now(UTC),
    )
    manifest = measure(describe_tiny("--model_name=digits"), interpreter, Digests()).manifest
    extended = hashlib.sha384(bytes(48) + hashlib.sha384(manifest).digest()).digest()
    assert claims.target.tee == "TDX"
    assert claims.target.mr_td == MR_TD
    assert claims.target.rtmrs == (*RTMRS, extended)
    assert claims.report_data == DATA
    assert claims.target.debug is False
    assert claims.simulated


def test_one_hardware_runs_enclaves_and_trust_domains_beside_each_other(launch: Launch) -> None:
    both = [launch(), launch(tee="TDX")]
    quotes = [parse_quote(bytes.fromhex(each.tell(f"quote {DATA.hex()}"))) for each in both]
    assert [quote.tee_type for quote in quotes] == [0, 0x81]


def test_a_changed_program_changes_rtmr3_and_nothing_else(launch: Launch, tiny: Path) -> None:
    def body(started: Any) -> Any:
        return parse_quote(bytes.fromhex(started.tell(f"quote {DATA.hex()}"))).body

    before = body(launch(tee="TDX"))
    with (tiny / "sealserve" / "cli.py").open("a") as stream:
        stream.write("\n")
    after = body(launch(tee="TDX"))
    assert (before.mr_td, before.rtmrs[:3]) == (after.mr_td, after.rtmrs[:3])
    assert before.rtmrs[3] != after.rtmrs[3]


def test_a_debug_trust_domain_cannot_hide_that_it_is_one(launch: Launch) -> None:
    started = launch(tee="TDX", debug=True)
    assert parse_quote(bytes.fromhex(started.tell(f"quote {DATA.hex()}"))).body.debug


def test_a_trust_domain_has_no_product_id(describe_tiny: Describe) -> None:
    request = describe_tiny().model_dump()
    with pytest.raises(ValidationError, match="a TD has neither"):
        EnclaveRequest.model_validate({**request, "tee": "TDX", "isv_svn": 1})


@pytest.mark.long
def test_measure_says_what_a_policy_has_to_name(service: LabFolder, tiny: Path) -> None:
    words = ["measure", str(service.path), "--tee", "tdx", "--code", str(tiny)]
    told = CliRunner().invoke(lab, [*words, "--json", "--", "tiny"])
    facts = json.loads(told.stdout)
    assert (facts["mr_td"], facts["rtmr1"]) == (MR_TD.hex(), RTMRS[1].hex())
    assert (facts["simulated"], facts["debug"]) == (True, False)
    shown = CliRunner().invoke(lab, [*words, "--", "tiny"])
    assert f"rtmr3:       {facts['rtmr3']}" in shown.stdout
    assert "SIMULATED" in shown.stderr
    refused = CliRunner().invoke(lab, [*words, "--isv-svn", "1", "--", "tiny"])
    assert refused.exit_code != 0
