"""Endpoints: what decides beside the secrets, which is revocations and the policy."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from sealserve.keyservice.administration.answers import (
    DryRunAnswer,
    PolicyAnswer,
    RevocationsAnswer,
    TargetAnswer,
)
from sealserve.keyservice.administration.values import Administration, Target, TargetKind
from sealserve.keyservice.administration.wire import (
    NewRevocation,
    PolicyToApply,
    PolicyToTry,
    Reason,
)
from sealserve.keyservice.api.guarding import ERRORS, Asking, GuardedRoute

router = APIRouter(prefix="/v1", route_class=GuardedRoute, responses=ERRORS)


@router.get("/revocations", operation_id="list_revocations", response_model=RevocationsAnswer)
async def list_revocations(asking: Asking) -> Response:
    """Everything that is revoked, in order."""
    return await asking.answer(
        lambda admin: RevocationsAnswer(
            revocations=[TargetAnswer.of(target) for target in admin.revocations()]
        )
    )


@router.post(
    "/revocations", operation_id="add_revocation", response_model=TargetAnswer, status_code=201
)
async def add_revocation(asking: Asking, body: NewRevocation) -> Response:
    """Revoke a measurement, a signer, a platform or a secret, from the next release on.

    To revoke what is revoked already is no error, and goes on record.
    """
    target = Target.parse(body.kind, body.value)

    def work(admin: Administration) -> TargetAnswer:
        admin.revoke(target, body.reason)
        return TargetAnswer.of(target)

    return await asking.answer(work, 201)


@router.delete(
    "/revocations/{kind}/{value}", operation_id="lift_revocation", response_model=TargetAnswer
)
async def lift_revocation(
    asking: Asking,
    kind: TargetKind,
    value: Annotated[str, Path(max_length=140)],
    reason: Annotated[Reason, Query()],
) -> Response:
    """Take a revocation back: the policy alone decides again."""
    target = Target.parse(kind, value)

    def work(admin: Administration) -> TargetAnswer:
        admin.lift(target, reason)
        return TargetAnswer.of(target)

    return await asking.answer(work)


@router.get("/policy", operation_id="show_policy", response_model=PolicyAnswer)
async def show_policy(asking: Asking) -> Response:
    """The policy in force, and who put it there."""
    return await asking.answer(lambda admin: PolicyAnswer.of(admin.policy()))


@router.post("/policy/dry-run", operation_id="try_policy", response_model=DryRunAnswer)
async def try_policy(asking: Asking, body: PolicyToTry) -> Response:
    """Judge the newest decisions on record by another policy; changes nothing.

    The token in the answer is what applies this policy, as long as nothing else is changed.
    """
    return await asking.answer(lambda admin: DryRunAnswer.of(admin.try_policy(body.policy)))


@router.put("/policy", operation_id="apply_policy", response_model=PolicyAnswer)
async def apply_policy(asking: Asking, body: PolicyToApply) -> Response:
    """Put a policy in force that was tried on what is in force now."""
    return await asking.answer(
        lambda admin: PolicyAnswer.of(admin.apply_policy(body.policy, body.token))
    )
