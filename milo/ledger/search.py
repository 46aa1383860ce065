"""Search over the newest revisions of all transcripts: SQLite's FTS5, or a GIN index of PostgreSQL.

New transcripts are indexed by beat's task `index`; an edit changes the index within its own transaction. The owner is a
word of every passage, so that another owner's passages are never even looked at.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    table,
    update,
)

from milo.errors import MiloError
from milo.jobs import Job
from milo.language import search as language_search
from milo.language.search import Term
from milo.ledger.database import reading, writing
from milo.ledger.revisions import Revisions
from milo.ledger.schema import jobs, passages
from milo.ledger.store import READABLE, Store, job_from
from milo.transcription.changes import Changes
from milo.transcription.transcript import Transcript

log = logging.getLogger(__name__)

BUDGET_S = 1.0
"""How long one sweep of `index_new` goes on."""
IDS_AT_ONCE = 10_000
"""Databases limit how many values a statement may name."""

_FTS5 = table("passages_index", column("rowid"))


@dataclass(frozen=True)
class Filters:
    """Which passages count. None: any."""

    owner: str | None = None
    batch_id: str | None = None
    job_id: str | None = None
    language: str | None = None
    speaker: str | None = None
    least_confidence: float | None = None
    most_confidence: float | None = None
    since: float | None = None
    until: float | None = None
    """Unix seconds: when the recording was submitted."""


@dataclass(frozen=True)
class Hit:
    """A segment that holds all that was looked for."""

    id: int
    job_id: str
    name: str
    batch_id: str | None
    created_at: float
    segment_id: int
    start_s: float
    end_s: float
    language: str
    speaker: str | None
    confidence: float
    text: str
    highlights: list[tuple[int, int]]


# --- asking -----------------------------------------------------------------------------------------------------------


def search(store: Store, query: str, filters: Filters, before: int | None = None, limit: int = 50) -> list[Hit]:
    """Passages with every word of the query, those that were transcribed or edited last first. Raises `Invalid`."""
    terms = language_search.parse(query)
    is_sqlite = store.engine.dialect.name == "sqlite"
    asked = _fts5(terms, filters.owner) if is_sqlite else _tsquery(terms, filters.owner)
    found = select(passages, jobs.c.payload).join(jobs, jobs.c.id == passages.c.job_id)
    if is_sqlite:
        found = found.join(_FTS5, _FTS5.c.rowid == passages.c.id)
        found = found.where(literal_column("passages_index").op("MATCH")(asked))
        place = _FTS5.c.rowid  # FTS5 goes backwards through these by itself, and stops at the limit
    else:
        words = func.to_tsvector(literal_column("'simple'"), passages.c.words)  # as the index was made
        found = found.where(words.op("@@")(func.to_tsquery(literal_column("'simple'"), asked)))
        place = passages.c.id
    if before is not None:
        found = found.where(place < before)
    with reading(store.engine) as connection:
        rows = connection.execute(found.where(*_where(filters)).order_by(place.desc()).limit(limit)).all()
    return [_hit(row, terms) for row in rows]


def _fts5(terms: Sequence[Term], owner: str | None) -> str:
    parts = [f'"{_owner_word(owner)}"'] if owner is not None else []
    for term in terms:
        star = " *" if term.prefix else ""
        either = [f'"{" ".join(term.words)}"{star}']
        either += [f'"{term.without_tense}" *'] if term.without_tense else []
        parts.append(f"({' OR '.join(either)})")
    return " AND ".join(parts)


def _tsquery(terms: Sequence[Term], owner: str | None) -> str:
    parts = [_owner_word(owner)] if owner is not None else []
    for term in terms:
        star = ":*" if term.prefix else ""
        either = [" <-> ".join(f"'{word}'{star}" for word in term.words)]
        either += [f"'{term.without_tense}':*"] if term.without_tense else []
        parts.append(f"({' | '.join(either)})")
    return " & ".join(parts)


def _where(filters: Filters) -> list[ColumnElement[bool]]:
    equal = {
        passages.c.owner: filters.owner,
        passages.c.batch_id: filters.batch_id,
        passages.c.job_id: filters.job_id,
        passages.c.language: filters.language,
        passages.c.speaker: filters.speaker,
    }
    where = [one == value for one, value in equal.items() if value is not None]
    for one, least, most in (
        (passages.c.confidence, filters.least_confidence, filters.most_confidence),
        (passages.c.created_at, filters.since, filters.until),
    ):
        where += [one >= least] if least is not None else []
        where += [one <= most] if most is not None else []
    return where


def _hit(row: Row[Any], terms: list[Term]) -> Hit:
    fields = {name: row._mapping[name] for name in Hit.__dataclass_fields__ if name not in ("name", "highlights")}
    source = row.payload.get("source")
    name = str(source.get("name") or "") if isinstance(source, dict) else ""
    return Hit(**fields, name=name, highlights=language_search.highlights(row.text, row.language, terms))


# --- keeping ----------------------------------------------------------------------------------------------------------


def follow(tx: Connection, job: Job, newest: Transcript, changes: Changes) -> None:
    """An edit has changed a transcript: what is found changes with it, if it was found before."""
    if tx.execute(select(jobs.c.indexed_revision).where(jobs.c.id == job.id)).scalar() is None:
        return  # `index_new` will come to it
    gone = sorted(changes.removed_ids)
    for at in range(0, len(gone), IDS_AT_ONCE):
        some = passages.c.segment_id.in_(gone[at : at + IDS_AT_ONCE])
        tx.execute(delete(passages).where(passages.c.job_id == job.id, some))
    _add(tx, job, newest, changes.added_ids)
    tx.execute(update(jobs).where(jobs.c.id == job.id).values(indexed_revision=job.revision))


def index_new(store: Store, revisions: Revisions, budget_s: float = BUDGET_S) -> int:
    """Index transcripts that nobody has indexed, the oldest first, until the time is over. Returns how many."""
    until = time.monotonic() + budget_s
    done = 0
    for job in iter(lambda: _next(store), None):
        _index(store, revisions, job)
        done += 1
        if time.monotonic() > until:
            break
    return done


def _next(store: Store) -> Job | None:
    waiting = (jobs.c.kind == "stt", jobs.c.state == "succeeded", jobs.c.indexed_revision.is_(None), READABLE)
    with reading(store.engine) as connection:
        row = connection.execute(select(jobs).where(*waiting).order_by(jobs.c.id).limit(1)).one_or_none()
    return None if row is None else job_from(row)


def _index(store: Store, revisions: Revisions, job: Job) -> None:
    newest: Transcript | None = None
    try:
        newest = revisions.transcript(job)
    except (MiloError, ValueError) as error:  # cleaned away, or of a Milo that wrote something else
        log.warning("the transcript of %s can't be searched: %s", job.id, error)
    mine = (jobs.c.id == job.id, jobs.c.revision == job.revision)  # an edit meanwhile: the next sweep
    with writing(store.engine) as tx:
        taken = tx.execute(update(jobs).where(*mine).values(indexed_revision=job.revision).returning(jobs.c.id)).all()
        if taken and newest:
            tx.execute(delete(passages).where(passages.c.job_id == job.id))
            _add(tx, job, newest, None)


def _add(tx: Connection, job: Job, transcript: Transcript, ids: Collection[int] | None) -> None:
    """The passages of these segments, or of all."""
    owner_word = _owner_word(job.owner)
    said = [
        (segment, (segment.language or transcript.language or "")[:32])
        for segment in transcript.segments
        if (ids is None or segment.id in ids) and segment.text.strip()
    ]
    rows = [
        {
            "job_id": job.id,
            "segment_id": segment.id,
            "owner": job.owner,
            "batch_id": job.batch_id,
            "created_at": job.created_at,
            "start_s": segment.start,
            "end_s": segment.end,
            "language": language,
            "speaker": segment.speaker,
            "confidence": segment.confidence,
            "text": segment.text.replace("\0", ""),
            "words": f"{language_search.indexed(segment.text, language)} {owner_word}",
        }
        for segment, language in said
    ]
    if rows:
        tx.execute(insert(passages), rows)


def _owner_word(owner: str) -> str:
    """A word that stands for the owner in the index."""
    return f"{language_search.RESERVED}0{hashlib.sha256(owner.encode()).hexdigest()[:32]}"
