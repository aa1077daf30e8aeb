"""`AsyncClient`: the same calls as `Client`, for programs on asyncio.

It asks the same questions, with the same deadlines, retries, limits and errors. A client belongs
to the event loop of its first call, where it connects; what would block there (a resolver, the
look at a server that was not reached) waits in a thread. `timeout` is an argument, because a
call's deadline is the server's too.
"""
# ruff: noqa: ASYNC109

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from sealserve.client import questions
from sealserve.client.answers import Array, Class, Signature, VersionStatus
from sealserve.client.credentials import Pem
from sealserve.client.examples import Example
from sealserve.client.questions import Question
from sealserve.client.readiness import is_ready, means_not_ready
from sealserve.client.service import (
    DEFAULT_MAX_MESSAGE,
    DEFAULT_TIMEOUT,
    find_service,
    require_timeout,
)
from sealserve.client.statuses import as_serving_error
from sealserve.errors import DeadlineExceeded, SealServeError, UsageError
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse

Answer = TypeVar("Answer")


class AsyncClient:
    """A connection to one service for one event loop; arguments, answers, errors: see `Client`.

    Any number of calls may be under way. A call that is cancelled is cancelled on the server too.
    """

    def __init__(
        self,
        targets: str | Sequence[str],
        *,
        ca: Pem | None = None,
        certificate: Pem | None = None,
        private_key: Pem | None = None,
        server_name: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE,
        dangerously_plaintext: bool = False,
    ) -> None:
        self._service = find_service(
            targets,
            ca=ca,
            certificate=certificate,
            private_key=private_key,
            server_name=server_name,
            max_message_bytes=max_message_bytes,
            dangerously_plaintext=dangerously_plaintext,
        )
        self.targets = self._service.targets
        self.timeout = timeout
        self.max_message_bytes = max_message_bytes
        self._opening = asyncio.Lock()
        self._channel: Any = None
        self._closed = False

    async def predict(
        self,
        model: str,
        inputs: Mapping[str, Array],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        timeout: float | None = None,
    ) -> dict[str, Array]:
        """The model's outputs by name for arrays by input name; see `Client.predict`."""
        question = questions.predict(
            model,
            inputs,
            signature=signature,
            version=version,
            limit_bytes=self.max_message_bytes,
        )
        return await self._ask(question, timeout)

    async def predict_message(
        self, request: PredictRequest, *, timeout: float | None = None
    ) -> PredictResponse:
        """The answer to a request, both as messages; raises like `predict`."""
        return await self._ask(questions.predict_message(request), timeout)

    async def predict_bytes(self, request: bytes, *, timeout: float | None = None) -> bytes:
        """The serialized answer to a serialized request; a failure is not looked into."""
        seconds = self._seconds(timeout)
        try:
            return await self._send(questions.predict_bytes(request), time.monotonic() + seconds)
        except grpc.RpcError as error:
            raise as_serving_error(error) from error

    async def classify(
        self,
        model: str,
        examples: Sequence[Example],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        timeout: float | None = None,
    ) -> tuple[tuple[Class, ...], ...]:
        """The classes of each example; see `Client.classify`."""
        question = questions.classify(model, examples, signature=signature, version=version)
        return await self._ask(question, timeout)

    async def regress(
        self,
        model: str,
        examples: Sequence[Example],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        timeout: float | None = None,
    ) -> Array:
        """The value of each example, float32 of shape [examples]; see `Client.regress`."""
        question = questions.regress(model, examples, signature=signature, version=version)
        return await self._ask(question, timeout)

    async def status(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> tuple[VersionStatus, ...]:
        """The state of each version of a model that the server knows; raises like `predict`."""
        return await self._ask(questions.status(model, version=version), timeout)

    async def metadata(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> dict[str, Signature]:
        """The signatures of a model by name; raises like `predict`."""
        return await self._ask(questions.metadata(model, version=version), timeout)

    async def ready(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> bool:
        """Whether the model can be asked for predictions now; see `Client.ready`."""
        try:
            return is_ready(await self.status(model, version=version, timeout=timeout))
        except SealServeError as error:
            if means_not_ready(error):
                return False
            raise

    async def close(self) -> None:
        """End all connections; calls under way are cancelled."""
        self._closed = True
        async with self._opening:
            if self._channel is not None:
                await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(self, question: Question[Answer], timeout: float | None) -> Answer:
        deadline = time.monotonic() + self._seconds(timeout)
        try:
            answer = await self._send(question, deadline)
        except grpc.RpcError as error:
            raise await asyncio.to_thread(self._service.explained, error, deadline) from error
        return question.read(answer)

    async def _send(self, question: Question[Answer], deadline: float) -> bytes:
        channel = await self._opened(deadline)
        call = channel.unary_unary(question.path)
        answer: bytes = await call(question.request, timeout=max(0.0, deadline - time.monotonic()))
        return answer

    async def _opened(self, deadline: float) -> Any:
        if self._channel is None:
            try:
                async with asyncio.timeout(deadline - time.monotonic()), self._opening:
                    await self._open()
            except TimeoutError as error:
                raise DeadlineExceeded("no connection before the deadline") from error
        if self._closed:
            raise UsageError("this client is closed")
        return self._channel

    async def _open(self) -> None:
        if self._channel is None and not self._closed:
            target = await asyncio.to_thread(self._service.resolved)
            self._channel = self._service.channel(grpc.aio, target)

    def _seconds(self, timeout: float | None) -> float:
        return require_timeout(self.timeout if timeout is None else timeout)
