"""How often an evaluation is tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from milo.errors import EngineError
from milo.jobs import NewJob, Progress
from milo.ledger import Ledger
from milo.settings import Settings
from milo.storage.files import Files
from workers.kinds.evaluation import keeping
from workers.runner import Runner
from workers.work import Finished, RunningJob


@pytest.mark.parametrize(("rows", "tries", "state"), [(0, 3, "failed"), (2, 4, "succeeded")])
def test_it_is_tried_again_for_as_long_as_each_try_leaves_rows(
    settings: Settings, ledger: Ledger, runs: Any, rows: int, tries: int, state: str
) -> None:
    started: list[int] = []

    def run(running: RunningJob) -> Iterator[Progress]:
        started.append(running.job.attempt)
        return (yield from keeping(running, steps()))

    def steps() -> Any:
        yield Progress(unit="recordings measured")
        for done in range(rows):
            yield Progress(done=done + 1, total=rows, unit="items")
        if len(started) < 4:
            raise EngineError("a file has gone")
        return Finished({})

    runs(run)
    runner = Runner(settings, ledger, Files(settings), "gpu/0")
    job = ledger.create(NewJob(kind="ping", payload={}, owner="ana", priority="background"))
    while not (now := ledger.get(job.id)).final and len(started) < 10:
        ledger.clock = lambda due_at=now.due_at or 0.0: max(due_at, job.created_at)
        runner.run(job.id)
    assert (ledger.get(job.id).state, len(started)) == (state, tries)
