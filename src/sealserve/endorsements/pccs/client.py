"""The client: all collateral of one platform from one service, within one deadline.

Proxies are honoured as the environment names them (`https_proxy`, `no_proxy`), but for a service on
this machine. A proxy sees whom we ask and cannot see what, because TLS goes through it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import httpx

from sealserve.endorsements.collateral import Collateral, PckCa, Tee
from sealserve.endorsements.crl import to_der
from sealserve.endorsements.pccs.fetching import Fetcher
from sealserve.endorsements.pccs.interface import Interface
from sealserve.endorsements.pccs.resolving import ResolvingLoop
from sealserve.endorsements.pccs.service import Service
from sealserve.errors import CollateralError, ConfigError

# Version 4's name and version 3's. Caches mix them up, so either will do.
TCB_INFO_CHAIN: Final = ("TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain")
QE_IDENTITY_CHAIN: Final = ("SGX-Enclave-Identity-Issuer-Chain",)
PCK_CRL_CHAIN: Final = ("SGX-PCK-CRL-Issuer-Chain",)
_FMSPC_BYTES = 6


class PccsClient:
    """Asks one service. Safe to share between threads; nothing is kept between calls."""

    def __init__(self, service: Service) -> None:
        """Raises ConfigError for a `ca_file` that holds no authority."""
        self._service = service
        self._tls = _tls(service)

    def collateral(self, fmspc: bytes, ca: PckCa, tee: Tee = "SGX") -> Collateral:
        """All collateral for platforms of `fmspc` (6 bytes) with PCK certificates from `ca`.

        Not from a thread that runs an event loop. Raises CollateralError, at the latest when the
        timeout has passed.
        """
        if len(fmspc) != _FMSPC_BYTES:
            raise ConfigError(f"an FMSPC has {_FMSPC_BYTES} bytes, not {len(fmspc)}")
        interface = self._service.interface(tee)
        if interface is None:
            raise CollateralError(
                f"the collateral service {self._service.name} has nothing of {tee}",
                hint="TDX needs version 4 of the interface, and of some services a region "
                "(azure:eastus2)",
            )
        with asyncio.Runner(loop_factory=ResolvingLoop) as runner:
            return runner.run(self._collect(interface, fmspc, ca))

    async def _collect(self, interface: Interface, fmspc: bytes, ca: PckCa) -> Collateral:
        service = self._service
        async with self._http() as http:
            fetcher = Fetcher(
                http, service.timeout, key=service.subscription_key, key_url=service.base_url
            )
            return await self._ask(fetcher, interface, fmspc, ca)

    def _http(self) -> httpx.AsyncClient:
        try:
            return httpx.AsyncClient(
                verify=self._tls,
                timeout=self._service.timeout / 2,  # so that a stall leaves another try
                headers={"Accept-Encoding": "identity"},
                trust_env=not self._service.is_local,
            )
        except (
            ValueError,
            ImportError,
            httpx.InvalidURL,
        ):  # whose text may hold the proxy's password
            raise CollateralError(
                "the proxy that the environment names (https_proxy, all_proxy) cannot be used",
                hint="expected is a URL like http://proxy.example:3128",
            ) from None

    async def _ask(
        self, fetcher: Fetcher, interface: Interface, fmspc: bytes, ca: PckCa
    ) -> Collateral:
        # One after the other, over one connection; a TLS handshake that is cancelled because
        # another request failed would stay open (httpcore closes it for errors alone).
        update = self._service.update
        tcb_info, tcb_info_chain = await fetcher.get_signed(
            "TCB info", interface.tcb_info(fmspc, update), TCB_INFO_CHAIN
        )
        identity, identity_chain = await fetcher.get_signed(
            "QE identity", interface.qe_identity(update), QE_IDENTITY_CHAIN
        )
        pck_crl, pck_crl_chain = await fetcher.get_signed(
            "PCK CRL", interface.pck_crl[ca], PCK_CRL_CHAIN
        )
        root_ca_crl = await fetcher.get("root CA's CRL", interface.root_ca_crl)
        return Collateral(
            tcb_info=tcb_info,
            tcb_info_issuer_chain=tcb_info_chain,
            qe_identity=identity,
            qe_identity_issuer_chain=identity_chain,
            pck_crl=to_der(pck_crl),
            pck_crl_issuer_chain=pck_crl_chain,
            root_ca_crl=to_der(root_ca_crl),
        )


def _tls(service: Service) -> ssl.SSLContext:
    if service.ca_file is not None:
        try:
            return ssl.create_default_context(cafile=service.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"no certificate authority can be read from {service.ca_file}: {error}"
            ) from None
    if service.base_url.startswith("http://"):
        # Never used, and trusts nobody: to read all public authorities takes 60 ms.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.create_ssl_context()
