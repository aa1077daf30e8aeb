"""The lab's PCCS over real HTTP: what our client fetches, and the habits of Intel's service."""

import re
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import unquote

import httpx
import pytest
from cryptography import x509

from sealserve.endorsements.pccs import PccsClient
from sealserve.endorsements.pccs import service as collateral_service
from sealserve.errors import CollateralError
from sealserve.lab.folder import LabFolder
from sealserve.lab.world import FMSPC, World

CERTIFICATE_QUERY = {"qeid": "00" * 16, "cpusvn": "00" * 16, "pcesvn": "0d00", "pceid": "0000"}


@pytest.fixture(scope="module")
def pccs(service: LabFolder) -> Iterator[str]:
    """The base URL of `sealserve lab pccs`, running."""
    command = [sys.executable, "-m", "sealserve", "lab", "pccs", str(service.path)]
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            ready = process.stderr.readline()
            assert ready.startswith("SIMULATED PCCS listens at ")
            yield ready.split()[-1]
        finally:
            process.terminate()


def test_our_client_gets_the_collateral_byte_for_byte_and_sees_it_renewed(
    pccs: str, service: LabFolder
) -> None:
    world = World.load(service.path)
    client = PccsClient(collateral_service(pccs))
    assert client.collateral(FMSPC, "platform") == world.collateral()
    with pytest.raises(CollateralError):
        client.collateral(FMSPC, "processor")
    with pytest.raises(CollateralError):
        client.collateral(b"unkown", "platform")
    subprocess.run(
        [sys.executable, "-m", "sealserve", "lab", "renew", str(service.path)],
        check=True,
        capture_output=True,
    )
    renewed = client.collateral(FMSPC, "platform")
    assert renewed != world.collateral()
    assert renewed == World.load(service.path).collateral()


def test_it_answers_as_a_pccs_does(pccs: str, service: LabFolder) -> None:
    collateral = World.load(service.path).collateral()
    with httpx.Client(base_url=pccs) as client:
        der = client.get("/pckcrl", params={"ca": "platform", "encoding": "der"})
        hexadecimal = client.get("/pckcrl", params={"ca": "platform"})
        assert der.content == collateral.pck_crl
        assert bytes.fromhex(hexadecimal.text) == collateral.pck_crl
        chain = unquote(der.headers["SGX-PCK-CRL-Issuer-Chain"])
        assert chain.encode() == collateral.pck_crl_issuer_chain
        assert bytes.fromhex(client.get("/rootcacrl").text) == collateral.root_ca_crl
        answer = client.get("/pckcert", params=CERTIFICATE_QUERY)
    leaf = x509.load_pem_x509_certificate(answer.content)
    platform_ca, _ = x509.load_pem_x509_certificates(
        unquote(answer.headers["SGX-PCK-Certificate-Issuer-Chain"]).encode()
    )
    leaf.verify_directly_issued_by(platform_ca)
    assert answer.headers["SGX-FMSPC"] == FMSPC.hex().upper()
    assert re.fullmatch(r"[0-9A-F]{32}0D00", answer.headers["SGX-TCBm"])


def test_it_serves_trust_domains_and_the_third_interface_and_what_comes_early(
    pccs: str, service: LabFolder
) -> None:
    world = World.load(service.path)
    third, tdx = pccs.replace("/v4", "/v3"), pccs.replace("/sgx/", "/tdx/")
    asked = {"fmspc": FMSPC.hex()}
    early = {**asked, "update": "early"}
    with httpx.Client() as client:
        v2 = client.get(f"{third}/tcb", params=asked)
        v2_early = client.get(f"{third}/tcb", params=early)
        v3_early = client.get(f"{pccs}/tcb", params=early)
        of_tdx = client.get(f"{tdx}/tcb", params=asked)
        td_qe = client.get(f"{tdx}/qe/identity", params={"update": "early"})
    chain = world.collateral().tcb_info_issuer_chain
    assert unquote(v2.headers["SGX-TCB-Info-Issuer-Chain"]).encode() == chain
    assert "TCB-Info-Issuer-Chain" not in v2.headers
    assert unquote(of_tdx.headers["TCB-Info-Issuer-Chain"]).encode() == chain
    said = {
        name: (info.get("id"), info["version"], info["tcbEvaluationDataNumber"])
        for name, info in {
            "v2": v2.json()["tcbInfo"],
            "v2 early": v2_early.json()["tcbInfo"],
            "v3 early": v3_early.json()["tcbInfo"],
            "tdx": of_tdx.json()["tcbInfo"],
            "td qe early": td_qe.json()["enclaveIdentity"],
        }.items()
    }
    assert said == {
        "v2": (None, 2, 17),
        "v2 early": (None, 2, 18),
        "v3 early": ("SGX", 3, 18),
        "tdx": ("TDX", 3, 17),
        "td qe early": ("TD_QE", 2, 18),
    }
    assert of_tdx.content == world.collateral("TDX").tcb_info


def test_for_trust_domains_it_has_what_pccs_has_and_no_more(pccs: str) -> None:
    tdx = pccs.replace("/sgx/", "/tdx/")
    with httpx.Client() as client:
        assert client.get(f"{tdx}/pckcrl", params={"ca": "platform"}).status_code == 404
        assert client.get(f"{tdx}/rootcacrl").status_code == 404
        third = tdx.replace("/v4", "/v3")
        assert client.get(f"{third}/tcb", params={"fmspc": FMSPC.hex()}).status_code == 404


ERRORS = {
    "no-fmspc": ("/tcb", {}, 400),
    "fmspc-too-short": ("/tcb", {"fmspc": "5349"}, 400),
    "another-fmspc": ("/tcb", {"fmspc": "00606a000000"}, 404),
    "no-ca": ("/pckcrl", {}, 400),
    "unknown-ca": ("/pckcrl", {"ca": "root"}, 400),
    "processor-ca": ("/pckcrl", {"ca": "processor"}, 404),
    "unknown-update": ("/qe/identity", {"update": "late"}, 400),
    "no-qeid": ("/pckcert", {**CERTIFICATE_QUERY, "qeid": ""}, 400),
    "another-pceid": ("/pckcert", {**CERTIFICATE_QUERY, "pceid": "0001"}, 404),
    "another-crl": ("/crl", {"uri": "http://127.0.0.1/other.crl"}, 404),
    "no-such-path": ("/tcbs", {}, 404),
}


def test_what_it_does_not_have_or_understand_it_refuses(pccs: str) -> None:
    with httpx.Client(base_url=pccs) as client:
        answers = {
            case: client.get(path, params=query).status_code
            for case, (path, query, _) in ERRORS.items()
        }
    assert answers == {case: status for case, (_, _, status) in ERRORS.items()}


def test_the_roots_crl_is_where_its_certificate_says(pccs: str, service: LabFolder) -> None:
    world = World.load(service.path)
    root = world.authorities.root_ca.certificate
    points = root.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (name,) = points[0].full_name or ()
    url = httpx.URL(str(name.value))
    with httpx.Client(base_url=pccs) as client:
        there = client.get(httpx.URL(pccs).copy_with(path=url.path))
        by_uri = client.get("/crl", params={"uri": str(url)})
    assert there.content == by_uri.content == world.collateral().root_ca_crl
