"""From a job to an answer: now, if it ends while the client waits, else 202 and where to look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import anyio
from fastapi import Request, Response
from pydantic import BaseModel
from sse_starlette.sse import AppStatus

from api.answers import results
from api.answers.documents import job_document, job_url
from api.answers.events import wait_for_job
from api.answers.streaming import failure
from api.http.deps import Context, in_thread
from api.http.prefer import Prefer
from api.http.problems import json_response
from api.http.session_place import cancel_job
from api.requests import checks
from api.requests.incoming import Incoming
from milo.errors import Unavailable
from milo.jobs import Job, Priority

LONGEST_S = 600.0
"""As long as the `openai` package waits by default."""
ENDED_S = 0.001
"""No more waiting: the answer as it is now."""
Check = Callable[[], BaseModel]
"""Makes the payload, or raises what is wrong with the request. It may block."""
Render = Callable[[Context, Job], Response]
"""Makes the answer of a job that succeeded. It may block."""
Begin = Callable[[Job, Prefer], Awaitable[Response | Job]]


class Asked(Protocol):
    """A request for a job."""

    @property
    def callback_url(self) -> str | None: ...


async def accept(
    incoming: Incoming,
    kind: str,
    asked: Asked,
    check: Check | None = None,
    *,
    priority: Priority | None = None,
    default: Priority = "interactive",
    url: Callable[[str], str] = job_url,
) -> Response:
    """Make a job that nobody waits for: 202, and where to look for it.

    `check` makes the payload; without it, `asked` is what the kind's own check takes.
    """
    check = check or partial(checks.check, incoming.context, incoming.key, kind, _model(asked))
    job = await in_thread(
        incoming.create, kind, check, callback_url=asked.callback_url, priority=priority, default=default
    )
    return accepted(job, {}, url)


async def accept_and_wait(
    incoming: Incoming,
    kind: str,
    asked: Asked,
    render: Render,
    check: Check | None = None,
    *,
    priority: Priority | None = None,
    begin: Begin | None = None,
) -> Response:
    """Make a job, and wait for it as long as the client prefers: its result, its problem, or 202. Who waits goes first.

    `begin` starts the answer before the job has ended; it may leave that to `render` by giving the job back.
    """
    context, preferred = incoming.context, incoming.prefer(asked.callback_url)
    check = check or partial(checks.check, context, incoming.key, kind, _model(asked))
    job = await in_thread(
        incoming.create,
        kind,
        check,
        callback_url=asked.callback_url,
        priority=priority,
        default="realtime" if preferred.wait_s > 0 else "interactive",
    )
    if begin and preferred.wait_s > 0:
        begun = await begin(job, preferred)
        if isinstance(begun, Response):
            return begun
        job, preferred = begun, Prefer(ENDED_S, preferred.applied)
    return await answer(context, incoming.request, job, preferred, render)


def _model(asked: Asked) -> BaseModel:
    assert isinstance(asked, BaseModel)
    return asked


def accepted(job: Job, headers: dict[str, str], url: Callable[[str], str] = job_url) -> Response:
    """202: the job, and where to look for it."""
    return json_response(job_document(job), 202, {"Location": url(job.id), **headers})


async def answer(context: Context, request: Request, job: Job, preferred: Prefer, render: Render) -> Response:
    """Wait for the job as long as the client prefers, then its result, its problem, or 202."""
    if preferred.wait_s > 0 and not job.final:
        job = await wait_for_job(context, request, job.id, preferred.wait_s, early=True)
    if not job.final or preferred.wait_s == 0:
        return accepted(job, preferred.headers)
    response = results.unfinished(job)
    if response is None:
        response = await in_thread(render, context, job)
    response.headers.update(preferred.headers)
    return response


async def finished(context: Context, request: Request, job: Job) -> Job:
    """The job when it has succeeded, for clients that know no jobs. Raises what it failed with, and `Unavailable` when
    it takes too long; when nobody waits any more, it is cancelled."""
    if not job.final:
        try:
            job = await wait_for_job(context, request, job.id, LONGEST_S, early=True)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await in_thread(cancel_job, context, job.id)
            raise
    if not job.final and not AppStatus.should_exit:
        job = await in_thread(cancel_job, context, job.id)
        raise Unavailable(
            f"job {job.id} took longer than {LONGEST_S:g} s; POST /api/v1/jobs is for what takes long", code="too_slow"
        )
    if job.state != "succeeded":
        raise failure(job)
    return job
