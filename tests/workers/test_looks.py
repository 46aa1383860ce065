"""From a training's checkpoints to status files: evaluations are asked for once, looks when something changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from milo.errors import EngineError
from milo.ledger import Ledger, reports
from milo.monitoring import systems
from milo.monitoring.systems import BY_NAME, MONITORED
from milo.settings import Settings
from milo.storage.files import Files
from milo.training import evaluations, suites
from milo.training.runs import folder_for
from tests.trainer.autonomy.tiny_world import RECIPE, Errors, judged, suite_of
from trainer.autonomy.watched import watched
from workers.looks import queue_looks
from workers.runner import Runner
from workers.watching import evaluate_checkpoints

SPEAKERS, UTTERANCES = 24, 240


@pytest.fixture
def train(settings: Settings) -> Callable[[int], Path]:
    """Adds a checkpoint to a run of the tiny recipe, and its suite."""
    key = suites.key_of(RECIPE.task, RECIPE.data, RECIPE.evaluation)
    suites.keep(settings, suite_of(SPEAKERS, UTTERANCES).model_copy(update={"key": key}))
    run = folder_for(settings, RECIPE.name, "job_1", 1.0)
    (run.path / "config.yaml").write_text(RECIPE.model_dump_json())

    def checkpoint(step: int) -> Path:
        path = run.path / f"checkpoint-{step}"
        path.mkdir()
        return path

    return checkpoint


def evaluate(settings: Settings, ledger: Ledger, errors: Errors, gain: float = 0.0) -> None:
    """Ends every evaluation that waits, without any engine."""
    for job in reversed(ledger.jobs(kind="evaluation", state="queued")):
        claim = ledger.claim(job.id, "w")
        assert claim and job.payload["evaluation"]["loss"]
        name = Path(job.payload["model"]).name
        one = judged(name, errors.counts(gain if name.endswith("-9") else 0.0), SPEAKERS)
        evaluations.open_or_make(settings, one.key).settle(list(one.rows.values()), one.report)
        ledger.finish(claim, one.report)


def look(settings: Settings, ledger: Ledger) -> list[str]:
    """Runs every look that waits; returns their systems."""
    waiting = ledger.jobs(kind="system", state="queued")
    runner = Runner(settings, ledger, Files(settings), "w/0")
    for job in waiting:
        runner.run(job.id)
        assert ledger.get(job.id).state == "succeeded", ledger.get(job.id).error
    return sorted(job.payload["system"] for job in waiting)


def test_nothing_is_asked_for_before_there_is_a_training(settings: Settings, ledger: Ledger) -> None:
    assert watched(settings) is None and queue_looks(settings, ledger) == 0


def test_checkpoints_are_evaluated_once_and_looked_at_when_something_changed(
    settings: Settings, ledger: Ledger, train: Callable[[int], Path]
) -> None:
    every = sorted(one.name for one in MONITORED)
    errors = Errors(UTTERANCES, seed=2)
    train(3)
    assert queue_looks(settings, ledger) == 2 + len(every), "the checkpoint, what serves, and the looks"
    assert queue_looks(settings, ledger) == 0, "they wait already"
    assert look(settings, ledger) == every
    first = systems.read(settings, BY_NAME["regression"])
    assert first.document and first.document["state"] == "insufficient_data"
    evaluate(settings, ledger, errors)
    assert queue_looks(settings, ledger) == len(every) and look(settings, ledger) == every
    assert queue_looks(settings, ledger) == 0, "nothing has changed"
    train(9)
    assert queue_looks(settings, ledger) == 1 + len(every)
    evaluate(settings, ledger, errors, gain=0.3)
    look(settings, ledger)
    queue_looks(settings, ledger)
    look(settings, ledger)
    told = systems.read(settings, BY_NAME["regression"])
    assert told.document and told.document["regression_detected"] and told.document["checkpoint"] == "checkpoint-9"
    assert told.document["job_id"].startswith("job_") and told.document["looks"]["used"] == 2
    assert len(ledger.jobs(kind="evaluation")) == 3


def test_the_period_brings_a_look_also_where_nothing_changed_and_a_switch_ends_it(
    settings: Settings, ledger: Ledger, train: Callable[[int], Path]
) -> None:
    train(3)
    only = settings.model_copy(update={"systems": ["regression"], "evaluate_checkpoints": False})
    assert queue_looks(only, ledger) == 1 and look(only, ledger) == ["regression"]
    assert queue_looks(only, ledger) == 0
    hasty = only.model_copy(update={"system_periods": {"regression": 1e-9}})
    assert queue_looks(hasty, ledger) == 1
    assert queue_looks(settings.model_copy(update={"systems": []}), ledger) == 0
    assert len(reports.last(ledger.engine, "regression", 9)) == 1


def test_an_evaluation_of_a_checkpoint_that_is_gone_is_not_made_any_more(
    settings: Settings, ledger: Ledger, train: Callable[[int], Path]
) -> None:
    gone = train(3)
    queue_looks(settings, ledger)
    gone.rmdir()
    evaluate_checkpoints(settings, ledger)
    waiting = [job.payload["model"] for job in ledger.jobs(kind="evaluation", state="queued")]
    assert waiting == ["milo-tiny-mg"], "what serves is no folder, and stays"


def test_an_evaluation_that_fails_is_a_failure_of_the_checkpoint(
    settings: Settings, ledger: Ledger, train: Callable[[int], Path]
) -> None:
    train(3)
    queue_looks(settings, ledger)
    evaluate(settings, ledger, Errors(UTTERANCES))
    train(9)
    queue_looks(settings, ledger)
    for job in ledger.jobs(kind="evaluation", state="queued"):
        claim = ledger.claim(job.id, "w")
        assert claim
        ledger.fail(claim, EngineError("the loss is not finite", code="broken_weights"))
    look(settings, ledger)
    queue_looks(settings, ledger)
    look(settings, ledger)
    told = json.loads((settings.home / "status" / "regression_monitoring.json").read_text())
    assert (told["state"], told["checkpoint"], told["alert_level"]) == ("failed", "checkpoint-9", "critical")
    assert "not finite" in told["reason"]
