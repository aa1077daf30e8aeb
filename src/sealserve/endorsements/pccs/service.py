"""One collateral service as a configuration names it: a preset or a URL, and how to ask it.

Everything that may be wrong in a configuration is found here, before anything is asked: a host that
would be asked without TLS, a key that others can read, a region that does not exist. The key is
held for `client` alone and is in no text that this module makes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from sealserve.endorsements.collateral import Tee
from sealserve.endorsements.pccs.interface import (
    API_PATH,
    DEFAULT_PATH,
    INTEL_ROOT_CA_CRL,
    Interface,
    Request,
    Update,
    both_interfaces,
)
from sealserve.endorsements.pccs.presets import PRESETS
from sealserve.errors import ConfigError
from sealserve.files import read_secret
from sealserve.hosts import is_loopback

DEFAULT_TIMEOUT: Final = 20.0  # seconds, for all that one platform needs

_KEY_LIMIT = 4096  # bytes of the key's file
_KEY = re.compile(rb"[\x21-\x7e]{1,256}")  # what a header may hold; Intel's keys are 32 hex digits
# Intel's service, and with a name before it its early-access and other stages.
_INTEL_PCS = re.compile(r"([a-z0-9-]+\.)*api\.trustedservices\.intel\.com")
_VERSION_3_REMARK = (
    "version 3 of the interface: it has nothing of TDX, and Intel ended it in May 2026, so a cache "
    "cannot renew what it has; use version 4 where there is one"
)


@dataclass(frozen=True, slots=True)
class Service:
    """Whom to ask for collateral, and how."""

    name: str
    """The preset or the host, for messages."""
    sgx: Interface
    tdx: Interface | None
    update: Update = "standard"
    ca_file: Path | None = None
    """PEM: the authority of the service's own certificate; None: the public ones."""
    subscription_key: str | None = field(default=None, repr=False)
    """Goes to the host of `base_url` alone, and over TLS alone."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds for everything that one platform needs."""
    remarks: tuple[str, ...] = ()
    """What whoever chose this service should be told."""

    @property
    def base_url(self) -> str:
        """`…/sgx/certification/v4` or v3, without a slash at its end."""
        return self.sgx.base_url

    @property
    def api_version(self) -> int:
        """3 or 4."""
        return self.sgx.api_version

    @property
    def is_local(self) -> bool:
        """Whether the service is on this machine, so that no proxy leads to it."""
        return is_loopback(httpx.URL(self.base_url).host)

    def interface(self, tee: Tee) -> Interface | None:
        """The requests for this kind of TEE, where the service has them."""
        return self.sgx if tee == "SGX" else self.tdx


class _Found(NamedTuple):
    name: str
    sgx: Interface
    tdx: Interface | None
    has_early_data: bool = True
    remark: str | None = None


def service(
    name_or_url: str,
    *,
    update: Update = "standard",
    ca_file: Path | None = None,
    subscription_key_file: Path | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> Service:
    """The service behind a preset's name (`intel`, `alibaba:cn-hongkong`) or a URL.

    A URL has its path (`…/sgx/certification/v4`, which also decides the version) or none. `ca_file`
    is PEM; the key's file is private and holds the key alone; `timeout` is in seconds. Raises
    ConfigError.
    """
    found = _by_url(name_or_url) if "://" in name_or_url else _by_name(name_or_url)
    if update == "early" and not found.has_early_data:
        raise ConfigError(
            f"nothing says that the collateral service {found.name!r} gives out early TCB data",
            hint="Intel's own service does: intel",
        )
    remarks = [found.remark] if found.remark else []
    if found.sgx.api_version == 3:
        remarks.append(_VERSION_3_REMARK)
    return Service(
        name=found.name,
        sgx=found.sgx,
        tdx=found.tdx,
        update=update,
        ca_file=ca_file,
        subscription_key=_key(subscription_key_file, found.sgx.base_url),
        timeout=timeout,
        remarks=tuple(remarks),
    )


def _by_name(text: str) -> _Found:
    name, colon, region = text.partition(":")
    preset = PRESETS.get(name)
    if preset is None:
        raise ConfigError(
            f"{text!r} is neither a URL nor a collateral service that is known here",
            hint=f"a URL begins with https://; known are {', '.join(PRESETS)}",
        )
    sgx, tdx = preset.at(name, region if colon else None)
    return _Found(text, sgx, tdx, preset.has_early_data, preset.remark)


def _by_url(text: str) -> _Found:
    base_url = _base_url(text)
    for name, preset in PRESETS.items():
        if preset.sgx.base_url == base_url:
            return _by_name(name)  # Azure's cache is asked in its own way however it was named
    host = httpx.URL(base_url).host
    return _Found(host, *both_interfaces(base_url, root_ca_crl=_intels_root_ca_crl(host)))


def _base_url(text: str) -> str:
    """The base URL of SGX in `text`, without a slash at its end."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        # The text itself is not shown: it may hold a password.
        raise ConfigError(f"the collateral URL is none: {error}") from None
    if not url.host or url.userinfo or url.query or url.fragment:
        raise ConfigError(
            f"{url.host or 'no host'}: a collateral URL is scheme, host, port and path, no more",
            hint=f"such as https://pccs.example:8081{DEFAULT_PATH}",
        )
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise ConfigError(
            f"collateral is fetched over https, not {url.scheme} from {url.host}",
            hint="http is for a service on this machine (127.0.0.1, ::1, localhost); "
            "for a private authority name its certificate",
        )
    path = url.path.rstrip("/") or DEFAULT_PATH
    if not API_PATH.search(path):
        raise ConfigError(
            f"the path of the collateral URL is {path!r}, expected none or one that ends in "
            "/sgx/certification/v4 or v3",
            hint=f"such as https://pccs.example:8081{DEFAULT_PATH}",
        )
    return str(url.copy_with(path="/sgx/".join(path.rsplit("/tdx/", 1))))


def _intels_root_ca_crl(host: str) -> Request | None:
    return Request(INTEL_ROOT_CA_CRL) if _INTEL_PCS.fullmatch(host) else None


def _key(file: Path | None, base_url: str) -> str | None:
    if file is None:
        return None
    if not base_url.startswith("https://"):
        raise ConfigError("a subscription key is sent over https alone", hint="leave the key out")
    key = read_secret(file, limit=_KEY_LIMIT).strip()
    if not _KEY.fullmatch(key):
        raise ConfigError(
            f"{file} holds no subscription key",  # and nothing of it is shown
            hint="the file holds the key alone: one line of printable ASCII",
        )
    return key.decode("ascii")
