"""The search over transcripts, on SQLite and on PostgreSQL: what it finds, for whom, and that it follows edits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import delete, func, select

from milo.jobs import Job, NewJob
from milo.ledger import Ledger, search
from milo.ledger.database import writing
from milo.ledger.revisions import Revisions
from milo.ledger.schema import jobs, passages
from milo.ledger.search import Filters
from milo.settings import Settings
from milo.transcription.transcript import Transcript
from tests.milo.transcription.test_edits import READ, spoken


@pytest.fixture
def ledger(each_database: Settings) -> Iterator[Ledger]:
    opened = Ledger.open(each_database)
    yield opened
    opened.engine.dispose()


def made(ledger: Ledger, *texts: str, owner: str = "ana", name: str = "feo.wav") -> Job:
    payload = {"source": {"path": "/a", "name": name}, "model": "m"}
    job = ledger.create(NewJob(kind="stt", payload=payload, owner=owner, priority="batch"))
    claim = ledger.claim(job.id, "w")
    assert claim
    return ledger.finish(claim, spoken(*texts).model_dump())


def journal(ledger: Ledger) -> Revisions:
    return Revisions(ledger, lambda job: Transcript.model_validate(job.result), [search.follow])


def texts(ledger: Ledger, query: str, owner: str | None = "ana", **filters: object) -> list[str]:
    return [hit.text for hit in search.search(ledger, query, Filters(owner=owner, **filters))]  # type: ignore[arg-type]


def edit(ledger: Ledger, job: Job, *operations: dict[str, object]) -> None:
    now = ledger.get(job.id)
    journal(ledger).edit(now, now.revision, "ana", READ.validate_python(list(operations)))


def test_words_prefixes_tenses_and_phrases_are_found_and_nothing_of_another_owner(ledger: Ledger) -> None:
    made(ledger, "nanoratra taratasy izy", "vola be ny Fanjakana", "ny fanjakana be vola")
    made(ledger, "nanoratra ny hafa", owner="bob")
    assert search.index_new(ledger, journal(ledger)) == 2 and search.index_new(ledger, journal(ledger)) == 0
    assert texts(ledger, "manoratra") == ["nanoratra taratasy izy"]
    assert texts(ledger, "FANJA vol") == ["ny fanjakana be vola", "vola be ny Fanjakana"]
    assert texts(ledger, '"be ny fanjakana"') == ["vola be ny Fanjakana"] and texts(ledger, "fanjakan x") == []
    assert texts(ledger, "manoratra", owner="bob") == ["nanoratra ny hafa"]
    assert len(texts(ledger, "manoratra", owner=None)) == 2, "the operator sees all, as of jobs"
    for nasty in ("' OR 1=1 --", '" OR words:*', "a) | (b", "NEAR(a b)", "owner"):
        assert texts(ledger, nasty) == []


def test_filters_and_pages(ledger: Ledger) -> None:
    first = made(ledger, "teny iray", "teny roa", "teny telo")
    search.index_new(ledger, journal(ledger))
    edit(ledger, first, {"op": "speaker", "segments": [1], "speaker": "Rabe"})
    assert texts(ledger, "teny", speaker="Rabe") == ["teny roa"] and texts(ledger, "teny", language="fr") == []
    assert texts(ledger, "teny", most_confidence=0.5) == [] and texts(ledger, "teny", job_id="job_x") == []
    assert texts(ledger, "teny", since=first.created_at + 1) == []
    page = search.search(ledger, "teny", Filters(owner="ana"), limit=2)
    rest = search.search(ledger, "teny", Filters(owner="ana"), before=page[-1].id)
    assert [hit.segment_id for hit in page + rest] == [1, 2, 0] and page[0].name == "feo.wav"
    assert page[0].highlights == [(0, 4)]


def test_an_edit_is_found_at_once_and_so_is_its_undo(ledger: Ledger) -> None:
    job = made(ledger, "teny taloha", "teny hafa")
    search.index_new(ledger, journal(ledger))
    edit(
        ledger,
        job,
        {"op": "text", "segment": 0, "text": "fehezanteny vaovao"},
        {"op": "split", "segment": 1, "word": 1},
    )
    assert texts(ledger, "vaovao") == ["fehezanteny vaovao"] and texts(ledger, "taloha") == []
    assert sorted(texts(ledger, "teny") + texts(ledger, "hafa")) == ["hafa", "teny"]
    now = ledger.get(job.id)
    journal(ledger).go_back(now, 1, "ana", "undo")
    assert texts(ledger, "taloha") == ["teny taloha"] and texts(ledger, "teny hafa") == ["teny hafa"]


def test_an_edit_before_the_first_indexing_is_not_indexed_twice(ledger: Ledger) -> None:
    job = made(ledger, "teny taloha")
    edit(ledger, job, {"op": "text", "segment": 0, "text": "teny vaovao"})
    search.index_new(ledger, journal(ledger))
    assert texts(ledger, "teny") == ["teny vaovao"]


def test_passages_go_with_their_job_and_an_unreadable_transcript_holds_up_no_other(ledger: Ledger) -> None:
    broken, whole = made(ledger, "teny iray"), made(ledger, "teny roa")
    with writing(ledger.engine) as tx:
        tx.execute(jobs.update().where(jobs.c.id == broken.id).values(result={"nonsense": 1}))
    assert search.index_new(ledger, journal(ledger)) == 2 and texts(ledger, "teny") == ["teny roa"]
    with writing(ledger.engine) as tx:
        tx.execute(delete(jobs).where(jobs.c.id == whole.id))
        assert tx.execute(select(func.count()).select_from(passages)).scalar() == 0
    assert texts(ledger, "teny") == []
