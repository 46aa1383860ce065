"""Systems that watch trainings: what they found, and a look by hand; `GET /api/NAME`: what pages of monitors poll."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from api.answers.documents import JobDocument, job_document, job_url
from api.http.deps import Admin, Ctx, Reader, in_thread
from api.http.problems import documented, json_response
from api.status import pages
from milo.errors import NotFound
from milo.jobs import OPERATOR, NewJob
from milo.kinds.training import SystemPayload
from milo.ledger import reports
from milo.models.files import near
from milo.monitoring import systems
from milo.monitoring.systems import BY_NAME, MONITORED, Monitored
from milo.queue import wakeups
from milo.settings import Settings

router = APIRouter(tags=["training"])
monitors = APIRouter()


@router.get("/systems", summary="What watches trainings", responses={**documented()})
async def overview(context: Ctx, key: Reader) -> dict[str, Any]:
    """A row a system: whether it is on, the state of its last look, how old that is."""
    return {"items": await in_thread(lambda: [_row(context.settings, one) for one in MONITORED])}


@router.get("/systems/{name}", summary="The last look of a system", responses={**documented(404)})
async def one(context: Ctx, key: Reader, name: str) -> dict[str, Any]:
    """`document` is its status file; `history` its last looks."""
    row = await in_thread(_row, context.settings, _find(name))
    looks = await in_thread(reports.last, context.ledger.engine, name, 50)
    return row | {"history": [{"at": look.at, "state": look.state, "reason": look.reason} for look in looks]}


@router.post(
    "/systems/{name}/runs",
    status_code=202,
    summary="Look now",
    responses={202: {"model": JobDocument}, **documented(404)},
)
async def run(context: Ctx, key: Admin, name: str) -> Response:
    """A job of the kind `system`; its result is the status document."""
    _find(name)
    payload = SystemPayload(system=name, name=f"look: {name}").model_dump(mode="json")
    new = NewJob(kind="system", payload=payload, owner=OPERATOR, priority="interactive")
    job = await in_thread(context.ledger.create, new)
    await in_thread(wakeups.submit, job)
    return json_response(job_document(job), 202, {"Location": job_url(job.id)})


def _find(name: str) -> Monitored:
    if name not in BY_NAME:
        raise NotFound(f"there is no system {name[:80]!r}.{near(name, list(BY_NAME))}", code="unknown_system")
    return BY_NAME[name]


def _row(settings: Settings, one: Monitored) -> dict[str, Any]:
    found = systems.read(settings, one)
    document = found.document or {}
    state = document.get("state") or ("waiting" if systems.is_on(settings, one.name) else "disabled")
    return {
        "name": one.name,
        "does": one.does,
        "on": systems.is_on(settings, one.name),
        "state": state,
        "reason": document.get("reason") or found.problem,
        "checkpoint": document.get("checkpoint"),
        "age_s": found.age_s,
        "stale": found.stale,
        "period_s": systems.period_of(settings, one),
        "document": found.document,
    }


@monitors.get("/api/{plugin}")
async def monitor(context: Ctx, key: Reader, plugin: str, request: Request) -> Response:
    return await pages.monitor(context.monitors, plugin, request.headers.get("if-none-match"))
