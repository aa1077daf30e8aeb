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
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import DecodeError

from sealserve.client.answers import Array, Signature, VersionStatus, arrays, signatures, statuses
from sealserve.client.channel import certificate_name, open_channel, parse_targets
from sealserve.client.credentials import Pem, load_credentials
from sealserve.client.diagnosis import diagnose
from sealserve.client.findings import Finding
from sealserve.client.statuses import as_network_error, as_serving_error, is_unavailable
from sealserve.errors import FormatError, SealServeError, UsageError
from sealserve.messages.metadata_pb2 import GetModelMetadataRequest
from sealserve.messages.predict_pb2 import ModelSpec, PredictRequest, PredictResponse
from sealserve.messages.services import (
    GET_MODEL_METADATA,
    GET_MODEL_STATUS,
    PREDICT,
    Message,
    Method,
)
from sealserve.messages.status_pb2 import GetModelStatusRequest
from sealserve.messages.tensors import fill_proto

DEFAULT_TIMEOUT = 30.0  # seconds
DEFAULT_MAX_MESSAGE = 256 << 20  # bytes
DIAGNOSIS_SECONDS = 2.0

Response = TypeVar("Response", bound=Message)


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
        self.targets = parse_targets(targets)
        self.timeout = timeout
        self.max_message_bytes = max_message_bytes
        if dangerously_plaintext and (ca or certificate or private_key or server_name):
            raise UsageError("plaintext has no CA, certificate, key or server name")
        self._credentials = (
            None if dangerously_plaintext else load_credentials(ca, certificate, private_key)
        )
        self._name = "" if dangerously_plaintext else certificate_name(self.targets, server_name)
        self._channel = open_channel(
            self.targets,
            self._credentials,
            name=self._name,
            max_message_bytes=max_message_bytes,
        )

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
        request = predict_request(model, inputs, signature=signature, version=version)
        response = self.predict_message(request, timeout=timeout)
        return arrays(response, limit_bytes=self.max_message_bytes)

    def predict_message(
        self, request: PredictRequest, *, timeout: float | None = None
    ) -> PredictResponse:
        """The answer to a request, both as messages; raises like `predict`."""
        return self._call(PREDICT, request, timeout)

    def predict_bytes(self, request: bytes, *, timeout: float | None = None) -> bytes:
        """The serialized answer to a serialized request: for load, and for passing on.

        A failure is not looked into: what `predict` reports as NetworkError with a reason is
        Unavailable here.
        """
        try:
            return self._send(PREDICT.path, request, self._seconds(timeout))
        except grpc.RpcError as error:
            raise as_serving_error(error) from error

    def status(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> tuple[VersionStatus, ...]:
        """The state of each version of a model that the server knows; raises like `predict`."""
        request = GetModelStatusRequest(model_spec=_model_spec(model, version))
        return statuses(self._call(GET_MODEL_STATUS, request, timeout))

    def metadata(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> dict[str, Signature]:
        """The signatures of a model by name; raises like `predict`."""
        request = GetModelMetadataRequest(
            model_spec=_model_spec(model, version), metadata_field=["signature_def"]
        )
        return signatures(self._call(GET_MODEL_METADATA, request, timeout))

    def close(self) -> None:
        """End all connections; calls under way are cancelled."""
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

    def _call(
        self, method: Method[Any, Response], request: Message, timeout: float | None
    ) -> Response:
        seconds = self._seconds(timeout)
        deadline = time.monotonic() + seconds
        try:
            answer = self._send(method.path, request.SerializeToString(), seconds)
        except grpc.RpcError as error:
            raise self._explained(error, deadline) from error
        try:
            return method.response.FromString(answer)
        except DecodeError as error:
            raise FormatError(
                f"the answer to {method.name} is no protobuf message of it"
            ) from error

    def _send(self, path: str, request: bytes, seconds: float) -> bytes:
        answer: bytes = self._channel.unary_unary(path)(request, timeout=seconds)
        return answer

    def _seconds(self, timeout: float | None) -> float:
        seconds = self.timeout if timeout is None else timeout
        if not 0 < seconds < float("inf"):
            raise UsageError(f"a timeout of {seconds} seconds; expected more than 0, and an end")
        return seconds

    def _explained(self, error: grpc.RpcError, deadline: float) -> SealServeError:
        finding = self._finding(deadline) if is_unavailable(error) else None
        return as_serving_error(error) if finding is None else as_network_error(finding)

    def _finding(self, deadline: float) -> Finding | None:
        """Why the first target that does not serve us does not, in what is left of the call."""
        end = min(deadline, time.monotonic() + DIAGNOSIS_SECONDS)
        for target in self.targets:
            left = end - time.monotonic()
            if left <= 0:
                break
            finding = diagnose(target, self._credentials, self._name, timeout=left)
            if finding is not None:
                return finding
        return None


def predict_request(
    model: str,
    inputs: Mapping[str, Array],
    *,
    signature: str = "serving_default",
    version: int | None = None,
) -> PredictRequest:
    """The message of a prediction; InvalidArgument for an array that cannot be sent."""
    request = PredictRequest(model_spec=_model_spec(model, version))
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        fill_proto(request.inputs[name], array)
    return request


def _model_spec(model: str, version: int | None) -> ModelSpec:
    spec = ModelSpec(name=model)
    if version is not None:
        spec.version.value = version
    return spec
