"""The lab's collateral over HTTP, in the shape of Intel's PCCS: paths, headers, encodings, errors.

It serves the public files of one lab folder as they stand at each request, so that `sealserve lab
renew` needs no restart, and holds no key. Whoever fetches here trusts nothing but the signatures,
and these lead to the lab's SIMULATED root.

Where PCCS differs from Intel's own service, this follows PCCS: CRLs are hex unless DER is asked
for, and the root CA's CRL always is. For TDX there are TCB info and the quoting enclave's identity,
of the fourth interface only; certificates and CRLs are those of SGX. `update=early` gives what is
said after the next TCB recovery. The third interface has TCB info in version 2.
Source: Intel PCCS, API specification (2025); Intel SGX and TDX Provisioning Certification Service
API, version 3 and 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sealserve.endorsements.chain import Role, parse_chain
from sealserve.endorsements.collateral import PckCa, Tee
from sealserve.endorsements.pck import SGX_EXTENSIONS_OID, PckExtensions, parse_pck_extension
from sealserve.lab.folder import LabFolder
from sealserve.lab.levels import Update
from sealserve.lab.pki import PCCS_URL, ROOT_CRL_PATH

BASE = "/sgx/certification/v4"
_Version: TypeAlias = Literal[3, 4]
_TCB_CHAIN_HEADERS: Mapping[_Version, str] = {
    3: "SGX-TCB-Info-Issuer-Chain",
    4: "TCB-Info-Issuer-Chain",
}
_JSON = "application/json"
_CRL = "application/pkix-crl"
_PEM = "application/x-pem-file"

_FORMS = {
    "fmspc": re.compile(r"[0-9a-fA-F]{12}"),
    "ca": re.compile(r"processor|platform"),
    "encoding": re.compile(r"der|pem"),
    "update": re.compile(r"early|standard"),
    "encrypted_ppid": re.compile(r"[0-9a-fA-F]{768}"),
    "cpusvn": re.compile(r"[0-9a-fA-F]{32}"),
    "pcesvn": re.compile(r"[0-9a-fA-F]{4}"),
    "pceid": re.compile(r"[0-9a-fA-F]{4}"),
    "qeid": re.compile(r"[0-9a-zA-Z]{1,260}"),
    "uri": re.compile(r"[\x21-\x7e]{1,2048}"),
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One well-formed request."""

    folder: LabFolder
    tee: Tee
    version: _Version
    query: Mapping[str, str]

    @property
    def update(self) -> Update:
        return cast(Update, self.query.get("update", "standard"))


_Answer: TypeAlias = Callable[[_Asked], Response]


def create_app(folder: LabFolder) -> Starlette:
    """The ASGI application that serves the collateral of `folder`."""

    def route(
        path: str, answer: _Answer, *need: str, tee: Tee = "SGX", version: _Version = 4
    ) -> Route:
        def endpoint(request: Request) -> Response:
            query = dict(request.query_params)
            if not _well_formed(query, need):
                return PlainTextResponse("Invalid request parameters.", 400)
            return answer(_Asked(folder, tee, version, query))

        return Route(path, endpoint)

    def routes(tee: Tee, version: _Version) -> list[Route]:
        base = f"/{tee.lower()}/certification/v{version}"
        found: list[tuple[str, _Answer, tuple[str, ...]]] = [
            ("tcb", _tcb, ("fmspc",)),
            ("qe/identity", _qe_identity, ()),
        ]
        if tee == "SGX":
            found += [
                ("pckcrl", _pck_crl, ("ca",)),
                ("rootcacrl", _root_ca_crl, ()),
                ("crl", _crl, ("uri",)),
                ("pckcert", _pck_certificate, ("qeid", "cpusvn", "pcesvn", "pceid")),
            ]
        return [
            route(f"{base}/{path}", answer, *need, tee=tee, version=version)
            for path, answer, need in found
        ]

    return Starlette(
        routes=[
            *routes("SGX", 3),
            *routes("SGX", 4),
            *routes("TDX", 4),
            route(ROOT_CRL_PATH, _distribution_point),
        ]
    )


def _well_formed(query: Mapping[str, str], need: tuple[str, ...]) -> bool:
    return all(name in query for name in need) and all(
        _FORMS[name].fullmatch(value) for name, value in query.items() if name in _FORMS
    )


def _tcb(asked: _Asked) -> Response:
    if asked.query["fmspc"].lower() != _platform(asked.folder).fmspc.hex():
        return _no_data()
    collateral = asked.folder.read_collateral(asked.tee, asked.update)
    body = collateral.tcb_info
    if asked.version == 3:
        body = asked.folder.read_tcb_info_v2(asked.update)
    header = _TCB_CHAIN_HEADERS[asked.version]
    return _chained(body, _JSON, header, collateral.tcb_info_issuer_chain)


def _qe_identity(asked: _Asked) -> Response:
    collateral = asked.folder.read_collateral(asked.tee, asked.update)
    chain = collateral.qe_identity_issuer_chain
    return _chained(collateral.qe_identity, _JSON, "SGX-Enclave-Identity-Issuer-Chain", chain)


def _pck_crl(asked: _Asked) -> Response:
    if asked.query["ca"] != _pck_ca(asked.folder):
        return _no_data()
    collateral = asked.folder.read_collateral()
    chain = collateral.pck_crl_issuer_chain
    if asked.query.get("encoding") == "der":
        return _chained(collateral.pck_crl, _CRL, "SGX-PCK-CRL-Issuer-Chain", chain)
    # PCCS labels its hex as PEM, and so do we: clients have to cope with it.
    hexadecimal = collateral.pck_crl.hex().encode("ascii")
    return _chained(hexadecimal, _PEM, "SGX-PCK-CRL-Issuer-Chain", chain)


def _root_ca_crl(asked: _Asked) -> Response:
    return Response(asked.folder.read_collateral().root_ca_crl.hex(), media_type=_CRL)


def _crl(asked: _Asked) -> Response:
    if asked.query["uri"] != PCCS_URL + ROOT_CRL_PATH:
        return _no_data()
    return _distribution_point(asked)


def _distribution_point(asked: _Asked) -> Response:
    return Response(asked.folder.read_collateral().root_ca_crl, media_type=_CRL)


def _pck_certificate(asked: _Asked) -> Response:
    platform = _platform(asked.folder)
    if bytes.fromhex(asked.query["pceid"]) != platform.pce_id:
        return _no_data()
    leaf, *issuers = x509.load_pem_x509_certificates(asked.folder.read_pck_chain())
    chain = b"".join(issuer.public_bytes(Encoding.PEM) for issuer in issuers)
    response = _chained(
        leaf.public_bytes(Encoding.PEM), _PEM, "SGX-PCK-Certificate-Issuer-Chain", chain
    )
    tcb = platform.cpu_svn + platform.pce_svn.to_bytes(2, "little")
    response.headers["SGX-TCBm"] = tcb.hex().upper()
    response.headers["SGX-FMSPC"] = platform.fmspc.hex().upper()
    response.headers["SGX-PCK-Certificate-CA-Type"] = _pck_ca(asked.folder)
    return response


def _platform(folder: LabFolder) -> PckExtensions:
    """Which platform this is, from its PCK certificate."""
    leaf = x509.load_pem_x509_certificates(folder.read_pck_chain())[0]
    oid = x509.ObjectIdentifier(SGX_EXTENSIONS_OID)
    extension = leaf.extensions.get_extension_for_oid(oid).value
    return parse_pck_extension(extension.public_bytes())


def _pck_ca(folder: LabFolder) -> PckCa:
    """Who issued that certificate."""
    roles = {certificate.role for certificate in parse_chain(folder.read_pck_chain())}
    return "processor" if Role.PROCESSOR_CA in roles else "platform"


def _chained(body: bytes, media_type: str, header: str, chain: bytes) -> Response:
    return Response(body, media_type=media_type, headers={header: quote(chain.decode("ascii"))})


def _no_data() -> Response:
    return PlainTextResponse("No cache data for this platform.", 404)
