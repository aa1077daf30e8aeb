"""Which instance is asked, and how its name is written: its URL is also the issuer of its tokens.

Over TLS alone, since the instance's keys are trusted because they came from its host: with the
system's authorities, or for a private service with one that is named. Microsoft's own instances
take no named authority, so that nobody who can issue for it can pose as them. Plain HTTP is for a
service on this machine, and what it says is simulated.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from sealserve.errors import ConfigError
from sealserve.hosts import is_loopback
from sealserve.verifier.maa import is_microsofts

DEFAULT_TIMEOUT: Final = 20.0  # seconds, for all that one question takes
_URL_LIMIT: Final = 512  # characters


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance, ready to be asked; `instance` makes it."""

    url: str
    """Scheme, host and, unless it is the scheme's own, port: the issuer of its tokens."""
    tls: ssl.SSLContext = field(repr=False)
    is_local: bool
    timeout: float
    """Seconds for one question with everything that belongs to it."""


def instance(
    url: str, *, ca_file: Path | None = None, timeout: float = DEFAULT_TIMEOUT
) -> Instance:
    """The instance at `url`, such as `https://NAME.weu.attest.azure.net`.

    `ca_file` (PEM) names the authority of a private service. Raises ConfigError.
    """
    parsed = _parse(url)
    is_local = is_loopback(parsed.host)
    if parsed.scheme != "https" and not (parsed.scheme == "http" and is_local):
        raise ConfigError(
            f"Azure Attestation is asked over https, not {parsed.scheme or 'nothing'}",
            hint="http is for a service on this machine (127.0.0.1, ::1, localhost)",
        )
    name = str(parsed.copy_with(path="/")).removesuffix("/")
    if ca_file is not None and is_microsofts(name):
        raise ConfigError(
            f"{parsed.host} is Microsoft's, and is not vouched for by a private authority",
            hint="name an authority for a service of your own alone",
        )
    return Instance(name, _tls(ca_file), is_local, timeout)


def _parse(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text[: _URL_LIMIT + 1])
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigError(f"{text[:_URL_LIMIT]!r} is no URL: {error}") from None
    is_bare = url.host and url.path in ("", "/") and not (url.userinfo or url.query or url.fragment)
    if not is_bare or len(text) > _URL_LIMIT:
        raise ConfigError(
            f"{url.host or 'the URL of the instance'}: an instance is scheme, host and port alone",
            hint="such as https://NAME.weu.attest.azure.net",
        )
    return url


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"no certificate authority can be read from {ca_file}: {error}") from None
