"""From a job to an answer: now, if it ends while the client waits, else 202 and where to look."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from fastapi import Request, Response
from sse_starlette.sse import AppStatus

from api.answers import results
from api.answers.documents import job_document, job_url
from api.answers.events import wait_for_job
from api.answers.streaming import failure
from api.http.deps import Context, in_thread
from api.http.prefer import Prefer
from api.http.problems import json_response
from api.http.session_place import cancel_job
from milo.errors import Unavailable
from milo.jobs import Job, Priority

LONGEST_S = 600.0
"""As long as the `openai` package waits by default."""
Render = Callable[[Context, Job], Response]
"""Makes the answer of a job that succeeded. It may block."""


def accepted(job: Job, headers: dict[str, str]) -> Response:
    """202: the job, and where to look for it."""
    return json_response(job_document(job), 202, {"Location": job_url(job.id), **headers})


def default_priority(preferred: Prefer) -> Priority:
    """Who waits goes first."""
    return "realtime" if preferred.wait_s > 0 else "interactive"


async def answer(context: Context, request: Request, job: Job, preferred: Prefer, render: Render) -> Response:
    """Wait for the job as long as the client prefers, then its result, its problem, or 202."""
    if preferred.wait_s > 0 and not job.final:
        job = await wait_for_job(context, request, job.id, preferred.wait_s)
    if not job.final or preferred.wait_s == 0:
        return accepted(job, preferred.headers)
    made = results.unfinished(job)
    if made is None:
        made = await in_thread(render, context, job)
    made.headers.update(preferred.headers)
    return made


async def finished(context: Context, request: Request, job: Job) -> Job:
    """The job when it has succeeded, for clients that know no jobs. Raises what it failed with, and `Unavailable` when
    it takes too long; when nobody waits any more, it is cancelled."""
    if not job.final:
        try:
            job = await wait_for_job(context, request, job.id, LONGEST_S)
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
