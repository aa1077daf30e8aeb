"""GET requests to a service that may be slow, down, wrong or hostile: `Fetcher`.

Tried again is what another try may mend: a connection that fails or breaks, HTTP 429 and 5xx, after
a pause that doubles each time and is never shorter than the service's `Retry-After`. Where the
deadline would come first, the answer is no at once: whoever waits may have another source. No
redirect is followed, no compressed answer is read, and no answer beyond its limit.
Source: RFC 9110, sections 10.2.3 (Retry-After) and 15; the status codes of Intel's Provisioning
Certification Service API, version 4.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import SystemRandom
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

import httpx

from sealserve.endorsements.chain import CHAIN_LIMIT
from sealserve.endorsements.collateral import PART_LIMIT
from sealserve.endorsements.pccs.interface import Request
from sealserve.errors import CollateralError

KEY_HEADER: Final = "Ocp-Apim-Subscription-Key"

_ATTEMPTS = 4
_FIRST_PAUSE = 0.25  # seconds
_WORTH_ANOTHER_TRY = frozenset({429, 500, 502, 503, 504})
_MEANINGS: Mapping[int, str] = MappingProxyType(
    {
        400: "it does not take these parameters",
        401: "it does not let us in; it may want a subscription key, or another one",
        403: "it does not let us in; it may want a subscription key, or another one",
        404: "it has nothing for this platform",
        410: "it no longer speaks this version of the interface",
        429: "it asks for fewer requests",
    }
)
_HINT = "is the collateral service's URL right, and is it up?"
_random = SystemRandom()  # many key services, started together, should not ask in step


class Answer(NamedTuple):
    """A good answer."""

    body: bytes
    headers: httpx.Headers


@dataclass(frozen=True, slots=True)
class _Setback:
    """Why an attempt failed, where another may do better."""

    problem: str
    retry_after: float = 0.0
    """Seconds that the service asks us to wait."""


class Fetcher:
    """The requests of one call; the key, if there is one, goes to one origin alone."""

    def __init__(
        self, http: httpx.AsyncClient, seconds: float, *, key: str | None, key_url: str
    ) -> None:
        """For all requests there are `seconds` from now; the key is for the origin of a URL."""
        self._http = http
        self._seconds = seconds
        self._deadline = self._now() + seconds
        self._key = key
        self._key_origin = _origin(httpx.URL(key_url))
        self._setback = ""

    async def get_signed(
        self, what: str, request: Request, chain_headers: tuple[str, ...]
    ) -> tuple[bytes, bytes]:
        """A body, and its signer's chain (PEM) from the first of the headers that is there."""
        body, headers = await self._get(what, request)
        host = httpx.URL(request.url).host
        encoded = next((headers[name] for name in chain_headers if name in headers), None)
        if encoded is None:
            raise CollateralError(f"{host} sent no {chain_headers[0]} with the {what}")
        if len(encoded) > CHAIN_LIMIT:
            raise CollateralError(f"{host}: the issuer chain of the {what} is too long")
        return body, unquote_to_bytes(encoded)

    async def get(self, what: str, request: Request) -> bytes:
        """A body alone; `what` names it in messages."""
        body, _ = await self._get(what, request)
        return body

    async def _get(self, what: str, request: Request) -> Answer:
        url = httpx.URL(request.url, params=request.query)
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._try(what, url)
        except TimeoutError:
            before = f" (before: {self._setback})" if self._setback else ""
            raise CollateralError(
                f"{url.host} did not send the {what} in the {self._seconds:g} seconds there were"
                + before,
                hint="is the collateral service up, and reachable from here?",
            ) from None

    async def _try(self, what: str, url: httpx.URL) -> Answer:
        attempts, self._setback = 0, ""
        while True:
            answer = await self._attempt(what, url)
            if isinstance(answer, Answer):
                return answer
            pause = max(_back_off(attempts), answer.retry_after)
            attempts, self._setback = attempts + 1, answer.problem
            if attempts == _ATTEMPTS or self._now() + pause >= self._deadline:
                raise CollateralError(answer.problem, hint=_HINT)
            await asyncio.sleep(pause)

    async def _attempt(self, what: str, url: httpx.URL) -> Answer | _Setback:
        headers = {KEY_HEADER: self._key} if self._key and _origin(url) == self._key_origin else {}
        try:
            async with self._http.stream("GET", url, headers=headers) as response:
                if response.status_code == httpx.codes.OK:
                    return Answer(await _body(what, response), response.headers)
                return _refusal(what, response)
        except httpx.TimeoutException:
            return _Setback(f"{url.host} was silent for {self._http.timeout.read:g} seconds")
        except httpx.ProxyError as error:
            return _Setback(f"the proxy does not lead to {url.host}: {error}")
        except httpx.HTTPError as error:
            _refuse_untrusted(url, error)
            return _Setback(f"cannot reach {url.host}: {str(error) or type(error).__name__}")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _body(what: str, response: httpx.Response) -> bytes:
    """The body, as long as it is short and as it was sent."""
    host = response.url.host
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise CollateralError(f"{host} compressed the {what}, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > PART_LIMIT:
            raise CollateralError(f"{host}: the {what} exceeds {PART_LIMIT} bytes")
    return bytes(body)


def _refusal(what: str, response: httpx.Response) -> _Setback:
    """What may get better; raises CollateralError for the rest."""
    meaning = _MEANINGS.get(response.status_code)
    retry_after = _retry_after(response)
    wait = f", and to wait {retry_after:g} seconds" if retry_after else ""
    problem = f"{response.url.host} answered HTTP {response.status_code} for the {what}"
    problem += f": {meaning}{wait}" if meaning else ""
    if response.status_code not in _WORTH_ANOTHER_TRY:
        raise CollateralError(problem, hint=_HINT)
    return _Setback(problem, retry_after)


def _refuse_untrusted(url: httpx.URL, error: BaseException) -> None:
    """Raise CollateralError if it was the certificate: the next try would meet the same one."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise CollateralError(
                f"cannot trust {url.host}: {cause.verify_message or 'its certificate is invalid'}",
                hint="if a private authority issued the service's certificate, name its "
                "certificate; if a proxy reads TLS, exempt this host",
            ) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _back_off(attempt: int) -> float:
    return _FIRST_PAUSE * 2.0**attempt * _random.uniform(1, 1.5)


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the service asks us to wait; a date, which the header may also hold, is none."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 7 else 0.0


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
