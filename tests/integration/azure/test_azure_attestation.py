"""The client of Azure Attestation against an instance that is right, or wrong in many ways."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from azure_instance import signing_key
from azure_service import Answer, AzureService, running
from sealserve.azure import AzureAttestation, instance, transport
from sealserve.deploy.certificates import Validity, make_authority, make_server
from sealserve.errors import ConfigError, RemoteVerifierError, VerificationError
from sealserve.files import write_file
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World
from sealserve.verifier.claims import Claims, SgxEnclave, TrustDomain
from sealserve.verifier.maa import TOKEN_LIMIT
from sealserve.verifier.maa_codes import MaaCode
from sealserve.verifier.maa_keys import KEYS_LIMIT

WORLD = World.create(now=datetime.now(UTC))
DATA = b"a public key"
REPORT_DATA = sha256(DATA).digest() + bytes(32)
ENCLAVE = EnclaveIdentity(b"e" * 32, b"s" * 32)
QUOTE = WORLD.quote(ENCLAVE.report(REPORT_DATA))


@pytest.fixture
def service() -> Iterator[AzureService]:
    with running(WORLD) as made:
        yield made


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_FIRST_PAUSE", 0.001)


def client(service: AzureService, *, timeout: float = 20.0, **options) -> AzureAttestation:
    return AzureAttestation(instance(service.url, timeout=timeout), **options)


def claims(
    service: AzureService, quote: bytes = QUOTE, *, data: bytes = DATA, timeout: float = 20.0
) -> Claims:
    return asyncio.run(client(service, timeout=timeout).claims(quote, data))


def only(path: str, change: Callable[[Answer], Answer]) -> Callable:
    return lambda asked, count, answer: change(answer) if asked == path else answer


def test_an_enclaves_quote_becomes_claims_by_the_instances_token(service: AzureService) -> None:
    found = claims(service)
    assert isinstance(found.target, SgxEnclave)
    assert (found.target.mr_enclave, found.report_data) == (b"e" * 32, REPORT_DATA)
    assert (found.standing.verifier, found.standing.issuer) == ("maa", service.url)
    assert found.simulated
    assert service.asked == ["/attest/SgxEnclave", "/certs"]


@pytest.mark.parametrize("version", [4, 5])
def test_a_trust_domains_quote_becomes_claims(service: AzureService, version: int) -> None:
    quote = WORLD.td_quote(TrustDomainIdentity(b"t" * 48).report(REPORT_DATA), version)
    found = claims(service, quote)
    assert isinstance(found.target, TrustDomain)
    assert found.target.mr_td == b"t" * 48
    assert service.asked == ["/attest/TdxVm", "/certs"]


def test_bytes_after_the_quote_are_not_sent(service: AzureService) -> None:
    assert claims(service, QUOTE + bytes(50)).report_data == REPORT_DATA


def test_keys_are_fetched_once_and_every_question_has_its_own_nonce(
    service: AzureService,
) -> None:
    async def ask_often() -> None:
        asking = client(service)
        await asyncio.gather(*(asking.claims(QUOTE, DATA) for _ in range(5)))
        await asking.claims(QUOTE, DATA)

    asyncio.run(ask_often())
    assert service.asked.count("/certs") == 1
    assert len(set(service.nonces)) == 6
    assert all(len(nonce) == 43 for nonce in service.nonces)


def test_keys_are_fetched_again_when_they_are_old_or_forgotten(service: AzureService) -> None:
    async def ask_twice(asking: AzureAttestation, *, forget: bool) -> None:
        await asking.claims(QUOTE, DATA)
        if forget:
            asking.forget()
        await asking.claims(QUOTE, DATA)

    asyncio.run(ask_twice(client(service, keys_max_age=timedelta()), forget=False))
    assert service.asked.count("/certs") == 2
    asyncio.run(ask_twice(client(service), forget=True))
    assert service.asked.count("/certs") == 4


def test_a_key_that_is_new_is_looked_for_once_more(service: AzureService) -> None:
    async def roll_over() -> Claims:
        asking = client(service)
        await asking.claims(QUOTE, DATA)
        service.instance.keys = [signing_key(service.url, service.instance.now)]
        return await asking.claims(QUOTE, DATA)

    assert asyncio.run(roll_over()).report_data == REPORT_DATA
    assert service.asked.count("/certs") == 2


def test_a_key_that_the_instance_does_not_list_ends_it(service: AzureService) -> None:
    service.instance.header = {"kid": "nobody"}
    with pytest.raises(VerificationError) as error:
        claims(service)
    assert error.value.code == MaaCode.KEY_UNKNOWN
    assert service.asked.count("/certs") == 1  # they were fetched for this very token


def test_a_token_for_an_earlier_question_is_no_answer(service: AzureService) -> None:
    service.instance.claims = {"nonce": "an earlier question's"}
    with pytest.raises(VerificationError) as error:
        claims(service)
    assert error.value.code == MaaCode.NONCE


def test_a_quote_that_the_instance_refuses_is_rejected_with_its_words(
    service: AzureService,
) -> None:
    tampered = bytearray(QUOTE)
    tampered[48 + 64] ^= 1  # MRENCLAVE
    with pytest.raises(VerificationError) as error:
        claims(service, bytes(tampered))
    assert error.value.code == MaaCode.REFUSED
    assert "InvalidParameter: the quote does not verify" in error.value.message


REFUSALS = {
    "no json": (b"<html>", "it does not say why"),
    "no error": (b"{}", "it does not say why"),
    "control characters": (
        json.dumps({"error": {"code": "\x1b[31mA", "message": "b\nc" * 200}}).encode(),
        " [31mA: b cb cb c",
    ),
}


@pytest.mark.parametrize(("body", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_of_any_form_is_a_refusal(service: AzureService, body: bytes, words: str) -> None:
    service.spoil = only("/attest/SgxEnclave", lambda answer: Answer(400, body))
    with pytest.raises(VerificationError) as error:
        claims(service)
    assert error.value.code == MaaCode.REFUSED
    assert words in error.value.message
    assert error.value.message.isprintable()
    assert len(error.value.message) < 400


def test_data_that_the_quote_does_not_bind_are_never_sent(service: AzureService) -> None:
    with pytest.raises(VerificationError) as error:
        claims(service, data=b"another key")
    assert error.value.code == MaaCode.RUNTIME_DATA
    assert not service.asked


PATHS = ["/attest/SgxEnclave", "/certs"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_instance_that_is_busy_is_asked_again(
    service: AzureService, path: str, status: int
) -> None:
    service.spoil = lambda asked, count, answer: (
        Answer(status) if asked == path and count < 4 else answer
    )
    assert claims(service).report_data == REPORT_DATA
    assert service.asked.count(path) == 4


@pytest.mark.parametrize("path", PATHS)
def test_an_instance_that_stays_busy_is_given_up(service: AzureService, path: str) -> None:
    service.spoil = only(path, lambda answer: Answer(503))
    with pytest.raises(RemoteVerifierError, match="HTTP 503"):
        claims(service)
    assert service.asked.count(path) == 4


@pytest.mark.parametrize("path", PATHS)
def test_an_instance_that_wants_more_time_than_there_is_is_given_up_at_once(
    service: AzureService, path: str
) -> None:
    service.spoil = only(path, lambda answer: Answer(429, headers={"Retry-After": "3600"}))
    with pytest.raises(RemoteVerifierError, match="HTTP 429, and to wait 3600 seconds"):
        claims(service)
    assert service.asked.count(path) == 1


FAULTS = {
    "not found": (Answer(404), "HTTP 404"),
    "a login": (Answer(401), "HTTP 401"),
    "a redirect": (Answer(302, headers={"Location": "/elsewhere"}), "HTTP 302"),
    "compressed": (Answer(headers={"Content-Encoding": "gzip"}), "compressed"),
    "cut short": (
        Answer(body=b"{", headers={"Content-Length": "9", "Connection": "close"}),
        "cannot reach",
    ),
    "longer than said": (Answer(body=b"{}", headers={"Content-Length": "-1"}), "cannot reach"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("answer", "words"), FAULTS.values(), ids=FAULTS)
def test_an_answer_that_is_none_is_no_decision(
    service: AzureService, path: str, answer: Answer, words: str
) -> None:
    service.spoil = only(path, lambda _: replace(answer))
    with pytest.raises(RemoteVerifierError, match=words):
        claims(service)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"token": 1}'])
def test_an_answer_without_a_token_is_no_decision(service: AzureService, body: bytes) -> None:
    service.spoil = only("/attest/SgxEnclave", lambda answer: Answer(body=body))
    with pytest.raises(RemoteVerifierError):
        claims(service)


@pytest.mark.parametrize(
    ("path", "size"), [("/attest/SgxEnclave", TOKEN_LIMIT + 1025), ("/certs", KEYS_LIMIT + 1)]
)
def test_an_answer_beyond_its_limit_is_not_read(
    service: AzureService, path: str, size: int
) -> None:
    service.spoil = only(path, lambda answer: Answer(body=b" " * size))
    with pytest.raises(RemoteVerifierError, match="exceeds"):
        claims(service)


def test_keys_that_are_no_keys_are_rejected(service: AzureService) -> None:
    service.spoil = only("/certs", lambda answer: Answer(body=b"<html>"))
    with pytest.raises(VerificationError) as error:
        claims(service)
    assert error.value.code == MaaCode.KEYS_FORMAT


@pytest.mark.parametrize("path", PATHS)
def test_silence_ends_with_the_deadline(service: AzureService, path: str) -> None:
    service.spoil = only(path, lambda answer: Answer(body=None))
    with pytest.raises(RemoteVerifierError, match=r"within 0\.3 seconds"):
        claims(service, timeout=0.3)


def test_nobody_listening_is_no_decision() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    asking = AzureAttestation(instance(f"http://127.0.0.1:{port}"))
    with pytest.raises(RemoteVerifierError, match="cannot reach"):
        asyncio.run(asking.claims(QUOTE, DATA))


@pytest.fixture
def private(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A private authority's certificate, and a server's TLS by it."""
    validity = Validity(datetime.now(UTC), 2)
    authority = make_authority(validity)
    server = make_server(["localhost"], validity, issuer=authority, key_type="p256")
    write_file(tmp_path / "ca.pem", authority.certificate_pem)
    write_file(tmp_path / "server.pem", server.certificate_pem)
    write_file(tmp_path / "server.key", server.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    return tmp_path / "ca.pem", context


def test_a_private_service_is_trusted_by_the_authority_that_is_named(private) -> None:
    ca_file, tls = private
    with running(WORLD, tls=tls, host="localhost") as service:
        asking = AzureAttestation(instance(service.url, ca_file=ca_file))
        assert asyncio.run(asking.claims(QUOTE, DATA)).standing.issuer == service.url


def test_a_service_that_no_authority_vouches_for_is_not_asked(private) -> None:
    _, tls = private
    with running(WORLD, tls=tls, host="localhost") as service:
        with pytest.raises(RemoteVerifierError, match="CERTIFICATE_VERIFY_FAILED") as error:
            asyncio.run(AzureAttestation(instance(service.url)).claims(QUOTE, DATA))
        assert "maa_ca" in error.value.hint
        assert not service.asked


URLS = {
    "plain http": "http://sealserve.weu.attest.azure.net",
    "another scheme": "ftp://127.0.0.1",
    "no scheme": "sealserve.weu.attest.azure.net",
    "a path": "https://sealserve.weu.attest.azure.net/attest",
    "a query": "https://sealserve.weu.attest.azure.net/?a=b",
    "a fragment": "https://sealserve.weu.attest.azure.net/#a",
    "a user": "https://me:secret@sealserve.weu.attest.azure.net",
    "no host": "https://",
    "a bad port": "https://sealserve.weu.attest.azure.net:port",
    "too long": f"https://{'a' * 600}.attest.azure.net",
}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_what_is_no_instances_url_is_a_fault_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        instance(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    ["https://A.weu.attest.azure.net", "https://a.weu.attest.azure.net:443/"],
)
def test_an_instances_name_is_written_in_one_way(url: str) -> None:
    assert instance(url).url == "https://a.weu.attest.azure.net"


def test_microsofts_instances_take_no_private_authority(private) -> None:
    with pytest.raises(ConfigError, match="Microsoft's"):
        instance("https://a.weu.attest.azure.net", ca_file=private[0])


def test_an_authority_that_cannot_be_read_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="authority"):
        instance("https://attestation.example.com", ca_file=tmp_path / "nothing.pem")
