"""`sgx_default_qcnl.conf` for a cloud: Intel's quote provider, told where collateral is.

What is rendered is JSON without comments, verifies TLS, and has no fault that `qcnl_lint` knows as
an error: otherwise it is not rendered. Where a cloud's own collateral is stale or ended, the file
takes PCK certificates from the cloud and the rest from Intel.
Source: intel/confidential-computing.tee.dcap, `QuoteGeneration/qcnl` (2026): keys and types in
`qcnl_config.cpp`; the query is put right behind the URL, which therefore ends in a slash.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from sealserve.deploy.clouds import Cloud
from sealserve.deploy.clouds.model import REGION, Service
from sealserve.deploy.clouds.qcnl_lint import lint_qcnl
from sealserve.errors import UsageError

# As in Intel's samples (qcnl/linux/sgx_default_qcnl*.conf), but for the collateral: kept a day, as
# in Microsoft's, because a CRL that is kept longer hides a revocation longer.
RETRIES = 6
RETRY_SECONDS = 10
PCK_HOURS = 168
COLLATERAL_HOURS = 24


def render_qcnl(cloud: Cloud, *, region: str | None = None, pccs: str | None = None) -> bytes:
    """The file, in UTF-8. `pccs` is a URL to ask in the place of the cloud's own service.

    Where PCK certificates are to be had from the machine's metadata service alone, they still come
    from there. Raises UsageError for a region that the cloud has not, or that changes nothing, and
    for a URL that would not do.
    """
    text = json.dumps(_entries(cloud.service, _urls(cloud, region, pccs)), indent=2).encode()
    for fault in lint_qcnl(text):
        if fault.is_error:
            raise UsageError(f"{fault.found}: {fault.consequence}", hint=fault.cure)
    return text + b"\n"


class _Urls(NamedTuple):
    pck: str
    collateral: str | None


def _urls(cloud: Cloud, region: str | None, pccs: str | None) -> _Urls:
    service = cloud.service
    if region is not None and (pccs is not None or REGION not in service.pccs_url):
        raise UsageError(
            "a region changes nothing here: the collateral service has one address",
            hint="leave --region out",
        )
    cloud_url = service.pccs_url.replace(REGION, cloud.region(region))
    if pccs is None:
        return _Urls(cloud_url, service.collateral_url)
    named = pccs if pccs.endswith("/") else f"{pccs}/"
    return _Urls(named, None) if service.local_pck_url is None else _Urls(cloud_url, named)


def _entries(service: Service, urls: _Urls) -> dict[str, Any]:
    found: dict[str, Any] = {"pccs_url": urls.pck, "use_secure_cert": True}
    if urls.collateral is not None:
        found["collateral_service"] = urls.collateral
    found |= {"retry_times": RETRIES, "retry_delay": RETRY_SECONDS}
    if service.local_pck_url is not None:
        found["local_pck_url"] = service.local_pck_url
    found["pck_cache_expire_hours"] = PCK_HOURS
    found["verify_collateral_cache_expire_hours"] = COLLATERAL_HOURS
    if service.pck_headers or service.pck_params:
        options = {"headers": service.pck_headers, "params": service.pck_params}
        found["custom_request_options"] = {"get_cert": options}
    return found
