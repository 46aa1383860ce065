"""Trainings: submit a recipe, list, look, watch the steps, cancel."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.answers.accepted import accept
from api.answers.documents import JobDocument, job_document, job_with_queue
from api.answers.events import PING_S, RETRY_MS, SHUTDOWN_GRACE_S, next_change
from api.http.deps import PREFIX, Context, Ctx, Reader, Writer, in_thread
from api.http.problems import documented, json_response
from api.requests import training
from api.requests.incoming import Submission
from api.requests.schemas import recipe_body
from api.requests.training import TrainingRequest
from api.routes.jobs import cancelled, find
from milo.errors import NotFound
from milo.jobs import Job, State, iso
from milo.monitoring.liveness import liveness
from milo.training import runs
from milo.training.run_events import Mark, rows_after
from milo.training.runs import Run

router = APIRouter(tags=["training"])

KINDS = ("training", "pipeline")
"""Kinds of jobs that have a run."""
LOOK_S = 1.0
END = "end"


def training_url(job_id: str) -> str:
    return f"{PREFIX}/trainings/{job_id}"


def run_of(context: Context, job: Job) -> Run | None:
    """The run of a job, when it has begun on this machine."""
    return runs.find(context.settings, job.id)


def document_of(context: Context, job: Job, queue: bool = False) -> dict[str, Any]:
    """The job, and `run`: its id, summary and the latest alerts."""
    document = job_with_queue(context, job) if queue else job_document(job)
    run = run_of(context, job)
    about = _about(context, job, run) if run else None
    if about and about.get("waits_for"):
        document["eta_s"] = None
    return {**document, "run": about, "url": training_url(job.id)}


def _about(context: Context, job: Job, run: Run) -> dict[str, Any]:
    summary = runs.as_job_ended(run.summary(), job.state)
    document: dict[str, Any] = {"id": run.id, "summary": summary, "alerts": run.alerts()[-20:]}
    if job.final or job.started_at is None:
        return document
    life = liveness(context.settings, job, summary, (), time.time())
    if life.silent or life.waits_for:
        document["summary"] = {**summary, "eta_s": None}
    return {**document, "silent_since": iso(life.last_sign_at) if life.silent else None, "waits_for": life.waits_for}


@router.post(
    "/trainings",
    summary="Train by a recipe",
    status_code=202,
    responses={202: {"model": JobDocument}, **documented(400, 403, 408, 409, 413, 415, 422)},
    openapi_extra=recipe_body(TrainingRequest),
)
async def create(incoming: Submission) -> Response:
    """The recipe as JSON or YAML, alone or as `recipe` beside a `callback_url`. It is checked first: fields, base
    model, data. Paths of the server's disk must lie under MILO_AUDIO_ROOTS, unless the key is an operator's."""
    asked = await training.read(incoming.request)
    return await accept(incoming, "training", asked, default="background", url=training_url)


@router.get("/trainings", summary="List trainings", responses={**documented(422)})
async def list_(
    context: Ctx,
    key: Reader,
    state: State | None = None,
    before: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Newest first, those of pipelines too, each with the summary of its run. `next`: `before` of the page after."""
    if before and not before.isprintable():
        return json_response({"items": [], "next": None})
    jobs = await in_thread(context.ledger.jobs, owner=key.owner, kind=KINDS, state=state, before=before, limit=limit)
    items = [await in_thread(document_of, context, job) for job in jobs]
    return json_response({"items": items, "next": jobs[-1].id if len(jobs) == limit else None})


@router.get("/trainings/{job_id}", summary="One training", responses={**documented(404)})
async def look(job_id: str, context: Ctx, key: Reader) -> Response:
    """The job, and `run`: its id, summary and alerts; null before it begins."""
    job = await find(context, key, job_id, *KINDS)
    return json_response(await in_thread(document_of, context, job, True))


@router.get(
    "/trainings/{job_id}/events",
    summary="Watch a training",
    responses={
        200: {"description": "events `metrics` and `alert`, at last `job`", "content": {"text/event-stream": {}}},
        204: {"description": "it has ended, and Last-Event-ID says the client knows"},
        **documented(404),
    },
)
async def events(job_id: str, request: Request, context: Ctx, key: Reader) -> Response:
    """Server-sent events: `metrics` for each logged step so far and to come, `alert` for what was mended, and `job`
    when it has ended. `Last-Event-ID` leaves out what the client has seen. Steps that a training makes again after
    it went back to a checkpoint come again."""
    await find(context, key, job_id, *KINDS)
    seen = request.headers.get("last-event-id", "")
    if seen == END:
        return Response(status_code=204)
    stopping = anyio.Event()
    return EventSourceResponse(
        _follow(context, job_id, Mark.parse(seen)),
        ping=PING_S,
        shutdown_event=stopping,
        shutdown_grace_period=SHUTDOWN_GRACE_S,
    )


async def _follow(context: Context, job_id: str, mark: Mark) -> AsyncIterator[ServerSentEvent]:
    async with context.wake_ups.watching(job_id) as event:
        while True:
            event.clear()
            try:
                job = await in_thread(context.ledger.get, job_id)
            except NotFound:  # cleaned away meanwhile
                return
            for kind, row, mark in await in_thread(_news, context, job, mark):  # noqa: B020
                yield ServerSentEvent(json.dumps(row, ensure_ascii=False), event=kind, id=str(mark), retry=RETRY_MS)
            if job.final:
                document = await in_thread(document_of, context, job)
                yield ServerSentEvent(json.dumps(document, ensure_ascii=False), event="job", id=END)
                return
            if not await next_change(context, event, LOOK_S):
                return


def _news(context: Context, job: Job, mark: Mark) -> list[tuple[str, dict[str, Any], Mark]]:
    run = run_of(context, job)
    return list(rows_after(run, mark)) if run else []


@router.delete(
    "/trainings/{job_id}",
    summary="Cancel a training",
    responses={
        200: {"model": JobDocument, "description": "it has ended"},
        202: {"model": JobDocument, "description": "it runs, and stops after the step in hand"},
        **documented(404),
    },
)
async def cancel(job_id: str, context: Ctx, key: Writer) -> Response:
    """Its run and checkpoints stay; POST /jobs/{id}/retry goes on from the last one."""
    await find(context, key, job_id, *KINDS)
    return await cancelled(context, job_id)
