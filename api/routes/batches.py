"""Batches: many recordings or texts in one request, watched and fetched together."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from api.answers import events as waiting
from api.answers import renderings, results
from api.answers.documents import (
    BatchDocument,
    BatchList,
    JobList,
    batch_document,
    batch_with_eta,
    job_document,
    webhook_documents,
)
from api.http import bodies, memory
from api.http.bodies import Part
from api.http.deps import Context, Ctx, Reader, Writer, in_parser, in_thread
from api.http.problems import documented, json_response
from api.requests.batch import BatchRequest, CheckedBatch, Item, SkippedFile, check_batch
from api.requests.forms import read_form
from api.requests.incoming import Incoming, Submission, publish_later
from api.requests.schemas import FILE, body_of_form, reference_to
from api.requests.sources import file_name
from api.routes.jobs import Limit
from milo.cue_rules import parse_rules
from milo.errors import Conflict, Invalid, NotFound
from milo.jobs import Batch, NewJob, new_id
from milo.kinds import KINDS, batched
from milo.ledger.keys import Key

router = APIRouter(tags=["batches"])

EVENT_GAP_S = 0.25
FORM = {
    "type": "object",
    "properties": {
        "file": {"type": "array", "items": FILE},
        "request": reference_to(BatchRequest),
    },
}


@router.post(
    "/batches",
    summary="Transcribe many recordings, speak or translate many texts",
    status_code=202,
    responses={202: {"model": BatchDocument}, **documented(400, 408, 413, 415, 422)},
    openapi_extra=body_of_form(FORM, BatchRequest),
)
async def create(incoming: Submission) -> Response:
    """Either every item is acceptable and the batch is made, or nothing is and `errors` points at what is wrong.
    What can only be found out by decoding fails that one job."""
    if bodies.is_multipart(incoming.request):
        asked = await _read_form(incoming)
    else:
        asked = await incoming.read_json(BatchRequest)
    batch, skipped = await in_thread(_create, incoming, asked)
    document = await in_thread(batch_with_eta, incoming.context, batch)
    if batch.total > memory.LARGE_ITEMS:
        del asked
        await in_thread(memory.give_back)
    if skipped:
        document["skipped"] = skipped
    return json_response(document, 202, {"Location": document["url"]})


async def _read_form(incoming: Incoming) -> BatchRequest:
    await in_thread(incoming.need_redis)
    context, asked = incoming.context, BatchRequest()

    async def take_field(part: Part) -> None:
        nonlocal asked
        if part.name != "request":
            raise Invalid(f"there is no form field {part.name!r}; send `file` parts and one `request`")
        text = await part.text(bodies.MAX_REQUEST_PART_BYTES)
        asked = await in_parser(bodies.parse_json, text.encode(), BatchRequest)

    settings = context.settings
    uploads = await read_form(
        incoming.request,
        incoming.blobs,
        settings.max_upload_bytes,
        settings.max_batch_items + 1,
        take_field=take_field,
    )
    items = [Item(blob=upload.blob.id, name=file_name(upload.filename)) for upload in uploads]
    return asked.model_copy(update={"items": [*asked.items, *items]})


def _create(incoming: Incoming, asked: BatchRequest) -> tuple[Batch, list[SkippedFile]]:
    incoming.check_callback(asked.callback_url)
    checked = check_batch(incoming.context, incoming.key, asked)
    incoming.need_redis()
    batch = _batch(incoming, asked, checked)
    payloads = [payload.model_dump(mode="json") for payload in checked.payloads]
    items = [
        NewJob(
            kind=asked.kind,
            payload=payload,
            owner=incoming.key.name,
            priority="batch",
            batch_id=batch.id,
            batch_index=index,
            max_attempts=incoming.context.settings.max_attempts,
        )
        for index, payload in enumerate(payloads)
    ]
    print_ = incoming.fingerprint([payloads, asked.name, asked.callback_url])
    stored = incoming.context.ledger.create_batch(batch, items, print_)
    if stored.id == batch.id:
        publish_later(incoming.context, stored.id)
    return stored, checked.skipped


def _batch(incoming: Incoming, asked: BatchRequest, checked: CheckedBatch) -> Batch:
    count = len(checked.payloads)
    return Batch(
        id=new_id("batch"),
        kind=asked.kind,
        name=asked.name or f"{count} {batched()[asked.kind].items}",
        owner=incoming.key.name,
        total=count,
        remaining=count,
        created_at=time.time(),
        callback_url=asked.callback_url,
        idempotency_key=incoming.idempotency_key,
        options=checked.options,
    )


@router.get("/batches", summary="List batches", responses={200: {"model": BatchList}, **documented(422)})
async def list_(
    context: Ctx, key: Reader, before: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 50
) -> Response:
    """Newest first. `next` is the `before` of the following page."""
    if before and not before.isprintable():
        return json_response({"items": [], "next": None})
    batches = await in_thread(context.ledger.batches, owner=key.owner, before=before, limit=limit)
    following = batches[-1].id if len(batches) == limit else None
    return json_response({"items": [batch_document(batch) for batch in batches], "next": following})


async def find(context: Context, key: Key, batch_id: str) -> Batch:
    """The batch, if this key may see it. `NotFound` otherwise."""
    if not re.fullmatch(r"batch_[0-9a-f]{24}", batch_id):
        raise NotFound(f"there is no batch {batch_id!r}", code="unknown_batch")
    return await in_thread(context.ledger.batch, batch_id, key.owner)


@router.get("/batches/{batch_id}", summary="One batch", responses={200: {"model": BatchDocument}, **documented(404)})
async def look(batch_id: str, context: Ctx, key: Reader) -> Response:
    batch = await find(context, key, batch_id)
    return json_response(await in_thread(batch_with_eta, context, batch))


@router.get("/batches/{batch_id}/jobs", summary="Its jobs", responses={200: {"model": JobList}, **documented(404, 422)})
async def jobs(
    batch_id: str,
    context: Ctx,
    key: Reader,
    after: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1,
    limit: Limit = 100,
) -> Response:
    """In the order they were given. `next` is the `after` of the following page."""
    await find(context, key, batch_id)
    page = await in_thread(context.ledger.batch_jobs, batch_id, after, limit)
    following = page[-1].batch_index if len(page) == limit else None
    return json_response({"items": [job_document(job) for job in page], "next": following})


ARCHIVE: dict[str, Any] = {
    "description": "zip, json or jsonl, in a stream",
    "content": {
        "application/zip": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
        "application/jsonl": {"schema": {"type": "string"}},
    },
}


@router.get(
    "/batches/{batch_id}/results",
    summary="Every result",
    responses={200: ARCHIVE, **documented(404, 409, 422)},
)
async def all_results(
    batch_id: str,
    context: Ctx,
    key: Reader,
    format: str = "zip",
    formats: str | None = None,
    partial: bool = False,
    cues: renderings.Cues = None,
) -> Response:
    """`zip` holds every format that `formats` names (by default `srt,txt` of recordings, the audio of spoken texts,
    `txt` of translations); another format alone is a zip of it;
    `jsonl` is one line a job, `json` the same as one array. 409 until the batch has ended, unless `partial`."""
    batch = await find(context, key, batch_id)
    wanted = _formats(batch.kind, format, formats)
    parse_rules(cues)
    if batch.remaining > 0 and not partial:
        raise Conflict(
            f"{batch.remaining} of {batch.total} jobs have not ended; wait, or ask with partial=true",
            code="not_finished",
            retry_after_s=5,
        )
    name = results.safe_stem(f"{batch.name}.zip")
    if format in ("json", "jsonl"):
        lines = results.batch_lines if format == "jsonl" else results.batch_array
        headers = {"Content-Disposition": results.disposition("inline", f"{name}.{format}")}
        media_type = "application/json" if format == "json" else "application/jsonl"
        return StreamingResponse(lines(context, batch_id), headers=headers, media_type=media_type)
    headers = {"Content-Disposition": results.disposition("attachment", f"{name}.zip")}
    archive = results.batch_zip(context, batch_id, wanted, cues)
    return StreamingResponse(archive, headers=headers, media_type="application/zip")


def _formats(kind: str, format: str, formats: str | None) -> list[str]:
    formats_ = renderings.formats_of(kind)
    if format not in (*formats_, "json", "jsonl", "zip"):
        raise Invalid(f"unknown format {format!r}; one of zip, jsonl, {', '.join(formats_)}", code="unknown_format")
    if format != "zip":
        return [format]
    wanted = [name.strip() for name in (formats or ",".join(KINDS[kind].results.zipped)).split(",") if name.strip()]
    for name in wanted:
        renderings.check_format(name, kind)
    if not wanted:
        raise Invalid("`formats` names no format", code="unknown_format")
    return wanted


@router.get(
    "/batches/{batch_id}/events",
    summary="Watch a batch",
    responses={
        200: {"description": "events `batch`, at most four a second", "content": {"text/event-stream": {}}},
        204: {"description": "it has ended, and Last-Event-ID says the client knows"},
        **documented(404),
    },
)
async def events(batch_id: str, request: Request, context: Ctx, key: Reader) -> Response:
    """Server-sent events: the batch now and after changes, until every job has ended."""
    await find(context, key, batch_id)

    async def read() -> dict[str, Any]:
        return await in_thread(_read, context, batch_id)

    def ended(batch: dict[str, Any]) -> bool:
        return batch["state"] not in ("queued", "running")

    return await waiting.stream(context, request, batch_id, "batch", read, ended, EVENT_GAP_S)


def _read(context: Context, batch_id: str) -> dict[str, Any]:
    return batch_with_eta(context, context.ledger.batch(batch_id))


@router.delete("/batches/{batch_id}", summary="Cancel", responses={200: {"model": BatchDocument}, **documented(404)})
async def cancel(batch_id: str, context: Ctx, key: Writer) -> Response:
    """Cancel every job of the batch that has not ended; running ones stop at their next yield point."""
    await find(context, key, batch_id)
    batch = await in_thread(context.ledger.cancel_batch, batch_id)
    return json_response(batch_document(batch))


@router.get("/batches/{batch_id}/webhooks", summary="Delivery log", responses={**documented(404)})
async def deliveries(batch_id: str, context: Ctx, key: Reader) -> Response:
    """The webhooks of a batch, each with its tries."""
    await find(context, key, batch_id)
    return json_response({"items": await in_thread(webhook_documents, context, batch_id=batch_id)})
