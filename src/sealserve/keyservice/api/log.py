"""Endpoints: the audit log, its records and the proofs of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from sealserve.keyservice.administration.answers import (
    RECORDS_BYTES,
    CheckpointAnswer,
    ConsistencyAnswer,
    InclusionAnswer,
    LogKeyAnswer,
    RecordAnswer,
    RecordsAnswer,
)
from sealserve.keyservice.administration.values import Administration, Role
from sealserve.keyservice.administration.wire import Index, RecordsQuery
from sealserve.keyservice.api.access import check_query
from sealserve.keyservice.api.guarding import ERRORS, Asking, GuardedRoute
from sealserve.keyservice.api.redaction import record_for_operators

router = APIRouter(prefix="/v1/audit", route_class=GuardedRoute, responses=ERRORS)


@router.get("/key", operation_id="audit_key", response_model=LogKeyAnswer)
async def audit_key(asking: Asking) -> Response:
    """The verifier key of the log. Keep it: who asks for it each time verifies nothing."""
    return await asking.answer(lambda admin: LogKeyAnswer(key=admin.log_key()))


@router.get("/checkpoint", operation_id="audit_checkpoint", response_model=CheckpointAnswer)
async def audit_checkpoint(asking: Asking) -> Response:
    """The signed head of the log."""
    return await asking.answer(lambda admin: CheckpointAnswer(checkpoint=admin.checkpoint()))


@router.get("/records", operation_id="audit_records", response_model=RecordsAnswer)
async def audit_records(asking: Asking, query: Annotated[RecordsQuery, Query()]) -> Response:
    """Find records. An operator finds them by the digest of the evidence alone.

    Ask again after the last index of the answer, until an answer has none.
    """
    check_query(query, asking.known)
    for_operators = asking.known.role is Role.OPERATOR

    def work(admin: Administration) -> RecordsAnswer:
        found: list[RecordAnswer] = []
        size = 0
        for record in admin.records(query.value_of()):
            size += len(record.data)
            if found and size > RECORDS_BYTES:
                break
            data = record_for_operators(record.data) if for_operators else record.data
            found.append(RecordAnswer(index=record.index, data=data, whole=not for_operators))
        return RecordsAnswer(records=found)

    return await asking.answer(work)


@router.get("/inclusion/{index}", operation_id="audit_inclusion", response_model=InclusionAnswer)
async def audit_inclusion(asking: Asking, index: Annotated[Index, Path()]) -> Response:
    """One record, with the proof that it stands in the log of the checkpoint beside it."""
    return await asking.answer(lambda admin: InclusionAnswer.of(admin.inclusion(index)))


@router.get(
    "/consistency/{old_size}", operation_id="audit_consistency", response_model=ConsistencyAnswer
)
async def audit_consistency(asking: Asking, old_size: Annotated[Index, Path()]) -> Response:
    """Proof that the log still begins with its first `old_size` records as they were."""
    return await asking.answer(lambda admin: ConsistencyAnswer.of(admin.consistency(old_size)))
