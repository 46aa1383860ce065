"""Transcripts of jobs as clients see them: the text as it was made, and the journal of its edits."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from api.http.deps import PREFIX, Context
from api.http.problems import document_response
from milo.cue_rules import CueRules
from milo.errors import BadRequest, ConditionMissing, Outdated
from milo.jobs import Job, iso
from milo.ledger import search
from milo.ledger.revisions import NotNewest, Revision, Revisions, transcript_of
from milo.transcription.changes import Changes
from milo.transcription.cue_checks import Problem, chars_per_s, problems_of
from milo.transcription.transcript import Transcript, cues_of

SHOWN_AFTER_CONFLICT = 50
"""Revisions that a 412 shows: those that the client has not seen, at most so many."""


class RevisionDocument(BaseModel):
    """One edit of a transcript."""

    transcript_id: str
    revision: int
    action: str
    """edit, undo, redo or restore."""
    state: int
    """The revision whose text this is: its own number, or that of one that came back; 0 is the machine's text."""
    author: str
    """The name of the key that did it."""
    created_at: str
    operations: list[dict[str, Any]]
    url: str
    changes: Changes | None = None
    """What differs from the revision before. Not in lists."""


class RevisionList(BaseModel):
    items: list[RevisionDocument]
    next: int | None


class CueDocument(BaseModel):
    """What a subtitle shows at once."""

    start: float
    end: float
    lines: list[str]
    speaker: str
    """Empty where speakers are not told apart."""
    chars_per_s: float
    """How fast it must be read."""
    problems: list[Problem]
    """The rules that it breaks: there was no room to keep them."""


class CueRulesDocument(BaseModel):
    """The limits of a cue."""

    line_chars: int
    lines: int
    min_s: float
    max_s: float
    chars_per_s: float
    gap_s: float


class CueList(BaseModel):
    """A transcript as subtitles."""

    revision: int
    rules: CueRulesDocument
    items: list[CueDocument]


def cue_list(transcript: Transcript, rules: CueRules) -> CueList:
    cues = cues_of(transcript, rules)
    items = [
        CueDocument(
            start=round(cue.start_s, 3),
            end=round(cue.end_s, 3),
            lines=list(cue.lines),
            speaker=cue.speaker,
            chars_per_s=round(chars_per_s(cue), 1),
            problems=problems,
        )
        for cue, problems in zip(cues, problems_of(cues, rules), strict=True)
    ]
    return CueList(revision=transcript.revision, rules=CueRulesDocument(**asdict(rules)), items=items)


def journal(context: Context) -> Revisions:
    return Revisions(context.ledger, lambda job: transcript_of(context.files, job), [search.follow], context.texts)


def url_of(job_id: str, revision: int | None = None) -> str:
    return f"{PREFIX}/transcripts/{job_id}" + ("" if revision is None else f"/revisions/{revision}")


def etag(revision: int) -> str:
    return f'"r{revision}"'


def expected_revision(if_match: str | None, newest: int) -> int:
    """The revision that an `If-Match` names. Raises `ConditionMissing` without one; `*` is the newest."""
    if if_match is None:
        raise ConditionMissing(
            f"send `If-Match: {etag(newest)}` with the ETag of the revision that you edited, so that no edit is lost"
        )
    if if_match.strip() == "*":
        return newest
    known = re.fullmatch(r'"r(\d{1,9})"', if_match.strip())
    if known is None:
        raise BadRequest(f"`If-Match` is the ETag of one revision, such as {etag(newest)}", code="bad_etag")
    return int(known[1])


def revision_document(revision: Revision, changes: Changes | None = None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "transcript_id": revision.job_id,
        "revision": revision.number,
        "action": revision.action,
        "state": revision.state,
        "author": revision.author,
        "created_at": iso(revision.created_at),
        "operations": revision.operations,
        "url": url_of(revision.job_id, revision.number),
    }
    return document if changes is None else document | {"changes": changes.model_dump(mode="json")}


def conflict(context: Context, job: Job, expected: int, error: NotNewest) -> Response:
    """412, with what the others did meanwhile: the newest revision, and all since the expected one, newest first."""
    revisions = journal(context)
    shown = revisions.journal(job.id, limit=min(SHOWN_AFTER_CONFLICT, max(1, error.newest - expected)))
    documents = [revision_document(*revisions.get(job.id, one.number)) for one in shown]
    detail = f"the edit was made for revision {expected}, and the newest is {error.newest}; look at it and edit again"
    document = Outdated(detail).problem(url_of(job.id) + "/revisions")
    document |= {"revision": error.newest, "newest": documents[0] if documents else None, "since": documents}
    return document_response(document, {"ETag": etag(error.newest)})
