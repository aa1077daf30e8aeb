"""`Client`: predictions, metadata and status over gRPC, with numpy in and out.

A client holds one channel over all targets and may be used by many threads. It connects at the
first call. Every call has a deadline, the answer has a size limit, and every failure is an
exception of ours. The methods and messages are TensorFlow Serving's, so the same client works
against the stock server.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import grpc

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
from sealserve.errors import SealServeError, UsageError
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse

Answer = TypeVar("Answer")


class Client:
    """A connection to one service, by one or several targets (`host:port`).

    `ca`, `certificate` and `private_key` are PEM bytes or paths. Without `ca` the public roots are
    trusted; with a certificate and key TLS is mutual. `server_name` is the name that the server's
    certificate must carry where that is not the target's host, and the name that an edge routes by.
    `timeout` (seconds, for each call) and `max_message_bytes` (request and answer) are defaults
    that hold for every call. Raises UsageError or ConfigError at once, and connects later.
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
        self._channel = self._service.channel(grpc, self._service.resolved())
        self._closed = False

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Array],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        timeout: float | None = None,
    ) -> dict[str, Array]:
        """The model's outputs by name for arrays by input name.

        Arrays go as they are: dtype and shape are those that the signature asks for. Raises
        InvalidArgument, NotFound and the other ServingErrors for what the server refuses,
        NetworkError where it is not reached, FormatError for an answer that makes no sense.
        """
        question = questions.predict(
            model,
            inputs,
            signature=signature,
            version=version,
            limit_bytes=self.max_message_bytes,
        )
        return self._ask(question, timeout)

    def predict_message(
        self, request: PredictRequest, *, timeout: float | None = None
    ) -> PredictResponse:
        """The answer to a request, both as messages; raises like `predict`."""
        return self._ask(questions.predict_message(request), timeout)

    def predict_bytes(self, request: bytes, *, timeout: float | None = None) -> bytes:
        """The serialized answer to a serialized request: for load, and for passing on.

        A failure is not looked into: what `predict` reports as NetworkError with a reason is
        Unavailable here.
        """
        try:
            return self._send(questions.predict_bytes(request), self._seconds(timeout))
        except grpc.RpcError as error:
            raise as_serving_error(error) from error

    def classify(
        self,
        model: str,
        examples: Sequence[Example],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        timeout: float | None = None,
    ) -> tuple[tuple[Class, ...], ...]:
        """The classes of each example, in the server's order; raises like `predict`.

        An example is a dict of features: numbers, bool, str or bytes, one or a list of them.
        """
        question = questions.classify(model, examples, signature=signature, version=version)
        return self._ask(question, timeout)

    def regress(
        self,
        model: str,
        examples: Sequence[Example],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        timeout: float | None = None,
    ) -> Array:
        """The value of each example, float32 of shape [examples]; raises like `predict`."""
        question = questions.regress(model, examples, signature=signature, version=version)
        return self._ask(question, timeout)

    def status(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> tuple[VersionStatus, ...]:
        """The state of each version of a model that the server knows; raises like `predict`."""
        return self._ask(questions.status(model, version=version), timeout)

    def metadata(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> dict[str, Signature]:
        """The signatures of a model by name; raises like `predict`."""
        return self._ask(questions.metadata(model, version=version), timeout)

    def ready(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> bool:
        """Whether a version of the model (or this one) can be asked for predictions now.

        False too while the server does not know the model, is not available or does not listen
        yet. Whatever waiting does not mend, such as a certificate, is raised.
        """
        try:
            return is_ready(self.status(model, version=version, timeout=timeout))
        except SealServeError as error:
            if means_not_ready(error):
                return False
            raise

    def close(self) -> None:
        """End all connections; calls under way are cancelled."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, question: Question[Answer], timeout: float | None) -> Answer:
        seconds = self._seconds(timeout)
        deadline = time.monotonic() + seconds
        try:
            answer = self._send(question, seconds)
        except grpc.RpcError as error:
            raise self._service.explained(error, deadline) from error
        return question.read(answer)

    def _send(self, question: Question[Answer], seconds: float) -> bytes:
        if self._closed:
            raise UsageError("this client is closed")
        answer: bytes = self._channel.unary_unary(question.path)(question.request, timeout=seconds)
        return answer

    def _seconds(self, timeout: float | None) -> float:
        return require_timeout(self.timeout if timeout is None else timeout)
