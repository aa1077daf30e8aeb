"""Requests to an instance that may be slow, down, wrong or hostile, within one deadline.

Tried again is what another try may mend: a connection that fails or breaks, HTTP 429 and 5xx, after
a pause that doubles and is never shorter than the service's `Retry-After`; where the deadline would
come before the next try, the answer is no at once. To ask twice does no harm: a token is for one
nonce, and only the last answer is looked at. No redirect is followed, no compressed answer is read,
and none beyond its limit.
Source: RFC 9110; the error responses of Azure's REST API guidelines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from sealserve.azure.instance import Instance
from sealserve.errors import RemoteVerifierError

_ATTEMPTS = 4
_FIRST_PAUSE = 0.25  # seconds
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"  # OpenSSL's name for it
_UNTRUSTED_HINT = (
    "if a private authority issued the certificate of a service of your own, name it (maa_ca); "
    "if a proxy reads TLS, exempt this host"
)
_BUSY = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read to its end."""

    status: int
    body: bytes


@asynccontextmanager
async def connect(instance: Instance) -> AsyncIterator[Connection]:
    """A connection for the requests of one question; its deadline runs from now.

    Raises RemoteVerifierError, also in the block when the deadline has passed.
    """
    deadline = asyncio.get_running_loop().time() + instance.timeout
    try:
        async with asyncio.timeout_at(deadline), _client(instance) as http:
            yield Connection(http, deadline)
    except TimeoutError:
        raise RemoteVerifierError(
            f"{instance.url} did not answer within {instance.timeout:g} seconds",
            hint="is the instance up, and reachable from here?",
        ) from None


class Connection:
    """Asks one instance until a deadline (of the loop's clock)."""

    def __init__(self, http: httpx.AsyncClient, deadline: float) -> None:
        self._http = http
        self._deadline = deadline

    async def send(
        self, method: str, path: str, *, content: bytes | None = None, limit: int
    ) -> Answer:
        """The answer to one request, of at most `limit` bytes; raises RemoteVerifierError."""
        host = self._http.base_url.host
        for attempt in range(_ATTEMPTS):
            pause = _FIRST_PAUSE * 2.0**attempt
            try:
                async with self._http.stream(method, path, content=content) as response:
                    if response.status_code not in _BUSY:
                        return Answer(response.status_code, await _body(response, limit))
                    problem = f"{host} answered HTTP {response.status_code}"
                    if retry_after := _retry_after(response):
                        problem += f", and to wait {retry_after:g} seconds"
                        pause = max(pause, retry_after)
            except httpx.HTTPError as error:
                problem = f"cannot reach {host}: {str(error) or type(error).__name__}"
                if _UNTRUSTED in problem:  # the next try would meet the same certificate
                    raise RemoteVerifierError(problem, hint=_UNTRUSTED_HINT) from None
            if attempt == _ATTEMPTS - 1 or not self._has_time_for(pause):
                break
            await asyncio.sleep(pause)
        raise RemoteVerifierError(
            problem, hint="is the instance's URL right, is it up, and reachable from here?"
        )

    def _has_time_for(self, pause: float) -> bool:
        return asyncio.get_running_loop().time() + pause < self._deadline


def _client(instance: Instance) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(
            base_url=instance.url,
            verify=instance.tls,
            timeout=instance.timeout / 2,  # so that a stall leaves another try
            headers={"Accept-Encoding": "identity", "Content-Type": "application/json"},
            trust_env=not instance.is_local,
        )
    except (ValueError, ImportError, httpx.InvalidURL):  # whose text may hold a password
        raise RemoteVerifierError(
            "the proxy that the environment names (https_proxy, all_proxy) cannot be used",
            hint="expected is a URL like http://proxy.example:3128",
        ) from None


async def _body(response: httpx.Response, limit: int) -> bytes:
    path = response.url.path
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise RemoteVerifierError(
            f"{response.url.host} compressed its answer to {path}, which was not asked for"
        )
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise RemoteVerifierError(
                f"{response.url.host}: the answer to {path} exceeds {limit} bytes"
            )
    return bytes(body)


def _retry_after(response: httpx.Response) -> float:
    """Seconds; a date, which the header may also hold, is none."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 7 else 0.0
