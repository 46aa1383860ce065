"""Evaluations: judge a model on data, look at the report, read its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from api.answers.accepted import accept
from api.answers.documents import JobDocument, JobList, job_document, job_with_queue
from api.http.deps import Context, Ctx, Reader, in_thread
from api.http.problems import documented, json_response
from api.requests.evaluation import EvaluationRequest
from api.requests.incoming import Submission
from api.requests.owned import may_use
from api.requests.schemas import body_of
from api.routes.jobs import Limit, find
from milo.errors import Conflict
from milo.ledger.keys import Key
from milo.training import evaluations
from milo.training.evaluations import Stored

router = APIRouter(tags=["training"])
KIND = "evaluation"


@router.post(
    "/evaluations",
    summary="Evaluate a model",
    status_code=202,
    responses={202: {"model": JobDocument}, **documented(400, 404, 408, 409, 413, 415, 422)},
    openapi_extra=body_of(EvaluationRequest),
)
async def create(incoming: Submission) -> Response:
    """The job's result is the report. What was evaluated before, with the same data and settings, is done at once."""
    asked = await incoming.read_json(EvaluationRequest)
    return await accept(incoming, KIND, asked, priority=asked.priority, default="background")


@router.get("/evaluations", summary="List evaluations", responses={200: {"model": JobList}, **documented(422)})
async def list_(
    context: Ctx,
    key: Reader,
    before: Annotated[str | None, Query(pattern=r"^[\x20-\x7e]*$")] = None,
    limit: Limit = 50,
) -> Response:
    """Evaluation jobs with their reports, newest first; `stored` are the keys of all reports on this machine, those
    that pipelines made as well (for keys that may see everybody's jobs)."""
    jobs = await in_thread(context.ledger.jobs, owner=key.owner, kind=KIND, before=before, limit=limit)
    following = jobs[-1].id if len(jobs) == limit else None
    document = {"items": [job_document(job) for job in jobs], "next": following}
    if key.owner is None:
        document["stored"] = await in_thread(_stored, context, limit)
    return json_response(document)


def _stored(context: Context, limit: int) -> list[dict[str, Any]]:
    shown = ("key", "task", "status", "metric", "wer", "cer", "chrf", "scored", "created_at")
    reports = [one.report() or {} for one in evaluations.all_finished(context.settings)[:limit]]
    return [
        {"model": report["model"]["label"], "data": report["data"]} | {n: report[n] for n in shown if n in report}
        for report in reports
        if report
    ]


@router.get("/evaluations/{evaluation_id}", summary="One evaluation", responses={**documented(404, 422)})
async def look(evaluation_id: str, context: Ctx, key: Reader) -> Response:
    """By the job's id: the job, its report in `result`. By the report's `key`: the report itself."""
    if evaluations.KEY.match(evaluation_id):
        stored = await in_thread(_find, context, key, evaluation_id)
        return json_response(await in_thread(stored.report))
    job = await find(context, key, evaluation_id, KIND)
    return json_response(await in_thread(job_with_queue, context, job))


@router.get(
    "/evaluations/{evaluation_id}/rows",
    summary="Its rows",
    responses={
        200: {"description": "a JSON object a line, one an utterance", "content": {"application/x-ndjson": {}}},
        **documented(404, 409, 422),
    },
)
async def rows(evaluation_id: str, context: Ctx, key: Reader) -> Response:
    """Reference, hypothesis, counts of errors and what else is known of each utterance. By job id or report key."""
    if evaluations.KEY.match(evaluation_id):
        stored = await in_thread(_find, context, key, evaluation_id)
    else:
        job = await find(context, key, evaluation_id, KIND)
        if job.state != "succeeded" or not job.result:
            raise Conflict(f"{evaluation_id} is {job.state}; its rows are not there", code="not_finished")
        stored = await in_thread(evaluations.find, context.settings, str(job.result["key"]))
    return StreamingResponse(_lines(stored), media_type="application/x-ndjson")


def _find(context: Context, key: Key, name: str) -> Stored:
    """A report by its key, if this key's own jobs have come to it. `NotFound` otherwise."""
    if not may_use(context, key, "evaluation", name):
        raise evaluations.unknown(name)
    return evaluations.find(context.settings, name)


def _lines(stored: Stored) -> Iterator[bytes]:
    with (stored.path / evaluations.ROWS).open("rb") as file:
        yield from iter(lambda: file.read(1 << 16), b"")
