"""What is asked for, and where: the requests that make up the collateral of one kind of TEE.

Services differ in hosts, paths and query parameters, and in nothing else that concerns us, so a
service is data, and `client` has one way to ask all of them. Pure: nothing here opens anything.
Source: Intel SGX and TDX Provisioning Certification Service API, versions 3 and 4; Intel's PCCS,
`service/routes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sealserve.endorsements.collateral import PckCa

Update: TypeAlias = Literal["standard", "early"]
"""Which of Intel's TCB data: what is in force, or what comes into force with the next recovery."""

Query: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values, before they are percent-encoded."""

DEFAULT_PATH: Final = "/sgx/certification/v4"
API_PATH: Final = re.compile(r"/(?:sgx|tdx)/certification/v(?P<version>[34])$")

# Intel's own service has no /rootcacrl: the root's CRL is where its certificate says it is.
INTEL_ROOT_CA_CRL: Final = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"


@dataclass(frozen=True, slots=True)
class Request:
    """One GET: a whole URL without its query, and the query."""

    url: str
    query: Query = ()

    def at(self, region: str) -> Request:
        """The same with `{region}` in the URL filled in."""
        return Request(self.url.replace(REGION, region), self.query)


REGION: Final = "{region}"


@dataclass(frozen=True, slots=True)
class Interface:
    """The four requests for one kind of TEE; the first two lie below `base_url`."""

    base_url: str
    """`https://HOST/{sgx,tdx}/certification/v{3,4}`, without a slash at its end."""
    pck_crl: Mapping[PckCa, Request]
    root_ca_crl: Request
    query: Query = ()
    """What goes with the TCB info and the QE identity besides Intel's own parameters."""

    @property
    def api_version(self) -> int:
        """3 or 4, as the base URL ends."""
        return int(self.base_url[-1])

    def tcb_info(self, fmspc: bytes, update: Update) -> Request:
        """The TCB info of one kind of platform."""
        query = (("fmspc", fmspc.hex().upper()), *_update(update), *self.query)
        return Request(f"{self.base_url}/tcb", query)

    def qe_identity(self, update: Update) -> Request:
        """The identity of Intel's quoting enclave for this kind of TEE."""
        return Request(f"{self.base_url}/qe/identity", (*_update(update), *self.query))

    def at(self, region: str) -> Interface:
        """The same with `{region}` in its URLs filled in."""
        return Interface(
            self.base_url.replace(REGION, region),
            {ca: request.at(region) for ca, request in self.pck_crl.items()},
            self.root_ca_crl.at(region),
            self.query,
        )


def pccs_interface(
    base_url: str, *, crl_base_url: str | None = None, root_ca_crl: Request | None = None
) -> Interface:
    """The paths of Intel's PCCS; CRLs, which SGX and TDX share, may lie below another base."""
    crls = crl_base_url or base_url
    cas: tuple[PckCa, ...] = ("platform", "processor")
    return Interface(
        base_url,
        {ca: Request(f"{crls}/pckcrl", (("ca", ca), ("encoding", "der"))) for ca in cas},
        root_ca_crl or Request(f"{crls}/rootcacrl"),
    )


def both_interfaces(
    base_url: str, *, root_ca_crl: Request | None = None
) -> tuple[Interface, Interface | None]:
    """SGX and TDX by the base URL of SGX, as `/sgx/` and `/tdx/`; version 3 has no TDX."""
    sgx = pccs_interface(base_url, root_ca_crl=root_ca_crl)
    if sgx.api_version == 3:
        return sgx, None
    tdx_base_url = "/tdx/".join(base_url.rsplit("/sgx/", 1))
    tdx = pccs_interface(tdx_base_url, crl_base_url=base_url, root_ca_crl=root_ca_crl)
    return sgx, tdx


def _update(update: Update) -> Query:
    # `standard` is what every service gives to who says nothing, and older ones know no `update`.
    return (("update", update),) if update == "early" else ()
