"""Endpoints: how the service stands, and its secrets. A value comes in and never goes out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from sealserve.keyservice.administration.answers import SecretAnswer, SecretsAnswer, StatusAnswer
from sealserve.keyservice.administration.values import NAME, Administration, Role
from sealserve.keyservice.administration.wire import NewSecret, NewValue, Retire
from sealserve.keyservice.api.guarding import ERRORS, Asking, GuardedRoute
from sealserve.keyservice.api.redaction import secret_for_operators

router = APIRouter(prefix="/v1", route_class=GuardedRoute, responses=ERRORS)
Named = Annotated[str, Path(pattern=f"^{NAME.pattern}$", description="The secret's name.")]


@router.get("/status", operation_id="status", response_model=StatusAnswer)
async def status(asking: Asking) -> Response:
    """How the service's store stands: log, revision, policy, number of secrets."""
    return await asking.answer(lambda admin: StatusAnswer.of(admin.status()))


@router.get("/secrets", operation_id="list_secrets", response_model=SecretsAnswer)
async def list_secrets(asking: Asking) -> Response:
    """Every version of every secret, by name, newest first; never a value."""
    for_operators = asking.known.role is Role.OPERATOR

    def work(admin: Administration) -> SecretsAnswer:
        found = admin.secrets()
        return SecretsAnswer.of(
            [secret_for_operators(each) for each in found] if for_operators else found
        )

    return await asking.answer(work)


@router.post("/secrets", operation_id="add_secret", response_model=SecretAnswer, status_code=201)
async def add_secret(asking: Asking, body: NewSecret) -> Response:
    """Add a secret under a new name, at version 1."""
    return await asking.answer(
        lambda admin: SecretAnswer.of(admin.add_secret(body.name, body.value, body.record)), 201
    )


@router.get("/secrets/{name}", operation_id="show_secret", response_model=SecretsAnswer)
async def show_secret(asking: Asking, name: Named) -> Response:
    """Every version of one secret, newest first; never a value."""
    return await asking.answer(lambda admin: SecretsAnswer.of(admin.secret(name)))


@router.post(
    "/secrets/{name}/rotate",
    operation_id="rotate_secret",
    response_model=SecretAnswer,
    status_code=201,
)
async def rotate_secret(asking: Asking, name: Named, body: NewValue) -> Response:
    """Give a secret a new current version; the one before stays usable for who asks by name.

    Without a record the one of the version before goes on.
    """
    return await asking.answer(
        lambda admin: SecretAnswer.of(admin.rotate_secret(name, body.value, body.record)), 201
    )


@router.post("/secrets/{name}/retire", operation_id="retire_secret", response_model=SecretsAnswer)
async def retire_secret(asking: Asking, name: Named, body: Retire) -> Response:
    """Release a version, or all of a secret, no more. The answer is what changed."""
    return await asking.answer(
        lambda admin: SecretsAnswer.of(admin.retire_secret(name, body.version))
    )
