"""Whether a collateral service answers here, with TLS verified, and what time it says it is.

One request, for the QE identity, which every service has; nothing of the answer is believed but the
status and the date. The system's trusted authorities decide, as they do for Intel's library.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from sealserve.deploy.clouds.machine import qcnl_path
from sealserve.deploy.clouds.qcnl_text import QCNL_LIMIT, read_qcnl
from sealserve.deploy.finding import Finding
from sealserve.endorsements.pccs import DEFAULT_PATH
from sealserve.errors import FormatError

SECONDS = 3.0
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})  # no proxy leads there
_EXPECTED = "an answer to a request for the QE identity, with TLS verified"


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking; `skew` is how many seconds this machine is ahead of the service."""

    finding: Finding
    skew: float | None = None


def configured(root: Path) -> str | None:
    """The service for all but PCK certificates in Intel's own configuration on that machine."""
    try:
        with qcnl_path(root).open("rb") as stream:
            values = read_qcnl(stream.read(QCNL_LIMIT + 1)).values
    except (OSError, FormatError):
        return None
    urls = (values.get("collateral_service"), values.get("pccs_url"))
    return next((url for url in urls if isinstance(url, str) and url), None)


def ask(base_url: str | None) -> Asked:
    """Ask the service at `base_url`; None where none is named."""
    if base_url is None:
        advice = "name one with --pccs, or in /etc/sgx_default_qcnl.conf; the lab brings its own"
        return Asked(_finding(False, "no service is named", advice))
    try:
        status, date = asyncio.run(_ask(base_url))
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ssl.SSLError) as error:
        reason = str(error) or f"no answer within {SECONDS:g} seconds"
        advice = "is it up and reachable from here, and is its certificate trusted?"
        return Asked(_finding(False, f"{base_url}: {reason}", advice))
    good = status == httpx.codes.OK
    found = f"{base_url}: {'answers' if good else f'answers with status {status}'}"
    advice = f"the base URL ends in {DEFAULT_PATH}: is this one, and is the service filled?"
    return Asked(_finding(good, found, advice), _skew(date))


def _finding(good: bool, found: str, advice: str) -> Finding:
    return Finding("collateral", "PCCS", good, found, "" if good else advice, _EXPECTED)


def _skew(date: str) -> float | None:
    try:
        told = parsedate_to_datetime(date)
    except ValueError:
        return None
    return (datetime.now(UTC) - told.astimezone(UTC)).total_seconds()


async def _ask(base_url: str) -> tuple[int, str]:
    url = httpx.URL(base_url)
    path = url.path.rstrip("/") or DEFAULT_PATH
    async with (
        asyncio.timeout(SECONDS),
        httpx.AsyncClient(
            timeout=SECONDS,
            trust_env=url.host not in _LOCAL,
            verify=ssl.create_default_context(),
        ) as http,
        http.stream("GET", url.copy_with(path=f"{path}/qe/identity")) as answer,
    ):
        return answer.status_code, answer.headers.get("date", "")
