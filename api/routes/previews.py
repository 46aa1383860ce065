"""What a training has heard or said on the way, at each step that it was looked at."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from api.http.deps import Context, Ctx, Reader, in_thread
from api.http.problems import documented, json_response
from api.routes.jobs import find
from api.routes.trainings import KINDS, run_of
from milo.errors import NotFound
from milo.jobs import Job
from milo.training import previews
from milo.training.previews import Preview
from milo.training.runs import Run

router = APIRouter(tags=["training"])


class PreviewList(BaseModel):
    items: list[Preview]


@router.get(
    "/trainings/{job_id}/previews",
    summary="What it hears or says so far",
    responses={200: {"model": PreviewList}, **documented(404, 422)},
)
async def list_(job_id: str, context: Ctx, key: Reader, limit: Annotated[int, Query(ge=1, le=50)] = 5) -> Response:
    """The latest steps at which it was looked at, the last first: sentences it does not learn from beside what came of
    them, their word error rate with its interval of 95 %, and whether there is a spoken sample."""
    job = await find(context, key, job_id, *KINDS)
    items = await in_thread(_previews, context, job, limit)
    return json_response({"items": [one.model_dump() for one in items]})


@router.get(
    "/trainings/{job_id}/samples/{step}",
    summary="What it said at a step",
    responses={200: {"content": {"audio/wav": {}}}, **documented(404, 422)},
)
async def sample(job_id: str, step: Annotated[int, Path(ge=0, le=10**12)], context: Ctx, key: Reader) -> Response:
    """A wav file: the first sentence that was kept back, in the voice as it was at that step."""
    job = await find(context, key, job_id, *KINDS)
    run = await in_thread(run_of, context, job)
    if run is None:
        raise NotFound("this training has not begun", code="unknown_sample")
    return Response(await in_thread(previews.sample, run, step), media_type="audio/wav")


def _previews(context: Context, job: Job, limit: int) -> list[Preview]:
    run: Run | None = run_of(context, job)
    if run is None:
        return []
    recipe = job.payload.get("recipe") or {}
    language = (recipe.get("data") or {}).get("language") or "mg"
    return [previews.preview(run, step, str(language)) for step in reversed(previews.steps(run)[-limit:])]
