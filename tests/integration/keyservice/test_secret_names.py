"""Secrets by name: under the service's domain or in a request, allowed or not, there or not.

What nobody may have and what does not exist look the same to the asker, byte for byte; the record
tells them apart.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from key_site import Enclave, Site, start_service
from sealserve.attester.messages import ALPN, encode_request
from sealserve.attester.named import fetch_named
from sealserve.attester.protocol import REQUEST
from sealserve.attester.ratls import make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.errors import DeniedError, NetworkError
from sealserve.keyservice.administration.values import Target
from sealserve.sealing.record import ModelRecord, RecordedFile

DOMAIN = "keys.example.com"
NAMES = ("localhost", DOMAIN, f"*.{DOMAIN}")
DIGITS, LETTER = b"the key of the digits", b"the key of the letter"
RECORD = ModelRecord("letter", None, (RecordedFile("1/saved_model.pb", 7, bytes(32)),)).to_json()
RULE = 'secrets = ["letter", "gone-1", "taken1", "never1"]'
REFUSED = {
    "other1": "policy.secret",  # there, and for nobody here
    "nobody": "policy.secret",  # neither there nor granted
    "never1": "secret.unknown",
    "gone-1": "secret.retired",
    "taken1": "secret.revoked",
}
PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory, world) -> Site:
    """Two rules: `digits` for whoever names nothing, and some by name."""
    site = Site(
        tmp_path_factory.mktemp("names"),
        world,
        secret=DIGITS,
        top=f'key_domain = "{DOMAIN}"',
        names=NAMES,
    )
    with site.administration() as administration:
        administration.add_secret("letter", LETTER, RECORD)
        for name in ("other1", "gone-1", "taken1"):
            administration.add_secret(name, name.encode())
        administration.retire_secret("gone-1")
        administration.revoke(Target.parse("secret", "taken1"), "for a test")
    by_name = f'[[rules]]\nname = "by name"\nidentities = ["digits server 1.4"]\n{RULE}\n'
    site.apply(site.policy_text() + by_name)
    return site


@pytest.fixture(scope="module")
def running(site):
    with start_service(site) as service:
        yield service


def fetch(running, host="localhost", **options):
    return fetch_secret(
        running.servers,
        ca_file=running.site.ca_file,
        identity=running.site.identity(),
        server_name=host,
        timeout=30,
        **options,
    )


def ask(running, *names, identity=None, **options):
    return fetch_named(
        running.servers,
        names,
        ca_file=running.site.ca_file,
        identity=identity or running.site.identity(),
        timeout=30,
        **options,
    )


def last(site, count=1):
    return site.records()[-count:]


@pytest.mark.parametrize(
    ("host", "named", "value"),
    [
        pytest.param(f"letter.{DOMAIN}", "letter", LETTER, id="a name under the domain"),
        pytest.param(f"LETTER.{DOMAIN}".upper(), "letter", LETTER, id="in capitals"),
        pytest.param(f"digits.{DOMAIN}", "digits", DIGITS, id="the one that is for all, by name"),
        pytest.param(DOMAIN, None, DIGITS, id="the domain itself"),
        pytest.param("localhost", None, DIGITS, id="another host"),
    ],
)
def test_a_gramine_client_gets_the_secret_whose_name_it_connects_to(running, host, named, value):
    assert fetch(running, host) == value
    (record,) = last(running.site)
    assert (record["protocol"], record["asked_secret"]) == ("gramine", named)
    assert record["asked_for"] == host.lower()
    assert record["secret"] == ("letter" if value == LETTER else "digits")


def test_without_a_domain_in_the_configuration_host_names_name_no_secret(make_site):
    site = make_site(names=NAMES)
    with start_service(site) as running:
        assert fetch(running, f"letter.{DOMAIN}") == site.secret
    assert site.records()[0]["asked_secret"] is None


@pytest.mark.parametrize(("name", "code"), REFUSED.items())
def test_a_gramine_client_is_denied_what_is_not_for_it(running, name, code):
    with pytest.raises(DeniedError, match="without a secret"):
        fetch(running, f"{name}.{DOMAIN}")
    (record,) = last(running.site)
    assert (record["outcome"], record["code"], record["asked_secret"]) == ("denied", code, name)


def test_several_names_are_decided_each_for_itself_and_are_each_on_record(running):
    provision = ask(running, "letter", "digits", *REFUSED, required=("letter", "digits"))
    got = {
        name: [each.value for each in secret.versions] for name, secret in provision.secrets.items()
    }
    assert got == {"letter": [LETTER], "digits": [DIGITS]}
    assert provision.denied == tuple(REFUSED)
    assert provision.records == {"letter": RECORD}
    records = last(running.site, 2 + len(REFUSED))
    assert len({record["request_id"] for record in records}) == 1
    assert {record["asked_secret"]: record["code"] for record in records} == {
        "letter": "policy.allowed",
        "digits": "policy.allowed",
        **REFUSED,
    }
    assert {record["protocol"] for record in records} == {"sealserve/1"}


def test_the_names_in_a_request_count_and_not_the_host_name(running):
    provision = ask(running, "digits", server_name=f"letter.{DOMAIN}")
    assert list(provision.secrets) == ["digits"]
    (record,) = last(running.site)
    assert (record["asked_for"], record["asked_secret"]) == (f"letter.{DOMAIN}", "digits")


def test_the_asker_is_told_what_its_evidence_was_found_to_be(running):
    identity = running.site.identity()
    result = ask(running, "nobody", identity=identity, required=()).result
    (record,) = last(running.site)
    assert result is not None
    assert result["evidence_sha256"] == identity.evidence_digest == record["evidence_sha256"]
    assert result["policy_sha256"] == record["policy_sha256"]
    assert result["trust_root_sha256"] == record["trust_root_sha256"]
    assert (result["simulated"], result["tcb_status"]) == (True, "UpToDate")
    words = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
    (row,) = re.findall(r"^\| `result` \| .*: (.*); null", words, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(result)


@pytest.fixture
def stock(running, tmp_path):
    """What a stock TLS client of one enclave gets for some bytes: all of the answer."""
    identity = running.site.identity()
    certificate = x509.load_der_x509_certificate(identity.certificate_der)
    file = tmp_path / "client.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + identity.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

    def converse(message, *, host="localhost", protocol=None):
        context = ssl.create_default_context(cafile=running.site.ca_file)
        context.load_cert_chain(file)
        if protocol:
            context.set_alpn_protocols([protocol.decode()])
        with (
            socket.create_connection(("127.0.0.1", running.address.port), timeout=30) as stream,
            context.wrap_socket(stream, server_hostname=host, suppress_ragged_eofs=False) as tls,
        ):
            tls.sendall(message)
            return b"".join(iter(lambda: tls.recv(4096), b""))

    return converse


def test_what_is_not_there_and_what_is_not_allowed_look_the_same_in_bytes(stock):
    """The names here are of one length; what differs besides is when the evidence was verified."""
    answers = set()
    for name in REFUSED:
        answer = stock(encode_request([name]), protocol=ALPN)
        assert name.encode() in answer
        moment = re.search(rb'"verified_at": ?"([^"]+)"', answer)[1]
        answers.add(answer.replace(name.encode(), b"NAME").replace(moment, b"then"))
    assert len(answers) == 1


def test_in_gramines_protocol_both_are_nothing_and_a_clean_end(stock):
    assert {stock(REQUEST, host=f"{name}.{DOMAIN}") for name in REFUSED} == {b""}
    assert stock(REQUEST, host=f"letter.{DOMAIN}").endswith(LETTER)


def test_without_a_policy_everything_is_denied_in_both_protocols(make_site):
    site = make_site(policy=False)
    with start_service(site) as running:
        with pytest.raises(DeniedError):
            fetch(running)
        assert ask(running, "digits", "nobody", required=()).denied == ("digits", "nobody")
    records = site.records()
    assert {(record["outcome"], record["policy_sha256"]) for record in records} == {
        ("denied", None)
    }
    assert len(records) == 3


def test_records_have_every_field_of_the_documentation_and_no_other(running, enclave):
    """Of each outcome, and of changes."""
    site = running.site
    table = PAGE.partition("### The audit log")[2].partition("\nA `change` has")[0]
    rows = re.findall(r"^\| (`[^|]+`) \| .*\|$", table, re.MULTILINE)
    documented = set(re.findall(r"`(\w+)`", " ".join(rows)))
    fetch(running)
    with pytest.raises(DeniedError):
        ask(running, "nobody")
    stranger = make_certificate(Enclave(site.world, replace(site.report, mr_enclave=bytes(32))))
    with pytest.raises(DeniedError):
        ask(running, "letter", identity=stranger)
    tampered = make_certificate(Tampered(enclave(site.world)))
    with pytest.raises(DeniedError):
        ask(running, "letter", "digits", identity=tampered)
    collateral = site.folder / "lab" / "collateral" / "pck.crl"
    content = collateral.read_bytes()
    with start_service(site, site.write_config("fresh.toml", state="state-2")) as fresh:
        collateral.unlink()
        with pytest.raises(NetworkError):
            fetch(fresh)
        collateral.write_bytes(content)
    found = {record["outcome"]: record for record in site.records()}
    assert set(found) == {"released", "denied", "rejected", "failed"}
    for record in found.values():
        assert set(record) == documented
    for record in site.log("change"):
        assert {"kind", "time", "by", "role", "what", "revision", "request_id"} <= set(record)
        assert record["what"] in {
            "secret.add", "secret.retire", "revocation.add", "policy.apply",
        }  # fmt: skip
        assert record["by"].startswith("local:")
        assert not re.search(DIGITS.hex(), json.dumps(record))


class Tampered:
    """An evidence source whose quotes somebody altered."""

    def __init__(self, source) -> None:
        self.source = source

    def quote(self, report_data: bytes) -> bytes:
        quote = bytearray(self.source.quote(report_data))
        quote[48 + 64] ^= 1  # MRENCLAVE
        return bytes(quote)
