"""What the ledger writes fits into its columns, on PostgreSQL, which minds lengths, as on SQLite, which does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import insert

from milo.errors import Invalid, NotFound
from milo.jobs import NewJob, Progress, new_id
from milo.kinds import KINDS
from milo.ledger import Ledger
from milo.ledger.database import writing
from milo.ledger.schema import Limited, jobs, metadata
from milo.settings import Settings

PING = NewJob(kind="ping", payload={"seconds": 0}, owner="a" * 64, priority="background")
LONGEST_HOST = "h" * 253
COLUMNS = [column for table in metadata.sorted_tables for column in table.c if isinstance(column.type, Limited)]


@pytest.fixture
def ledger(each_database: Settings) -> Iterator[Ledger]:
    opened = Ledger.open(each_database)
    yield opened
    opened.engine.dispose()


def test_a_long_unit_and_a_long_name_of_a_worker_are_kept(ledger: Ledger) -> None:
    job = ledger.create(PING)
    claim = ledger.claim(job.id, f"archive@{LONGEST_HOST}/12345")
    assert claim
    ledger.renew([claim], {job.id: Progress(done=1, total=2, unit="recordings measured")})
    kept = ledger.get(job.id)
    assert (kept.progress.unit, kept.worker) == ("recordings measured", f"archive@{LONGEST_HOST}/12345")


def test_the_evaluation_of_a_checkpoint_by_beat_is_kept(ledger: Ledger) -> None:
    key = f"evaluate:20261128T042802Z_{'n' * 64}_{new_id('job')}:checkpoint-1000000"
    job = ledger.create(PING.model_copy(update={"idempotency_key": key, "fingerprint": key}))
    assert ledger.create(PING.model_copy(update={"idempotency_key": key, "fingerprint": key})).id == job.id


def test_a_value_that_is_too_long_is_a_sentence_on_both(ledger: Ledger) -> None:
    job = ledger.create(PING)
    claim = ledger.claim(job.id, "gpu@here")
    assert claim
    for unit in ("x" * 65, "nu\0ll"):
        with pytest.raises(Invalid, match="the ledger can't keep 'x{40}'…: it has 65|a null character"):
            ledger.renew([claim], {job.id: Progress(unit=unit)})
    ledger.finish(claim)


def test_a_question_about_a_name_that_is_too_long_has_no_answer(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.get("job_" + "x" * 500)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{column.table.name}.{column.name}")
def test_no_column_takes_what_is_too_long(column: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    length = column.type.length  # type: ignore[attr-defined]
    check = column.type.process_bind_param  # type: ignore[attr-defined]
    assert check("x" * length, None) == "x" * length
    with pytest.raises(Invalid):
        check("x" * (length + 1), None)


def test_every_kind_and_stage_has_room() -> None:
    names = [kind for kind in KINDS] + [stage.name for kind in KINDS.values() for stage in kind.stages]
    assert max(map(len, names)) <= min(jobs.c.kind.type.length, jobs.c.stage.type.length)


def test_a_row_by_hand_is_refused_before_the_database_sees_it(ledger: Ledger) -> None:
    table = metadata.tables["idempotency"]
    row = {"owner": "ana", "key": "k" * 256, "fingerprint": "f", "created_at": 1.0}
    with pytest.raises(Invalid, match="256 characters"), writing(ledger.engine) as tx:
        tx.execute(insert(table), row)
