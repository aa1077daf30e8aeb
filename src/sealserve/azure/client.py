"""One instance of Azure Attestation as a verifier: a quote in, claims out, by a token of its own.

Every question has a fresh nonce, so that no token answers two. The instance's keys are kept for an
hour, and fetched anew when a token names one that is not among those that were kept: keys are
rolled over. A quote that the instance refuses is rejected; where it cannot be asked, or answers
what is no answer, nothing is known and the error is a RemoteVerifierError.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import httpx

from sealserve import jws
from sealserve.azure import transport
from sealserve.azure.instance import Instance
from sealserve.errors import FormatError, RemoteVerifierError, VerificationError
from sealserve.verifier.claims import Claims
from sealserve.verifier.codes import rejection
from sealserve.verifier.maa import KEYS_PATH, TOKEN_LIMIT, Question, ask, verify_token
from sealserve.verifier.maa_codes import MaaCode
from sealserve.verifier.maa_keys import KEYS_LIMIT, KeySet, parse_keys

API_VERSION: Final = "2025-06-01"
KEYS_MAX_AGE: Final = timedelta(hours=1)
_ANSWER_LIMIT: Final = TOKEN_LIMIT + 1024  # bytes: a token, and the JSON around it
_NONCE_BYTES: Final = 32


class _Kept(NamedTuple):
    keys: KeySet
    since: float


class AzureAttestation:
    """Asks one instance. Belongs to one event loop; several questions may be under way."""

    def __init__(
        self,
        instance: Instance,
        *,
        keys_max_age: timedelta = KEYS_MAX_AGE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._instance = instance
        self._keys_max_age = keys_max_age.total_seconds()
        self._clock = clock
        self._kept: _Kept | None = None
        self._fetching = asyncio.Lock()

    async def claims(self, quote: bytes, runtime_data: bytes) -> Claims:
        """What the instance vouches for about `quote`, whose report data binds `runtime_data`.

        Raises VerificationError, or RemoteVerifierError at the latest when the timeout has passed.
        """
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        question = ask(self._instance.url, quote, runtime_data, nonce)
        async with transport.connect(self._instance) as connection:
            return await self._answer(connection, question)

    def forget(self) -> None:
        """Fetch the instance's keys anew from now on."""
        self._kept = None

    async def _answer(self, connection: transport.Connection, question: Question) -> Claims:
        began = asyncio.get_running_loop().time()
        answer = await connection.send(
            "POST",
            f"{question.path}?api-version={API_VERSION}",
            content=question.content(),
            limit=_ANSWER_LIMIT,
        )
        token = _token(answer)
        kept = await self._keys(connection, not_before=began - self._keys_max_age)
        try:
            return verify_token(token, kept.keys, question, self._clock())
        except VerificationError as error:
            if error.code != MaaCode.KEY_UNKNOWN or kept.since >= began:
                raise
        kept = await self._keys(connection, not_before=began)
        return verify_token(token, kept.keys, question, self._clock())

    async def _keys(self, connection: transport.Connection, *, not_before: float) -> _Kept:
        """The keys, fetched at `not_before` (of the loop's clock) or later."""
        async with self._fetching:
            kept = self._kept
            if kept is None or kept.since < not_before:
                now = asyncio.get_running_loop().time()
                path = f"{KEYS_PATH}?api-version={API_VERSION}"
                answer = await connection.send("GET", path, limit=KEYS_LIMIT)
                if answer.status != httpx.codes.OK:
                    raise _unexpected(answer, "its keys")
                kept = self._kept = _Kept(parse_keys(answer.body), now)
            return kept


def _token(answer: transport.Answer) -> str:
    """The token in an answer; raises VerificationError (`MAA_REFUSED`) where the answer is no."""
    if answer.status == httpx.codes.BAD_REQUEST:
        raise rejection(
            MaaCode.REFUSED,
            f"the instance refuses the quote: {_reason(answer.body)}",
            hint="its policy, or Azure's baseline for platforms, may not allow this one",
        )
    if answer.status != httpx.codes.OK:
        raise _unexpected(answer, "a token")
    try:
        token = jws.read_object(answer.body, "the instance's answer").get("token")
    except FormatError as error:
        raise RemoteVerifierError(error.message) from None
    if not isinstance(token, str):
        raise RemoteVerifierError("the instance's answer holds no token")
    return token


def _reason(body: bytes) -> str:
    """What the service says in an error response; nobody vouches for it."""
    try:
        error = jws.read_object(body, "the refusal").get("error")
    except FormatError:
        error = None
    if not isinstance(error, dict):
        return "it does not say why"
    said = f"{error.get('code')}: {error.get('message')}"
    return "".join(each if each.isprintable() else " " for each in said[:300])


def _unexpected(answer: transport.Answer, what: str) -> RemoteVerifierError:
    hints = {
        401: "SealServe asks without credentials, as the interface allows for attestation",
        403: "SealServe asks without credentials, as the interface allows for attestation",
        404: "is this the URL of an instance?",
    }
    return RemoteVerifierError(
        f"the instance answered HTTP {answer.status}, and not {what}",
        hint=hints.get(answer.status),
    )
