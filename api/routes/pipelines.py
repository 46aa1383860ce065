"""Pipelines: baseline, training, judgement, gated deploy and summary as one job."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse

from api.answers.accepted import accepted
from api.answers.documents import JobDocument, job_with_queue
from api.http.deps import Context, Ctx, Reader, Writer, in_thread
from api.http.problems import documented, json_response
from api.requests import trainings
from api.requests.evaluations import pipeline_payload
from api.requests.stt import check_callback, idempotency_key, new_job, submit
from api.routes.jobs import find
from api.routes.trainings import recipe_body
from milo.errors import Conflict, NotFound
from milo.jobs import Job
from milo.ledger.keys import Key
from milo.training import runs

router = APIRouter(tags=["training"])
KIND = "pipeline"


@router.post(
    "/pipelines",
    summary="Train, judge and deploy",
    status_code=202,
    responses={202: {"model": JobDocument}, **documented(400, 403, 404, 408, 409, 413, 415, 422)},
    openapi_extra=recipe_body(),
)
async def create(request: Request, context: Ctx, key: Writer) -> Response:
    """The recipe as JSON or YAML, alone or as `recipe` beside a `callback_url`, as for a training. The job's result is
    the summary. A recipe that deploys needs the scope `admin`: it changes what serves."""
    idempotency_key(request)
    document = await trainings.read_document(request)
    return accepted(await in_thread(_create, request, context, key, document), {})


def _create(request: Request, context: Context, key: Key, document: dict[str, Any]) -> Job:
    recipe, callback_url = trainings.parse(document)
    check_callback(context.settings, callback_url)
    payload = pipeline_payload(context, key, recipe)
    return submit(context, new_job(request, key, KIND, payload, callback_url, None, "background"))


@router.get(
    "/pipelines/{pipeline_id}",
    summary="One pipeline",
    responses={200: {"model": JobDocument}, **documented(404, 422)},
)
async def look(pipeline_id: str, context: Ctx, key: Reader) -> Response:
    """The job, with `stage` (baseline, train, judge, deploy, summary), `run`, and its summary in `result`."""
    job = await find(context, key, pipeline_id, KIND)
    document = await in_thread(job_with_queue, context, job)
    run = await in_thread(runs.find, context.settings, job.id)
    return json_response(document | {"stage": job.stage, "run": run.id if run else None})


@router.get(
    "/pipelines/{pipeline_id}/summary",
    summary="Its summary",
    responses={
        200: {"description": "the page", "content": {"text/plain": {}, "application/json": {}, "image/png": {}}},
        **documented(404, 409, 422),
    },
)
async def summary(
    pipeline_id: str, context: Ctx, key: Reader, format: Literal["txt", "json", "png"] = "txt"
) -> Response:
    """What came of it, for people, for programs, or as a picture."""
    job = await find(context, key, pipeline_id, KIND)
    if job.state != "succeeded":
        raise Conflict(f"{pipeline_id} is {job.state}; its summary is not there", code="not_finished")
    run = await in_thread(runs.find, context.settings, job.id)
    path = run.path / "pipeline" / f"report.{format}" if run else None
    if path is None or not path.is_file():
        raise NotFound(f"the {format} summary of {pipeline_id} is not on this machine", code="unknown_summary")
    return FileResponse(path)
