"""The endpoints together, and their description (OpenAPI 3.1)."""

from __future__ import annotations

import functools
import json
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from sealserve import __version__
from sealserve.errors import SealServeError
from sealserve.keyservice.administration.values import Role
from sealserve.keyservice.api import log, rules, secrets
from sealserve.keyservice.api.access import OPERATIONS
from sealserve.keyservice.api.answering import on_error, on_fault, on_http, on_invalid
from sealserve.keyservice.api.guarding import ERRORS, GuardedRoute

_DESCRIPTION: Final = (
    "Secrets, revocations, policy and audit log of a SealServe key service. Every client shows a "
    "TLS certificate; a name in its subjectAltName has a role: owner, auditor or operator. Every "
    "answer has `X-Request-Id`, which the service's log and the audit log repeat. A change is on "
    "record, and in force for the next release in every copy, when it is answered."
)

_described = APIRouter(route_class=GuardedRoute, responses=ERRORS)


@_described.get("/openapi.json", operation_id="openapi", response_model=dict[str, Any])
async def openapi() -> Response:
    """This document."""
    return Response(_document_as_json(), media_type="application/json")


def make_application() -> FastAPI:
    """The endpoints, without a gate before them."""
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in (_described, secrets.router, rules.router, log.router):
        application.include_router(router)
    application.add_exception_handler(SealServeError, on_error)
    application.add_exception_handler(RequestValidationError, on_invalid)
    application.add_exception_handler(HTTPException, on_http)
    application.add_exception_handler(Exception, on_fault)
    return application


def openapi_document() -> dict[str, Any]:
    """The API's description, as a JSON object: each operation with the roles that may use it."""
    document = get_openapi(
        title="SealServe key service",
        version=__version__,
        description=_DESCRIPTION,
        routes=make_application().routes,
    )
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["certificate"] = {
        "type": "mutualTLS",
        "description": "A client certificate of the authority that the service names.",
    }
    document["security"] = [{"certificate": []}]
    for methods in document["paths"].values():
        for operation in methods.values():
            roles = [str(role) for role in Role if role in OPERATIONS[operation["operationId"]]]
            operation["x-roles"] = roles
            operation["description"] += f"\n\nRoles: {', '.join(roles)}."
    return document


@functools.cache
def _document_as_json() -> bytes:
    return json.dumps(openapi_document()).encode()
