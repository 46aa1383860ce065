"""POST /fix: a diagnosis, and the operator's command on request. Administrators only."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.http import bodies
from api.http.deps import Admin, Ctx, in_thread
from api.http.problems import documented, json_response
from api.requests.schemas import body_of
from milo.monitoring.fix.service import FixRequest

router = APIRouter(tags=["operation"])


@router.post(
    "/fix",
    summary="Diagnose a problem, and mend it if the operator allows",
    status_code=202,
    responses={**documented(400, 409, 413, 415, 422)},
    openapi_extra=body_of(FixRequest),
)
async def fix(request: Request, context: Ctx, key: Admin) -> Response:
    """`check` looks and changes nothing. `fix` also runs MILO_FIX_COMMAND with the diagnosis on its stdin; one at a
    time. Poll `url` for the report."""
    problem = await bodies.read_json(request, FixRequest)
    record = await in_thread(context.fix_service.start, problem, key.name)
    return json_response(record, 202, {"Location": record["url"]})


@router.get("/fix/history", summary="What was asked before", responses={**documented()})
async def history(context: Ctx, key: Admin) -> Response:
    """Newest first, without the reports."""
    return json_response({"items": await in_thread(context.fix_service.history)})


@router.get("/fix/{fix_id}", summary="One diagnosis", responses={**documented(404)})
async def one(fix_id: str, context: Ctx, key: Admin) -> Response:
    return json_response(await in_thread(context.fix_service.get, fix_id))
