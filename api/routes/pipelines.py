"""Pipelines: baseline, training, judgement, gated deploy and summary as one job."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from starlette.responses import FileResponse

from api.answers.accepted import accept
from api.answers.documents import JobDocument, job_with_queue
from api.http.deps import Ctx, Reader, in_thread
from api.http.problems import documented, json_response
from api.requests import training
from api.requests.incoming import Submission
from api.requests.schemas import recipe_body
from api.requests.training import TrainingRequest
from api.routes.jobs import find
from milo.errors import Conflict, NotFound
from milo.training import runs

router = APIRouter(tags=["training"])
KIND = "pipeline"


@router.post(
    "/pipelines",
    summary="Train, judge and deploy",
    status_code=202,
    responses={202: {"model": JobDocument}, **documented(400, 403, 404, 408, 409, 413, 415, 422)},
    openapi_extra=recipe_body(TrainingRequest),
)
async def create(incoming: Submission) -> Response:
    """The recipe as JSON or YAML, alone or as `recipe` beside a `callback_url`, as for a training. The job's result is
    the summary. A recipe that deploys needs the scope `admin`: it changes what serves."""
    return await accept(incoming, KIND, await training.read(incoming.request), default="background")


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
