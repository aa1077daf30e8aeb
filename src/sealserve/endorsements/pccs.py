"""Collateral from a service that speaks Intel's PCS or PCCS interface: the room's impure module.

What comes back is trusted by Intel's signatures alone, so this client only has to stand a service
that is slow, down, wrong or hostile: one deadline for everything, limits on every size, no
redirects, no compression. It asks over TLS, with the system's authorities or one that is named;
plain HTTP only on this machine, because who answers in the service's place can hold back a
revocation for as long as the last answer is valid.
Source: Intel SGX and TDX Provisioning Certification Service API, version 4, and the PCCS of
intel/confidential-computing.tee.dcap.pccs (`/rootcacrl`, CRLs in hex).
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

import httpx

from sealserve.endorsements.chain import CHAIN_LIMIT
from sealserve.endorsements.collateral import PART_LIMIT, Collateral, PckCa
from sealserve.endorsements.crl import to_der
from sealserve.errors import CollateralError, ConfigError

DEFAULT_TIMEOUT: Final = 20.0  # seconds, for all that one platform needs
DEFAULT_PATH: Final = "/sgx/certification/v4"
# Intel's own service has no /rootcacrl: the root's CRL is where its certificate says it is.
INTEL_PCS_HOST: Final = "api.trustedservices.intel.com"
INTEL_ROOT_CA_CRL: Final = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"

_TCB_CHAIN_HEADERS = ("TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain")  # v4, v3
_QE_CHAIN_HEADERS = ("SGX-Enclave-Identity-Issuer-Chain",)
_CRL_CHAIN_HEADERS = ("SGX-PCK-CRL-Issuer-Chain",)
_FMSPC_BYTES = 6
_ATTEMPTS = 4
_FIRST_PAUSE = 0.25  # seconds, doubled after each attempt
_WORTH_ANOTHER_TRY = frozenset({429, 500, 502, 503, 504})


class PccsClient:
    """Asks one service. Safe to share between threads; nothing is kept between calls."""

    def __init__(
        self, base_url: str, *, ca_file: Path | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """`base_url` with or without its path (`DEFAULT_PATH`); `ca_file` is PEM; seconds.

        Raises ConfigError.
        """
        self._base, self._is_local = _base_url(base_url)
        self._tls = _tls(ca_file)
        self._timeout = timeout

    def collateral(self, fmspc: bytes, ca: PckCa) -> Collateral:
        """All collateral for platforms of `fmspc` (6 bytes) with PCK certificates from `ca`.

        Not from a thread that runs an event loop. Raises CollateralError, at the latest when the
        timeout has passed.
        """
        if len(fmspc) != _FMSPC_BYTES:
            raise ConfigError(f"an FMSPC has {_FMSPC_BYTES} bytes, not {len(fmspc)}")
        return asyncio.run(self._collect(fmspc, ca))

    async def _collect(self, fmspc: bytes, ca: PckCa) -> Collateral:
        attempt_timeout = httpx.Timeout(self._timeout / 2)  # so that a stall leaves another try
        try:
            async with (
                asyncio.timeout(self._timeout),
                httpx.AsyncClient(
                    verify=self._tls,
                    timeout=attempt_timeout,
                    headers={"Accept-Encoding": "identity"},
                    trust_env=not self._is_local,
                ) as http,
            ):
                return await self._ask(_Service(http, self._base), fmspc, ca)
        except TimeoutError:
            raise CollateralError(
                f"{self._base.host} did not answer within {self._timeout:g} seconds",
                hint="is the collateral service up, and reachable from here?",
            ) from None

    async def _ask(self, service: _Service, fmspc: bytes, ca: PckCa) -> Collateral:
        # One after the other, over one connection; a TLS handshake that is cancelled because
        # another request failed would stay open (httpcore closes it for errors alone).
        tcb_info, tcb_chain = await service.get_signed(
            "tcb", _TCB_CHAIN_HEADERS, {"fmspc": fmspc.hex().upper()}
        )
        identity, identity_chain = await service.get_signed("qe/identity", _QE_CHAIN_HEADERS, {})
        pck_crl, pck_crl_chain = await service.get_signed(
            "pckcrl", _CRL_CHAIN_HEADERS, {"ca": ca, "encoding": "der"}
        )
        root_ca_crl, _ = await service.get(self._root_ca_crl_url(), {})
        return Collateral(
            tcb_info=tcb_info,
            tcb_info_issuer_chain=tcb_chain,
            qe_identity=identity,
            qe_identity_issuer_chain=identity_chain,
            pck_crl=to_der(pck_crl),
            pck_crl_issuer_chain=pck_crl_chain,
            root_ca_crl=to_der(root_ca_crl),
        )

    def _root_ca_crl_url(self) -> str:
        return INTEL_ROOT_CA_CRL if self._base.host == INTEL_PCS_HOST else "rootcacrl"


class _Service:
    """The requests of one call, with their retries."""

    def __init__(self, http: httpx.AsyncClient, base: httpx.URL) -> None:
        self._http = http
        self._base = base

    async def get_signed(
        self, path: str, chain_headers: tuple[str, ...], query: Mapping[str, str]
    ) -> tuple[bytes, bytes]:
        """A body, and its signer's chain (PEM) from the first of the headers that is there."""
        body, headers = await self.get(path, query)
        encoded = next((headers[name] for name in chain_headers if name in headers), None)
        if encoded is None:
            raise CollateralError(f"{self._base.host} sent no {chain_headers[0]} with {path}")
        if len(encoded) > CHAIN_LIMIT:
            raise CollateralError(f"{self._base.host}: the issuer chain of {path} is too long")
        return body, unquote_to_bytes(encoded)

    async def get(self, path: str, query: Mapping[str, str]) -> tuple[bytes, httpx.Headers]:
        """Body and headers of a good answer; tries again what may get better."""
        url = self._base.join(path)
        for attempt in range(_ATTEMPTS):
            pause = _FIRST_PAUSE * 2**attempt
            try:
                async with self._http.stream("GET", url, params=query) as response:
                    if response.status_code == httpx.codes.OK:
                        return await _body(response, path), response.headers
                    problem = _refusal(response, path)
                    pause = max(pause, _retry_after(response))
                    if response.status_code not in _WORTH_ANOTHER_TRY:
                        break
            except httpx.HTTPError as error:
                problem = f"cannot reach {url.host}: {str(error) or type(error).__name__}"
            if attempt < _ATTEMPTS - 1:
                await asyncio.sleep(pause)
        raise CollateralError(problem, hint="is the collateral service's URL right, and is it up?")


async def _body(response: httpx.Response, path: str) -> bytes:
    """The body, as long as it is short and as it was sent."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise CollateralError(f"the collateral service compressed {path}, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > PART_LIMIT:
            raise CollateralError(f"the collateral service's {path} exceeds {PART_LIMIT} bytes")
    return bytes(body)


def _refusal(response: httpx.Response, path: str) -> str:
    meaning = {
        404: "it has nothing for this platform",
        410: "it no longer speaks this version of the interface",
        429: "it asks for fewer requests",
    }.get(response.status_code, "")
    found = f"{response.url.host} answered {path} with HTTP {response.status_code}"
    return f"{found}: {meaning}" if meaning else found


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the service asks us to wait; a date, which the header may also hold, is none."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 7 else 0.0


def _base_url(text: str) -> tuple[httpx.URL, bool]:
    """The URL that paths are joined to, and whether it is on this machine."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigError(f"{text!r} is no URL: {error}") from None
    if not url.host or url.userinfo or url.query or url.fragment:
        raise ConfigError(
            f"{url.host or text!r}: a collateral URL is scheme, host, port and path, no more",
            hint=f"such as https://pccs.example:8081{DEFAULT_PATH}",
        )
    is_local = _is_loopback(url.host)
    if url.scheme != "https" and not (url.scheme == "http" and is_local):
        raise ConfigError(
            f"collateral is fetched over https, not {url.scheme} from {url.host}",
            hint="http is for a service on this machine (127.0.0.1, ::1, localhost); "
            "for a private authority name its certificate",
        )
    path = url.path.rstrip("/") or DEFAULT_PATH
    return url.copy_with(path=f"{path}/"), is_local


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"no certificate authority can be read from {ca_file}: {error}") from None
