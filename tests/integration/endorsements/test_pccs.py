"""What the PCCS client asks for, and what it makes of the answers of a real HTTP server."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from sealserve.endorsements.collateral import Collateral, PckCa
from sealserve.endorsements.pccs import DEFAULT_PATH, PccsClient, service
from sealserve.errors import CollateralError, ConfigError


def fetch(url: str, fmspc: bytes, *, ca: PckCa = "platform", **options: Any) -> Collateral:
    return PccsClient(service(url, **options)).collateral(fmspc, ca)


def pem(der: bytes) -> bytes:
    text = base64.encodebytes(der)
    return b"-----BEGIN X509 CRL-----\n" + text + b"-----END X509 CRL-----\n"


def test_all_parts_are_asked_for_and_come_back_as_they_were_sent(
    server: Any, fmspc: bytes, sgx: Collateral
) -> None:
    assert fetch(server.url, fmspc) == sgx
    assert [(asked.tee, asked.version, asked.path, asked.query) for asked in server.asked] == [
        ("sgx", "v4", "tcb", {"fmspc": "53494D000000"}),
        ("sgx", "v4", "qe/identity", {}),
        ("sgx", "v4", "pckcrl", {"ca": "platform", "encoding": "der"}),
        ("sgx", "v4", "rootcacrl", {}),
    ]


def test_collateral_of_a_trust_domain_is_asked_for_under_tdx_and_its_crls_under_sgx(
    server: Any, fmspc: bytes, tdx: Collateral
) -> None:
    assert PccsClient(service(server.url)).collateral(fmspc, "platform", "TDX") == tdx
    assert [(asked.tee, asked.version, asked.path) for asked in server.asked] == [
        ("tdx", "v4", "tcb"),
        ("tdx", "v4", "qe/identity"),
        ("sgx", "v4", "pckcrl"),
        ("sgx", "v4", "rootcacrl"),
    ]


def test_the_crl_is_that_of_the_ca_in_question(server: Any, fmspc: bytes) -> None:
    fetch(server.url, fmspc, ca="processor")
    assert server.asked[2].query["ca"] == "processor"


@pytest.mark.parametrize(
    "suffix", ["", "/", DEFAULT_PATH, f"{DEFAULT_PATH}/", "/tdx/certification/v4"]
)
def test_the_base_url_may_have_its_path_or_not(
    server: Any, fmspc: bytes, sgx: Collateral, suffix: str
) -> None:
    assert fetch(server.url + suffix, fmspc) == sgx


def test_version_3_is_asked_for_where_the_url_says_so_and_has_its_own_header(
    server: Any, fmspc: bytes, sgx: Collateral
) -> None:
    assert fetch(f"{server.url}/sgx/certification/v3", fmspc) == sgx
    assert {asked.version for asked in server.asked} == {"v3"}


def test_version_3_has_nothing_of_tdx_and_is_not_asked(server: Any, fmspc: bytes) -> None:
    client = PccsClient(service(f"{server.url}/sgx/certification/v3"))
    with pytest.raises(CollateralError, match="nothing of TDX"):
        client.collateral(fmspc, "platform", "TDX")
    assert server.asked == []


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_either_name_of_the_tcb_header_will_do_in_either_version(
    server: Any, fmspc: bytes, sgx: Collateral, version: str
) -> None:
    other = "TCB-Info-Issuer-Chain" if version == "v3" else "SGX-TCB-Info-Issuer-Chain"
    chain = quote(sgx.tcb_info_issuer_chain)
    server.spoil_only("tcb", lambda answer: replace(answer, headers={other: chain}))
    assert fetch(f"{server.url}/sgx/certification/{version}", fmspc) == sgx


def test_header_names_have_no_case(server: Any, fmspc: bytes, sgx: Collateral) -> None:
    def lower(path: str, count: int, answer: Any) -> Any:
        return replace(answer, headers={k.lower(): v for k, v in answer.headers.items()})

    server.spoil = lower
    assert fetch(server.url, fmspc) == sgx


def test_early_data_is_asked_for_by_name_and_only_where_intel_has_it(
    server: Any, fmspc: bytes, early: Collateral
) -> None:
    assert fetch(server.url, fmspc, update="early") == early
    asked = {asked.path: asked.query.get("update") for asked in server.asked}
    assert asked == {"tcb": "early", "qe/identity": "early", "pckcrl": None, "rootcacrl": None}


@pytest.mark.parametrize("path", ["pckcrl", "rootcacrl"])
@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(lambda der: der, id="DER"),
        pytest.param(pem, id="PEM"),
        pytest.param(lambda der: der.hex().encode(), id="hex"),
        pytest.param(lambda der: der.hex().upper().encode() + b"\n", id="HEX"),
    ],
)
def test_crls_may_be_der_pem_or_hex_whatever_was_asked_for(
    server: Any, fmspc: bytes, sgx: Collateral, path: str, encoded: Callable[[bytes], bytes]
) -> None:
    der = sgx.pck_crl if path == "pckcrl" else sgx.root_ca_crl
    server.spoil_only(path, lambda answer: replace(answer, body=encoded(der)))
    assert fetch(server.url, fmspc) == sgx


def test_no_answer_is_asked_for_compressed(server: Any, fmspc: bytes, sgx: Collateral) -> None:
    server.spoil_only(
        "tcb", lambda a: replace(a, headers=a.headers | {"Content-Encoding": "identity"})
    )
    assert fetch(server.url, fmspc) == sgx


def test_an_fmspc_has_six_bytes(server: Any) -> None:
    with pytest.raises(ConfigError, match="6 bytes"):
        fetch(server.url, bytes(5))
    assert server.asked == []
