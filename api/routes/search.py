"""GET /search: passages of one's transcripts by their words, with their times."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta, timezone
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from api.answers.transcripts import url_of
from api.http.deps import Ctx, Reader, in_thread
from api.http.problems import documented, json_response
from milo.errors import Invalid
from milo.jobs import iso
from milo.language.search import MAX_QUERY
from milo.ledger import search
from milo.ledger.search import Filters, Hit

router = APIRouter(tags=["transcripts"])

Confidence = Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str | None, Query(max_length=200)]


class HitDocument(BaseModel):
    """A segment that holds every word of the query."""

    transcript_id: str
    name: str
    batch_id: str | None
    created_at: str
    segment: int
    start: float
    end: float
    language: str
    speaker: str | None
    confidence: float
    text: str
    """Of the newest revision. It is text: a `<` in it is a `<`."""
    highlights: list[tuple[int, int]]
    """Where the words stand in `text`: from, to, in Unicode characters (not UTF-16 units)."""
    url: str


class HitList(BaseModel):
    items: list[HitDocument]
    next: int | None


@router.get("/search", summary="Search transcripts", responses={200: {"model": HitList}, **documented(422)})
async def find(
    context: Ctx,
    key: Reader,
    q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY, description='Words, or a "phrase"')],
    language: Name = None,
    speaker: Name = None,
    batch: Name = None,
    transcript: Name = None,
    min_confidence: Confidence = None,
    max_confidence: Confidence = None,
    since: Annotated[str | None, Query(max_length=40, description="A day or a time of RFC 3339")] = None,
    until: Annotated[str | None, Query(max_length=40, description="The same; a day is meant to its end")] = None,
    before: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """Segments that hold every word, as the beginning of a word, without regard to case and accents; of Malagasy in any
    tense (`manoratra` finds `nanoratra`). A "phrase" is found as it stands. What was transcribed or edited last comes
    first; `next` is the `before` of the following page."""
    filters = Filters(
        owner=key.owner,
        batch_id=batch,
        job_id=transcript,
        language=language,
        speaker=speaker,
        least_confidence=min_confidence,
        most_confidence=max_confidence,
        since=_seconds(since, "since"),
        until=_seconds(until, "until"),
    )
    if any(value and not value.isprintable() for value in (batch, transcript, language, speaker)):
        return json_response({"items": [], "next": None})
    hits = await in_thread(search.search, context.ledger, q, filters, before, limit)
    following = hits[-1].id if len(hits) == limit else None
    return json_response({"items": [_document(hit) for hit in hits], "next": following})


def _document(hit: Hit) -> dict[str, Any]:
    return {
        "transcript_id": hit.job_id,
        "name": hit.name,
        "batch_id": hit.batch_id,
        "created_at": iso(hit.created_at),
        "segment": hit.segment_id,
        "start": hit.start_s,
        "end": hit.end_s,
        "language": hit.language,
        "speaker": hit.speaker,
        "confidence": hit.confidence,
        "text": hit.text,
        "highlights": hit.highlights,
        "url": url_of(hit.job_id),
    }


def _seconds(given: str | None, parameter: str) -> float | None:
    """Unix seconds of a day or a time. A time without a zone is UTC."""
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given.replace("Z", "+00:00").replace(" ", "+"))
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", given):
            moment = datetime.combine(moment, time.min) + timedelta(days=parameter == "until", milliseconds=-1)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (ValueError, OverflowError):
        detail = f"{given!r} is neither a day (2026-11-28) nor a time (2026-11-28T06:00:00Z)"
        raise Invalid(detail, code="bad_date", errors=[{"detail": detail, "parameter": parameter}]) from None
