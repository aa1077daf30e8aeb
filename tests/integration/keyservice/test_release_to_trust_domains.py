"""A TDX trust domain gets the secret as an enclave does: evidence as configfs-tsm gives it.

Everything is real but the hardware: `tsm_stand_in` plays the kernel, the lab the TDX module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from key_site import Site
from sealserve.attester.named import fetch_named
from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.errors import DeniedError
from sealserve.keyservice.deciding import measurement
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World
from sealserve.verifier import verify
from tsm_stand_in import StandIn

RTMRS = (b"0" * 48, b"1" * 48, b"2" * 48, b"3" * 48)
DOMAIN = TrustDomainIdentity(b"d" * 48, RTMRS)
OTHER = replace(DOMAIN, rtmrs=(*RTMRS[:3], b"4" * 48))
COLLATERAL = 'trust_root = "lab/root_ca.pem"\ncollateral_dir = "lab/tdx-collateral"'

Attest = Callable[..., RatlsIdentity]


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    made = make_site(attestation=COLLATERAL)
    rtmrs = "".join(
        f'rtmr{number} = ["{value.hex()}"]\n' for number, value in enumerate(DOMAIN.rtmrs)
    )
    made.write_policy(f'tee = "TDX"\nmr_td = ["{DOMAIN.mr_td.hex()}"]\n{rtmrs}')
    return made


@pytest.fixture
def attest(tmp_path: Path, world: World) -> Attest:
    """A certificate of a trust domain, with a quote of version 4 or 5."""

    def attest(domain: TrustDomainIdentity = DOMAIN, version: int = 4) -> RatlsIdentity:
        def quote(data: bytes) -> bytes:
            report = domain.report(data) if version == 4 else domain.report_15(data)
            return world.td_quote(report, version)

        return make_certificate(StandIn(tmp_path, quote))

    return attest


@pytest.mark.parametrize("version", [4, 5])
def test_the_trust_domain_that_the_policy_names_gets_the_secret(
    site: Site, start: Any, attest: Attest, version: int
) -> None:
    with start(site) as running:
        identity = attest(version=version)
        found = fetch_secret(running.servers, identity=identity, ca_file=site.ca_file, timeout=30)
    assert found == site.secret
    (record,) = site.records()
    assert (record["outcome"], record["simulated"]) == ("released", True)
    assert record["evidence_sha256"] == identity.evidence_digest
    assert record["claims"]["tee"] == "TDX"
    assert record["claims"]["rtmrs"] == [value.hex() for value in RTMRS]


def test_it_may_ask_by_name(site: Site, start: Any, attest: Attest) -> None:
    with start(site) as running:
        found = fetch_named(
            running.servers, ["digits"], identity=attest(), ca_file=site.ca_file, timeout=30
        )
    assert found.secrets["digits"].versions[0].value == site.secret


DENIED = {
    "another-program": (OTHER, "policy.rtmr3"),
    "another-firmware": (replace(DOMAIN, mr_td=b"e" * 48), "policy.mr-td"),
    "debug": (replace(DOMAIN, debug=True), "policy.debug"),
    "a-configuration-nobody-named": (
        replace(DOMAIN, mr_config_id=b"c" * 48),
        "policy.mr-config-id",
    ),
}


@pytest.mark.parametrize("case", DENIED)
def test_another_trust_domain_is_denied_and_the_record_says_why(
    site: Site, start: Any, attest: Attest, case: str
) -> None:
    domain, code = DENIED[case]
    with start(site) as running, pytest.raises(DeniedError, match="without a secret"):
        fetch_secret(running.servers, identity=attest(domain), ca_file=site.ca_file, timeout=30)
    (record,) = site.records()
    assert (record["outcome"], record["code"]) == ("denied", code)


def test_programs_in_one_firmware_are_builds_of_their_own(world: World) -> None:
    """Else whoever rents from the same cloud would use up what one build may ask."""

    def build(domain: TrustDomainIdentity) -> str:
        quote = world.td_quote(domain.report(bytes(64)))
        now = datetime.now(UTC)
        collateral = world.collateral("TDX")
        return measurement(verify(quote, collateral, trust_root=world.root_ca_pem, now=now))

    assert build(DOMAIN) != build(OTHER)
