"""Collateral services by name: Intel's, and the caches that clouds run of it.

Each row says which public document it rests on and when that was written; nobody could ask the
services themselves. What only older documents say, or none, is a remark that every user is told.
A preset is a convenience, not a promise: any URL may be named in its place, and neither is trusted.
Pure: a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sealserve.endorsements.collateral import PckCa
from sealserve.endorsements.pccs.interface import (
    INTEL_ROOT_CA_CRL,
    REGION,
    Interface,
    Request,
    both_interfaces,
    pccs_interface,
)
from sealserve.errors import ConfigError

_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MAX_REGION = 40  # characters


@dataclass(frozen=True, slots=True)
class Preset:
    """One service: its interfaces, with `{region}` in them where its hosts differ by region."""

    sgx: Interface
    tdx: Interface | None
    """None where the service has none of TDX, or none that a public document tells of."""
    source: str
    """The documents behind this row, with their dates."""
    example: str = ""
    """A region, for messages; empty where there are none."""
    regions: frozenset[str] | None = None
    """All regions, where they are known."""
    has_early_data: bool = True
    """Whether it takes `update=early`, as Intel's interface says."""
    remark: str | None = None

    def at(self, name: str, region: str | None) -> tuple[Interface, Interface | None]:
        """The interfaces for SGX and TDX in `region`; raises ConfigError. `name` is for messages.

        Without a region, what needs none is left.
        """
        if region is None:
            if REGION in self.sgx.base_url:
                raise ConfigError(
                    f"the collateral service {name!r} needs a region", hint=self._which(name)
                )
            has_tdx = self.tdx is not None and REGION not in self.tdx.base_url
            return self.sgx, self.tdx if has_tdx else None
        known = bool(self.example) if self.regions is None else region in self.regions
        if not known or len(region) > _MAX_REGION or not _REGION.fullmatch(region):
            raise ConfigError(
                f"the collateral service {name!r} has no region {region!r}", hint=self._which(name)
            )
        return self.sgx.at(region), None if self.tdx is None else self.tdx.at(region)

    def _which(self, name: str) -> str:
        if not self.example:
            return f"it has no regions: say {name}"
        regions = f" (known: {', '.join(sorted(self.regions))})" if self.regions else ""
        return f"such as {name}:{self.example}{regions}"


def _azure_crl(url: str) -> Request:
    """A CRL in Azure's cache: by its URL, whose own percent-encoding the service expects."""
    query = (("uri", url), ("clientid", _AZURE_CLIENT), ("api-version", "2020-02-12-preview"))
    return Request(f"{_AZURE}/pckcrl", query)


_INTEL = both_interfaces(
    "https://api.trustedservices.intel.com/sgx/certification/v4",
    root_ca_crl=Request(INTEL_ROOT_CA_CRL),
)

_AZURE = "https://global.acccache.azure.net/sgx/certification/v4"
_AZURE_CLIENT = "production_client"
_AZURE_CRLS: Mapping[PckCa, Request] = {
    "platform": _azure_crl(
        "https%3a%2f%2fapi.trustedservices.intel.com%2fsgx%2fcertification%2fv3"
        "%2fpckcrl%3fca%3dplatform%26encoding%3dpem"
    ),
    "processor": _azure_crl(
        "https%3a%2f%2fcertificates.trustedservices.intel.com%2fintelsgxpckprocessor.crl"
    ),
}
_AZURE_SGX = Interface(
    _AZURE,
    _AZURE_CRLS,
    _azure_crl("https%3a%2f%2fcertificates.trustedservices.intel.com%2fintelsgxrootca.crl"),
    (("clientid", _AZURE_CLIENT), ("api-version", "2018-10-01-preview")),
)
_AZURE_TDX = pccs_interface(
    f"https://{REGION}.thim.azure.net/tdx/certification/v4",
    crl_base_url=f"https://{REGION}.thim.azure.net/sgx/certification/v4",
)

_ALIBABA = both_interfaces(f"https://sgx-dcap-server.{REGION}.aliyuncs.com/sgx/certification/v4")
_ALIBABA_VPC = both_interfaces(
    f"https://sgx-dcap-server-vpc.{REGION}.aliyuncs.com/sgx/certification/v4"
)
_TENCENT = both_interfaces(f"https://sgx-dcap-server-tc.{REGION}.tencent.cn/sgx/certification/v3")
_BYTEDANCE = both_interfaces("https://sgx-dcap-server.bytedance.com/sgx/certification/v3")

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "intel": Preset(
            *_INTEL,
            source="Intel SGX and TDX Provisioning Certification Service API, version 4 "
            "(version 3 ended in May 2026)",
        ),
        # Without a region: SGX. With one: TDX from it, SGX as without, as Azure's own client does.
        "azure": Preset(
            _AZURE_SGX,
            _AZURE_TDX,
            source="microsoft/Azure-DCAP-Client 1.13.1, src/dcap_provider.cpp (March 2026); "
            "Microsoft, Trusted Hardware Identity Management (2022)",
            example="eastus2",
            has_early_data=False,
            remark="Azure's TCB info is older than Intel's on purpose, and may be past its "
            "nextUpdate, when the verifier rejects it; Intel's own is under the name intel",
        ),
        "alibaba": Preset(
            *_ALIBABA,
            source="Alibaba Cloud, Build an SGX encrypted computing environment (version 3 in "
            "older copies); inclavare-containers/TNG, docs/configuration.md (version 4, 2026)",
            example="cn-hangzhou",
        ),
        "alibaba-vpc": Preset(
            *_ALIBABA_VPC,
            source="as alibaba, for instances that have internal addresses alone",
            example="cn-hangzhou",
        ),
        "tencent": Preset(
            *_TENCENT,
            source="Tencent Cloud, documentation 213/45510 (2024)",
            example="sh",
            regions=frozenset({"bj", "gz", "sh"}),
            remark="only version 3 of Tencent's service is documented (2024); to try version 4, "
            "name its URL",
        ),
        "bytedance": Preset(
            *_BYTEDANCE,
            source="bytedance/fedlearner, web console (2023); the host also in intel/"
            "confidential-computing-zoo (2023)",
            remark="ByteDance documents no interface: version 3 is what a program of its own used "
            "in 2023, and whether the service still runs is not confirmed",
        ),
    }
)
