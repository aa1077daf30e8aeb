"""The way to a collector of spans: its address, and batches sent to it within a deadline.

It goes over TLS, or does not leave the machine. Batches are sent by the HTTP client that the rest
of SealServe uses, without its environment; of an answer its status alone is read.

Source: OTLP 1.x, HTTP with protobuf.
"""

from __future__ import annotations

import logging
import ssl
import time
from urllib.parse import urlsplit

from sealserve.errors import ConfigError, UsageError
from sealserve.hosts import is_loopback
from sealserve.logline import line

log = logging.getLogger(__name__)

PATH = "/v1/traces"
SEND_SECONDS = 5.0


def collector_url(endpoint: str) -> str:
    """Where spans are sent; UsageError for what is no address, or neither TLS nor this machine."""
    parts = urlsplit(endpoint)
    bare = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
    try:
        known = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        known = False
    if parts.scheme not in ("https", "http") or not bare or not known:
        raise UsageError(f"--trace_endpoint is https://HOST:PORT, not {endpoint!r}")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UsageError(
            "--trace_endpoint: spans leave this machine over TLS alone",
            hint="https://HOST:PORT, with --trace_ca for an authority of your own",
        )
    return f"{parts.scheme}://{parts.netloc}{PATH}"


class Sender:
    """Posts batches; `done` counts the spans that were sent or given up. Belongs to one thread."""

    def __init__(self, url: str, ca: bytes | None) -> None:
        self.done = 0
        self._url = url
        self._end: float | None = None  # on the monotonic clock
        self._away = False
        import httpx  # a tenth of a second, and most servers send no spans

        self._errors = (httpx.HTTPError, OSError)
        self._client = httpx.Client(
            verify=_authorities(ca), trust_env=False, timeout=SEND_SECONDS, follow_redirects=False
        )

    def hurry(self, seconds: float) -> None:
        """Send nothing after so many seconds."""
        self._end = time.monotonic() + seconds

    def send(self, body: bytes, spans: int) -> bool:
        """Whether the collector took it."""
        left = SEND_SECONDS if self._end is None else self._end - time.monotonic()
        try:
            if left <= 0:
                return False
            trouble = self._post(body, min(left, SEND_SECONDS))
        finally:
            self.done += spans
        if trouble and not self._away:
            log.warning(line("collector_away", reason=trouble))
        elif self._away and not trouble:
            log.info(line("collector_back"))
        self._away = bool(trouble)
        return not trouble

    def _post(self, body: bytes, seconds: float) -> str:
        """What went wrong; empty if nothing did."""
        headers = {"content-type": "application/x-protobuf"}
        try:
            with self._client.stream(
                "POST", self._url, content=body, headers=headers, timeout=seconds
            ) as answer:
                return "" if answer.is_success else f"HTTP {answer.status_code}"
        except self._errors as error:
            return type(error).__name__

    def close(self) -> None:
        """No more."""
        self._client.close()


def _authorities(ca: bytes | None) -> ssl.SSLContext:
    if ca is None:
        import httpx

        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cadata=ca.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        raise ConfigError("--trace_ca: no certificates in PEM") from None
