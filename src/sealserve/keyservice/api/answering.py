"""How what went wrong is answered: a stable code, a status, words for an authenticated person.

Nothing of a request is repeated: validation errors name the field and what is wrong with it, never
what was sent, because that may be a secret.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sealserve.errors import (
    ConfigError,
    DeniedError,
    FormatError,
    IntegrityError,
    NetworkError,
    RejectedError,
    SealServeError,
    UsageError,
)
from sealserve.keyservice.administration.answers import ErrorAnswer, ErrorFacts
from sealserve.keyservice.administration.wire import (
    NewRevocation,
    NewSecret,
    PolicyToApply,
    RecordsQuery,
    Retire,
)
from sealserve.keyservice.api.guarding import TOO_LARGE
from sealserve.logline import line

_BY_CODE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "no-secret": HTTPStatus.NOT_FOUND,
        "no-version": HTTPStatus.NOT_FOUND,
        "no-record": HTTPStatus.NOT_FOUND,
        "not-revoked": HTTPStatus.NOT_FOUND,
        "secret-exists": HTTPStatus.CONFLICT,
        "dry-run-outdated": HTTPStatus.CONFLICT,
        TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    }
)
_BY_CLASS: Final = (
    (ConfigError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (FormatError, HTTPStatus.BAD_REQUEST),
    (RejectedError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DeniedError, HTTPStatus.FORBIDDEN),
    (NetworkError, HTTPStatus.SERVICE_UNAVAILABLE),
    (IntegrityError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
_HTTP: Final[Mapping[int, str]] = MappingProxyType(
    {404: "request.no-endpoint", 405: "request.method", 400: "request.malformed"}
)
_FIELDS: Final = frozenset(
    name
    for model in (NewSecret, Retire, NewRevocation, PolicyToApply, RecordsQuery)
    for name in model.model_fields
) | {"name", "index", "old_size"}
_SHOWN: Final = 5  # faults of one request

log = logging.getLogger(__name__)


def status_of(error: SealServeError) -> int:
    """The HTTP status that says what kind of error it is."""
    by_class = (status for kind, status in _BY_CLASS if isinstance(error, kind))
    return _BY_CODE.get(error.code) or next(by_class, HTTPStatus.INTERNAL_SERVER_ERROR)


async def on_error(_request: Request, error: Exception) -> JSONResponse:
    """The answer to an error of ours."""
    if not isinstance(error, SealServeError):
        raise error
    return refusal(status_of(error), ErrorAnswer.of(error))


async def on_invalid(_request: Request, error: Exception) -> JSONResponse:
    """The answer to what is not as the schema says."""
    if not isinstance(error, RequestValidationError):
        raise error
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return _refuse(HTTPStatus.BAD_REQUEST, "request.malformed", "the body is no JSON")
    said = "; ".join(f"{_place(fault['loc'])}: {fault['type']}" for fault in faults[:_SHOWN])
    return _refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "request.invalid", said)


async def on_http(_request: Request, error: Exception) -> JSONResponse:
    """The answer to what is no request of any endpoint."""
    if not isinstance(error, HTTPException):
        raise error
    status = error.status_code
    code = _HTTP.get(status, "request.malformed")
    return _refuse(status, code, HTTPStatus(status).phrase.lower())


async def on_fault(request: Request, error: Exception) -> JSONResponse:
    """The answer to a fault of ours. Its text is nowhere: it might quote a secret."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else None
    visit = getattr(request.state, "visit", None)
    log.error(
        line(
            "admin_fault",
            request_id=getattr(visit, "request_id", None),
            operation=getattr(visit, "operation", None),
            reason=type(error).__name__,
            where=where,
        )
    )
    return _refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "fault", "a fault in the service; see its log")


def refusal(status: int, answer: ErrorAnswer) -> JSONResponse:
    """An error as an answer."""
    return JSONResponse(answer.model_dump(exclude_none=True), status)


def _refuse(status: int, code: str, message: str) -> JSONResponse:
    facts = ErrorFacts(code=code, family="usage", message=message)
    return refusal(status, ErrorAnswer(error=facts))


def _place(location: Sequence[Any]) -> str:
    """Where a fault is, by names of ours alone."""
    return next((part for part in reversed(location) if part in _FIELDS), "the request")
