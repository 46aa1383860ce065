"""Training as a job of the queue: slices, lost workers, cancelling, one at a time."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from milo.errors import EngineError
from milo.jobs import Job, NewJob, Progress
from milo.ledger import Ledger
from milo.recipes import Recipe
from milo.settings import Settings
from milo.storage.files import Files
from milo.training import runs
from milo.training.runs import Run
from tests.trainer.whisper.whisper_runs import losses, make_data, make_model, recipe
from workers.kinds import training
from workers.runner import Runner


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("made")
    return recipe(make_model(folder / "model"), make_data(folder / "data"), max_steps=5, eval_steps=5)


@pytest.fixture
def local(settings: Settings) -> Settings:
    return settings.model_copy(update={"device": "cpu"})


@pytest.fixture
def runner(local: Settings, ledger: Ledger) -> Iterator[Runner]:
    opened = Runner(local, ledger, Files(local), "gpu/0")
    yield opened
    opened.parked.close()


def submit(ledger: Ledger, made: Recipe) -> Job:
    payload = {"recipe": made.model_dump(mode="json"), "name": made.name}
    return ledger.create(NewJob(kind="training", payload=payload, owner="ana", priority="background"))


def run_of(settings: Settings, job: Job) -> Run:
    found = runs.find(settings, job.id)
    assert found is not None
    return found


def until_done(runner: Runner, job: Job) -> list[str]:
    words = []
    while not runner.ledger.get(job.id).final:
        words.append(runner.run(job.id))
    return words


def test_a_sliced_training_job_has_the_losses_of_one_that_ran_through(
    runner: Runner, ledger: Ledger, local: Settings, made: Recipe
) -> None:
    whole, sliced = submit(ledger, made), submit(ledger, made)
    assert until_done(runner, whole) == ["done"]
    runner.settings = local.model_copy(update={"slice_s": 0})
    assert len(until_done(runner, sliced)) > 5
    after = ledger.get(sliced.id)
    assert after.state == "succeeded" and after.attempt == 1 and after.slices > 5
    assert after.progress == Progress(done=5, total=5, unit="steps")
    assert losses(run_of(local, sliced)) == losses(run_of(local, whole)) and len(losses(run_of(local, whole))) == 5
    assert after.result is not None and after.result["state"] == "done"
    assert after.result["run"] == run_of(local, sliced).id and Path(after.result["best"]["path"]).is_dir()


def steps_of(runner: Runner, job: Job, count: int) -> None:
    """Slices until so many steps are done."""
    runner.settings = runner.settings.model_copy(update={"slice_s": 0})
    while runner.ledger.get(job.id).progress.done < count:
        runner.run(job.id)
    runner.settings = runner.settings.model_copy(update={"slice_s": 30})


def test_a_second_training_waits_until_the_first_has_ended(
    runner: Runner, ledger: Ledger, local: Settings, made: Recipe
) -> None:
    first, second = submit(ledger, made), submit(ledger, made)
    steps_of(runner, first, 1)
    assert runner.run(second.id) == "done"
    waiting = ledger.get(second.id)
    assert (waiting.state, waiting.attempt) == ("queued", 1) and waiting.due_at is not None
    assert runs.find(local, second.id) is None, "it was begun beside the first"
    assert until_done(runner, first) == ["done"]
    assert not training._training


def test_a_training_cancelled_while_it_gives_way_is_let_go_and_may_go_on_later(
    runner: Runner, ledger: Ledger, local: Settings, made: Recipe
) -> None:
    first, second = submit(ledger, made), submit(ledger, made)
    steps_of(runner, first, 3)
    assert ledger.cancel(first.id).state == "cancelled"
    runner.run(second.id)
    assert run_of(local, first).summary()["state"] == "cancelled" and run_of(local, first).summary()["eta_s"] is None
    assert ledger.get(second.id).state == "succeeded", "it still waited for the one that was cancelled"
    ledger.retry(first.id)
    assert until_done(runner, first) == ["done"]
    assert losses(run_of(local, first)) == losses(run_of(local, second))


def lose(runner: Runner, local: Settings, job: Job, step: int) -> Runner:
    """Train up to a step in a worker that dies there; the one that comes after it."""
    steps_of(runner, job, step)
    claim = runner.ledger.claim(job.id, runner.worker)
    assert claim is not None
    runner.parked.close()
    runner.ledger.reap(worker=runner.worker)
    return Runner(local, runner.ledger, Files(local), runner.worker)


def test_lost_workers_are_counted_anew_when_the_training_has_got_further(
    runner: Runner, ledger: Ledger, local: Settings, made: Recipe
) -> None:
    longer = made.model_copy(update={"training": made.training.model_copy(update={"max_steps": 9, "eval_steps": 9})})
    job = submit(ledger, longer)
    for step in (3, 5, 7):
        runner = lose(runner, local, job, step)
        assert ledger.get(job.id).state == "queued" and ledger.get(job.id).attempt == 2
    until_done(runner, job)
    assert ledger.get(job.id).state == "succeeded" and list(losses(run_of(local, job))) == list(range(1, 10))


def test_lost_workers_that_got_nowhere_fail_the_job(
    runner: Runner, ledger: Ledger, local: Settings, made: Recipe
) -> None:
    job = submit(ledger, made)
    for _ in range(3):
        assert not ledger.get(job.id).final
        runner = lose(runner, local, job, 1)
    after = ledger.get(job.id)
    assert after.state == "failed" and after.error is not None and after.error["code"] == "worker_lost"


def test_an_error_that_may_pass_goes_on_from_the_checkpoint_in_the_same_worker(
    runner: Runner, ledger: Ledger, local: Settings, made: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.whisper import hf_trainer

    stock = hf_trainer.WhisperTrainer.compute_loss
    fails = [True]

    def compute(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 3 and fails:
            fails.clear()
            raise EngineError("the driver hiccuped")
        return stock(self, *args, **kwargs)

    monkeypatch.setattr(hf_trainer.WhisperTrainer, "compute_loss", compute)
    job = submit(ledger, made)
    assert runner.run(job.id) == "engine_error"
    again = ledger.get(job.id)
    assert (again.state, again.attempt) == ("queued", 2)
    ledger.clock = lambda: again.due_at or 0.0
    assert runner.run(job.id) == "done"
    assert ledger.get(job.id).state == "succeeded" and list(losses(run_of(local, job))) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "full",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_a_training_whose_disk_is_full_waits_for_room_and_loses_no_attempt(
    runner: Runner, ledger: Ledger, local: Settings, made: Recipe, monkeypatch: pytest.MonkeyPatch, full: Exception
) -> None:
    from trainer.whisper import checkpoints

    stock, begun = checkpoints.publish, []

    def publish(made: Path, final: Path, *args: Any, **kwargs: Any) -> None:
        begun.append(final.name)
        if final.name == "checkpoint-4" and begun.count(final.name) == 1:
            raise full
        stock(made, final, *args, **kwargs)

    monkeypatch.setattr(checkpoints, "publish", publish)
    job = submit(ledger, made)
    now = 0.0
    ledger.clock = lambda: time.time() + now
    for free in (1000, 2000):
        monkeypatch.setattr(training, "_free", lambda folder, free=free: free)
        runner.run(job.id)
        after, run = ledger.get(job.id), run_of(local, job)
        assert (after.state, after.attempt) == ("queued", 1) and after.due_at is not None
        assert list(run.checkpoints()) == [2] and not list(run.path.glob(".saving*"))
        assert after.error is not None and after.error["code"] == "no_room" and str(run.path) in after.error["detail"]
        assert run.summary()["state"] == "waiting_for_room" and [one["kind"] for one in run.alerts()] == ["no_room"]
        now += 60
    assert begun == ["checkpoint-2", "checkpoint-4"], "it was tried again without more room"
    monkeypatch.setattr(training, "_free", lambda folder: 1 << 30)
    assert until_done(runner, job) == ["done"]
    assert ledger.get(job.id).state == "succeeded" and list(losses(run_of(local, job))) == [1, 2, 3, 4, 5]
