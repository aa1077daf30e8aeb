"""The whole path with Azure Attestation as the verifier, over real sockets on both sides."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from azure_instance import POLICY_HASH, signing_key
from azure_service import Answer, AzureService
from azure_service import running as azure_running
from sealserve.attester.ratls import make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.azure import instance, transport
from sealserve.cli import main
from sealserve.errors import ConfigError, DeniedError, NetworkError, VerificationError
from sealserve.evidence.ratls import extract_evidence
from sealserve.keyservice import application
from sealserve.keyservice.config import load_config
from sealserve.keyservice.verifiers import AzureVerifier
from sealserve.verifier import Code


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_FIRST_PAUSE", 0.001)


@pytest.fixture
def azure(world) -> Iterator[AzureService]:
    with azure_running(world) as service:
        yield service


@pytest.fixture
def asking(make_site, azure):
    """A site whose key service asks the instance, and whose policy accepts its tokens."""
    site = make_site(attestation=f'verifier = "maa"\nmaa_url = "{azure.url}"')
    accept(site, azure)
    return site


def accept(site, azure, *, issuer: str = "", policy_hash: str = POLICY_HASH) -> None:
    maa = f'[maa]\nissuers = ["{issuer or azure.url}"]\npolicy_hashes = ["{policy_hash}"]\n'
    site.apply(site.policy_text() + maa)


def fetch(running, identity) -> bytes:
    return fetch_secret(
        running.servers, ca_file=running.site.ca_file, identity=identity, timeout=30
    )


def refused(running, identity) -> dict:
    with pytest.raises(DeniedError, match="without a secret"):
        fetch(running, identity)
    (record,) = running.site.records()
    return record


@pytest.mark.parametrize(
    "options",
    [{"style": "both"}, {"key_type": "rsa3072", "style": "legacy"}],
    ids=["as new Gramine", "as old Gramine"],
)
def test_the_enclave_that_the_policy_names_gets_the_secret(asking, azure, start, options) -> None:
    identity = asking.identity(**options)
    with start(asking) as running:
        assert fetch(running, identity) == asking.secret
    (record,) = asking.records()
    assert (record["outcome"], record["code"]) == ("released", "policy.allowed")
    assert (record["verifier"], record["issuer"]) == ("maa", azure.url)
    assert (record["trust_root_sha256"], record["simulated"]) == (None, True)
    quote = extract_evidence(identity.certificate_der).quote
    assert record["evidence_sha256"] == hashlib.sha256(quote).hexdigest()
    claims = record["claims"]
    assert (claims["verifier"], claims["issuer"]) == ("maa", azure.url)
    assert claims["policy_hash"] == POLICY_HASH
    assert claims["mr_enclave"] == asking.report.mr_enclave.hex()
    assert azure.asked == ["/attest/SgxEnclave", "/certs"]


def test_an_instance_of_microsofts_is_asked_about_nothing_that_is_not_under_intels_root(
    asking,
) -> None:
    """The lab's quote is refused here: the name below has no instance that could answer."""
    evidence = extract_evidence(asking.identity().certificate_der)
    verifier = AzureVerifier(instance("https://nobody.weu.attest.azure.net"))
    with pytest.raises(VerificationError) as caught:
        asyncio.run(verifier.claims(evidence, timedelta()))
    assert caught.value.code == Code.PCK_CHAIN


def test_without_maa_in_the_policy_no_token_is_good_enough(asking, start) -> None:
    asking.write_policy()
    with start(asking) as running:
        record = refused(running, asking.identity())
    assert (record["outcome"], record["code"]) == ("denied", "policy.maa")
    assert record["claims"]["verifier"] == "maa"


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ({"issuer": "https://other.weu.attest.azure.net"}, "policy.maa-issuer"),
        ({"policy_hash": "A" * 43}, "policy.maa-policy"),
    ],
    ids=["another issuer", "another policy of the instance"],
)
def test_only_what_the_policy_names_is_believed(asking, azure, start, named, code) -> None:
    accept(asking, azure, **named)
    with start(asking) as running:
        record = refused(running, asking.identity())
    assert (record["outcome"], record["code"]) == ("denied", code)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mr_enclave": bytes(32)}, "policy.measurement"),
        ({"attributes": bytes.fromhex("0700000000000000e700000000000000")}, "policy.debug"),
    ],
    ids=["other code", "a debug enclave, which the instance lets pass"],
)
def test_our_own_policy_judges_what_the_instance_let_pass(
    asking, start, enclave, changes, code
) -> None:
    source = enclave(asking.world, replace(asking.report, **changes))
    with start(asking) as running:
        record = refused(running, make_certificate(source))
    assert (record["outcome"], record["code"]) == ("denied", code)


@dataclass(frozen=True)
class Stolen:
    """An evidence source that has one quote, whatever is asked for."""

    stolen: bytes

    def quote(self, report_data: bytes) -> bytes:
        return self.stolen


@pytest.mark.parametrize("style", ["both", "legacy"])
def test_a_genuine_quote_in_anothers_certificate_is_not_even_sent(
    asking, azure, start, style
) -> None:
    victim = extract_evidence(asking.identity(style=style).certificate_der)
    thief = make_certificate(Stolen(victim.quote), style=style)
    with start(asking) as running:
        record = refused(running, thief)
    assert (record["outcome"], record["code"]) == ("rejected", "binding.report-data")
    assert not azure.asked


def test_a_quote_that_the_instance_refuses_is_rejected(asking, start, enclave) -> None:
    class Tampered:
        def quote(self, report_data: bytes) -> bytes:
            quote = bytearray(enclave(asking.world).quote(report_data))
            quote[48 + 64] ^= 1  # MRENCLAVE
            return bytes(quote)

    with start(asking) as running:
        record = refused(running, make_certificate(Tampered()))
    assert (record["outcome"], record["code"]) == ("rejected", "MAA_REFUSED")


def test_a_token_by_a_key_of_somebody_elses_is_rejected(asking, azure, start) -> None:
    good = azure.instance.keys[0]
    forger = signing_key(azure.url, azure.instance.now)
    azure.instance.keys = [replace(good, key=forger.key)]
    with start(asking) as running:
        record = refused(running, asking.identity())
    assert (record["outcome"], record["code"]) == ("rejected", "MAA_SIGNATURE")
    assert record["claims"] is None


def test_an_outage_of_the_instance_releases_nothing_and_decides_nothing(
    asking, azure, start
) -> None:
    azure.spoil = lambda path, count, answer: Answer(503)
    with start(asking) as running:
        with pytest.raises(NetworkError):
            fetch(running, asking.identity())
        (record,) = asking.records()
        assert (record["outcome"], record["code"]) == ("failed", "remote-verifier")
        azure.spoil = lambda path, count, answer: answer
        assert fetch(running, asking.identity()) == asking.secret


def test_what_is_kept_of_the_instance_is_asked_anew_when_the_operator_says_so(
    asking, azure, start
) -> None:
    with start(asking) as running:
        fetch(running, asking.identity())
        fetch(running, asking.identity())
        assert azure.asked.count("/certs") == 1
        running.verifier.renew()  # as SIGHUP does
        fetch(running, asking.identity())
        assert azure.asked.count("/certs") == 2


def test_the_operator_is_told_who_verifies(asking, azure, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["keyservice", "check", "--config", str(asking.config), "--json"])
    assert not ended.value.code
    facts = json.loads(capsys.readouterr().out)
    assert (facts["verifier"], facts["issuer"], facts["simulated"]) == ("maa", azure.url, True)
    assert "trust_root" not in facts
    assert not azure.asked


def test_microsofts_instances_take_no_private_authority(asking) -> None:
    text = asking.config.read_text()
    url = 'maa_url = "https://a.weu.attest.azure.net"\nmaa_ca = "ca.pem"\n[limits]'
    lines = [line for line in text.splitlines() if not line.startswith("maa_url")]
    asking.config.write_text("\n".join(lines).replace("[limits]", url))
    with pytest.raises(ConfigError, match="Microsoft's"):
        application.load(load_config(asking.config))
