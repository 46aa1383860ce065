"""Transcripts and their revisions: the newest text, who changed what and when, an edit, undo, redo, restore.

The id is that of the STT job. Who may read or write the job may read or edit its transcript.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field, model_validator

from api.answers import transcripts
from api.answers.renderings import Cues, cue_rules
from api.answers.renderings import Revision as WhichRevision
from api.answers.results import unfinished
from api.answers.transcripts import CueList, RevisionDocument, RevisionList, cue_list, revision_document
from api.http import bodies
from api.http.deps import Context, Ctx, Reader, Writer, in_thread
from api.http.problems import documented, json_response
from api.requests.incoming import idempotency_key
from api.requests.schemas import body_of
from api.routes.jobs import find
from milo.errors import Invalid
from milo.jobs import Job
from milo.kinds.fields import Closed
from milo.ledger.keys import Key
from milo.ledger.revisions import NotNewest, Revision
from milo.transcription.edits import MAX_OPERATIONS, Operation
from milo.transcription.transcript import Transcript

router = APIRouter(tags=["transcripts"])

IfMatch = Annotated[str | None, Header(max_length=200)]


class RevisionRequest(Closed):
    """What to do to the newest revision: either operations, or one of the actions."""

    action: Literal["edit", "undo", "redo", "restore"] = "edit"
    operations: Annotated[list[Operation], Field(max_length=MAX_OPERATIONS)] = []
    """One after the other; all or none."""
    revision: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """What to restore; 0 is the machine's text."""

    @model_validator(mode="after")
    def _one_thing(self) -> RevisionRequest:
        if (self.action == "edit") != bool(self.operations):
            raise ValueError("`operations` holds what an edit does, and nothing for the other actions")
        if (self.action == "restore") != (self.revision is not None):
            raise ValueError("`revision` says what to restore, and nothing for the other actions")
        return self


async def _find(context: Context, key: Key, job_id: str) -> tuple[Job, Response | None]:
    """The job, and the problem that stands in the place of its transcript while there is none."""
    job = await find(context, key, job_id, "stt")
    return job, unfinished(job)


@router.get(
    "/transcripts/{job_id}",
    summary="A transcript",
    responses={
        200: {"model": Transcript},
        304: {"description": "If-None-Match names this revision"},
        **documented(404, 409, 415, 422),
    },
)
async def look(
    job_id: str,
    context: Ctx,
    key: Reader,
    revision: WhichRevision = None,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """The newest revision, or the one that is named; 0 is what the machine heard. `ETag` names the revision."""
    job, not_there = await _find(context, key, job_id)
    if not_there is not None:
        return not_there
    tag = transcripts.etag(job.revision if revision is None else revision)
    if if_none_match is not None and tag in if_none_match:
        return Response(status_code=304, headers={"ETag": tag})
    transcript = await in_thread(transcripts.journal(context).transcript, job, revision)
    content = await in_thread(transcript.model_dump_json)
    return Response(content, headers={"ETag": tag}, media_type="application/json")


@router.get(
    "/transcripts/{job_id}/cues",
    summary="As subtitles, checked",
    responses={200: {"model": CueList}, **documented(404, 409, 422)},
)
async def cues_(job_id: str, context: Ctx, key: Reader, cues: Cues = None, revision: WhichRevision = None) -> Response:
    """The cues that `srt`, `vtt` and `tsv` would hold, and which rules each of them breaks."""
    job, not_there = await _find(context, key, job_id)
    if not_there is not None:
        return not_there
    rules = cue_rules(context, job, cues)

    def cut() -> str:
        return cue_list(transcripts.journal(context).transcript(job, revision), rules).model_dump_json()

    tag = transcripts.etag(job.revision if revision is None else revision)
    return Response(await in_thread(cut), headers={"ETag": tag}, media_type="application/json")


@router.get(
    "/transcripts/{job_id}/revisions",
    summary="Its revisions",
    responses={200: {"model": RevisionList}, **documented(404, 409, 415, 422)},
)
async def list_(
    job_id: str,
    context: Ctx,
    key: Reader,
    before: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """Who edited what and when, newest first. `next` is the `before` of the following page."""
    job, not_there = await _find(context, key, job_id)
    if not_there is not None:
        return not_there
    found = await in_thread(transcripts.journal(context).journal, job.id, before, limit)
    following = found[-1].number if len(found) == limit and found[-1].number > 1 else None
    items = [revision_document(one) for one in found]
    return json_response({"items": items, "next": following}, headers={"ETag": transcripts.etag(job.revision)})


@router.get(
    "/transcripts/{job_id}/revisions/{number}",
    summary="One revision",
    responses={200: {"model": RevisionDocument}, **documented(404, 422)},
)
async def one(job_id: str, number: str, context: Ctx, key: Reader) -> Response:
    """With what it changed."""
    job = await find(context, key, job_id, "stt")
    wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0
    return json_response(revision_document(*await in_thread(transcripts.journal(context).get, job.id, wanted)))


@router.post(
    "/transcripts/{job_id}/revisions",
    summary="Edit",
    status_code=201,
    responses={
        201: {"model": RevisionDocument},
        200: {"model": RevisionDocument, "description": "this Idempotency-Key has made it already"},
        **documented(400, 404, 409, 412, 413, 415, 422, 428),
    },
    openapi_extra=body_of(RevisionRequest),
)
async def edit(job_id: str, request: Request, context: Ctx, key: Writer, if_match: IfMatch = None) -> Response:
    """`If-Match` carries the ETag of the revision that was edited. Where it is not the newest any more, 412 tells what
    the others did since (`newest`, `since`), and nothing is changed."""
    job, not_there = await _find(context, key, job_id)
    if not_there is not None:
        return not_there
    asked = await bodies.read_json(request, RevisionRequest)
    request_key = idempotency_key(request)
    return await in_thread(_edit, context, key, job, asked, if_match, request_key)


def _edit(
    context: Context, key: Key, job: Job, asked: RevisionRequest, if_match: str | None, request_key: str | None
) -> Response:
    revisions = transcripts.journal(context)
    if request_key and (made := revisions.by_request(job.id, request_key)):
        return _answer(context, made, 200, asked)
    expected = transcripts.expected_revision(if_match, job.revision)
    try:
        if asked.action == "edit":
            made = revisions.edit(job, expected, key.name, asked.operations, request_key)
        else:
            made = revisions.go_back(job, expected, key.name, asked.action, asked.revision, request_key)
    except NotNewest as error:
        if request_key and (made := revisions.by_request(job.id, request_key)):  # two of the same at once
            return _answer(context, made, 200, asked)
        return transcripts.conflict(context, job, expected, error)
    return _answer(context, made, 201, asked)


def _answer(context: Context, made: Revision, status: int, asked: RevisionRequest) -> Response:
    said = [operation.model_dump(mode="json") for operation in asked.operations]
    if made.action != asked.action or made.operations != said:
        raise Invalid(
            "the Idempotency-Key was used for a different edit; use a new key for a new one",
            code="idempotency_mismatch",
        )
    revision, changes = transcripts.journal(context).get(made.job_id, made.number)
    headers = {"ETag": transcripts.etag(made.number), "Location": transcripts.url_of(made.job_id, made.number)}
    return json_response(revision_document(revision, changes), status, headers)
