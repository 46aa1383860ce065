"""From a job to an answer: now, if it ends while the client waits, else 202 and where to look."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request, Response

from api import results
from api.deps import Context, in_thread
from api.documents import job_document, job_url
from api.prefer import Prefer
from api.problems import json_response
from api.waiting import wait_for_job
from milo.jobs import Job, Priority

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
    if preferred.wait_s > 0:
        job = await wait_for_job(context, request, job.id, preferred.wait_s)
    if not job.final or preferred.wait_s == 0:
        return accepted(job, preferred.headers)
    made = results.unfinished(job)
    if made is None:
        made = await in_thread(render, context, job)
    made.headers.update(preferred.headers)
    return made
