"""Jobs: submit any kind, list, look, wait, watch, fetch the result, cancel, try again."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from api.answers import events as waiting
from api.answers import renderings, results
from api.answers.accepted import accept
from api.answers.documents import JobDocument, JobList, job_document, job_url, job_with_queue, webhook_documents
from api.http import bodies
from api.http.deps import Context, Ctx, Reader, Writer, in_thread
from api.http.problems import documented, json_response
from api.http.session_place import cancel_job
from api.requests.checks import check
from api.requests.errors import pointed, pointers_below
from api.requests.incoming import Incoming, Submission
from api.requests.schemas import body_of
from milo.cue_rules import parse_rules
from milo.errors import Conflict, NotFound
from milo.jobs import FINAL, Job, Priority, State
from milo.kinds import submittable
from milo.kinds.fields import Closed, Text
from milo.ledger.keys import Key
from milo.queue import wakeups

router = APIRouter(tags=["jobs"])

MAX_PAGE = 500
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


class JobRequest(Closed):
    """A job of any kind."""

    kind: str
    payload: dict[str, Any] = {}
    priority: Priority | None = None
    """interactive, if nothing is said."""
    callback_url: Text | None = None


@router.post(
    "/jobs",
    summary="Submit a job",
    status_code=202,
    responses={202: {"model": JobDocument}, **documented(400, 408, 409, 413, 415, 422)},
    openapi_extra=body_of(JobRequest),
)
async def create(incoming: Submission) -> Response:
    """Answers 202 at once; Location says where to look."""
    asked = await incoming.read_json(JobRequest)
    return await accept(incoming, asked.kind, asked, partial(_payload, incoming, asked), priority=asked.priority)


def _payload(incoming: Incoming, asked: JobRequest) -> BaseModel:
    """The payload, checked as the route of its kind does. `Invalid` with pointers."""
    kinds = submittable()
    model = kinds[asked.kind].request if asked.kind in kinds else None
    if model is None:
        how = "; a conversation is held over WS /api/v1/conversation" if asked.kind == "converse" else ""
        detail = f"there is no kind {asked.kind!r} to submit; kinds: {', '.join(kinds)}{how}"
        raise pointed(detail, "kind", "unknown_kind")
    given = bodies.validate(asked.payload, model, ("payload",))
    with pointers_below("payload"):
        return check(incoming.context, incoming.key, asked.kind, given)


@router.get("/jobs", summary="List jobs", responses={200: {"model": JobList}, **documented(422)})
async def list_(
    context: Ctx,
    key: Reader,
    kind: str | None = None,
    state: State | None = None,
    batch_id: str | None = None,
    before: str | None = None,
    limit: Limit = 50,
) -> Response:
    """Newest first. `next` is the `before` of the following page."""
    if any(value and not value.isprintable() for value in (kind, batch_id, before)):
        return json_response({"items": [], "next": None})
    jobs = await in_thread(
        context.ledger.jobs, owner=key.owner, kind=kind, state=state, batch_id=batch_id, before=before, limit=limit
    )
    following = jobs[-1].id if len(jobs) == limit else None
    return json_response({"items": [job_document(job) for job in jobs], "next": following})


async def find(context: Context, key: Key, job_id: str, *kinds: str) -> Job:
    """The job, if this key may see it and it is of one of the kinds (none named: any). `NotFound` otherwise."""
    _check_id(job_id)
    job = await waiting.settled(context, await in_thread(context.ledger.get, job_id, key.owner))
    if kinds and job.kind not in kinds:
        raise NotFound(f"{job_id} is a {job.kind} job, not of kind {' or '.join(kinds)}", code=f"unknown_{kinds[0]}")
    return job


def _check_id(job_id: str) -> None:
    if not re.fullmatch(r"job_[0-9a-f]{24}", job_id):
        raise NotFound(f"there is no job {job_id!r}", code="unknown_job")


@router.get("/jobs/{job_id}", summary="One job", responses={200: {"model": JobDocument}, **documented(404, 422)})
async def look(
    job_id: str,
    request: Request,
    context: Ctx,
    key: Reader,
    wait: Annotated[float, Query(ge=0, allow_inf_nan=False, description="Seconds to wait for its end")] = 0,
) -> Response:
    """With `wait`: answers when the job has ended, or after so many seconds."""
    _check_id(job_id)
    if wait:
        most_s = min(wait, context.settings.max_wait_s)
        job = await waiting.wait_for_job(context, request, job_id, most_s, key.owner)
    else:
        job = await find(context, key, job_id)
    return json_response(job_document(job) if job.final else await in_thread(job_with_queue, context, job))


@router.get(
    "/jobs/{job_id}/result",
    summary="The result",
    responses={200: {"description": "the result, rendered"}, **documented(404, 409, 415, 422)},
)
async def result(
    job_id: str,
    context: Ctx,
    key: Reader,
    format: str | None = None,
    cues: renderings.Cues = None,
    revision: renderings.Revision = None,
) -> Response:
    """A transcript, a translation or a reply as JSON, spoken text as audio, unless `format` says otherwise. An edited
    transcript comes as it is now, unless `revision` says otherwise.
    409 while it is not there; the job's own problem when it failed."""
    if format is not None:
        renderings.check_format(format)
    parse_rules(cues)
    job = await find(context, key, job_id)
    return await in_thread(results.job_result, context, job, format, cues, revision)


@router.get(
    "/jobs/{job_id}/events",
    summary="Watch a job",
    responses={
        200: {"description": "events `job`, until it has ended", "content": {"text/event-stream": {}}},
        204: {"description": "it has ended, and Last-Event-ID says the client knows"},
        **documented(404),
    },
)
async def events(job_id: str, request: Request, context: Ctx, key: Reader) -> Response:
    """Server-sent events: the job now and after each change. `Last-Event-ID` resumes."""
    await find(context, key, job_id)

    async def read() -> dict[str, Any]:
        return await in_thread(_read, context, job_id)

    return await waiting.stream(context, request, job_id, "job", read, lambda job: job["state"] in FINAL)


def _read(context: Context, job_id: str) -> dict[str, Any]:
    return job_with_queue(context, context.ledger.get(job_id))


@router.delete(
    "/jobs/{job_id}",
    summary="Cancel",
    responses={
        200: {"model": JobDocument, "description": "it has ended"},
        202: {"model": JobDocument, "description": "it runs, and stops at its next yield point"},
        **documented(404),
    },
)
async def cancel(job_id: str, context: Ctx, key: Writer) -> Response:
    """A job that has ended stays as it is."""
    await find(context, key, job_id)
    return await cancelled(context, job_id)


async def cancelled(context: Context, job_id: str) -> Response:
    """Cancel, and answer what became of the job: 200 when it has ended, 202 when it is still to stop."""
    job = await in_thread(cancel_job, context, job_id)
    return json_response(job_document(job), 200 if job.final else 202)


@router.post(
    "/jobs/{job_id}/retry",
    summary="Try again",
    status_code=202,
    responses={202: {"model": JobDocument}, **documented(404, 409)},
)
async def retry(job_id: str, context: Ctx, key: Writer) -> Response:
    """Queue a failed or cancelled job again. A chat message has lost its place in the session: send it again."""
    job = await find(context, key, job_id)
    if job.payload.get("ticket") is not None and job.state in ("failed", "cancelled"):
        raise Conflict(f"{job_id} is a message of a chat session; send it again", code="not_retryable")
    job = await in_thread(context.ledger.retry, job_id)
    await in_thread(wakeups.submit, job, wakeups.PUBLISH_WAIT_S)
    return json_response(job_document(job), 202, {"Location": job_url(job.id)})


@router.get("/jobs/{job_id}/webhooks", summary="Delivery log", responses={**documented(404)})
async def deliveries(job_id: str, context: Ctx, key: Reader) -> Response:
    """The webhooks of a job, each with its tries."""
    await find(context, key, job_id)
    return json_response({"items": await in_thread(webhook_documents, context, job_id=job_id)})
