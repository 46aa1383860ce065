"""Beat: each tick once however many beats there are, health kept, checkpoints judged once, a child that hangs ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

import celery_config
from milo.jobs import Job
from milo.ledger import Ledger
from milo.models import registry
from milo.monitoring import health, model_health, redis_state, store, watchdog
from milo.queue.celery import app
from milo.queue.connection import redis_client as client_of
from milo.settings import Settings
from milo.storage.files import Files
from tests.milo.monitoring.conftest import RECIPE, alive, checkpoint, new_training, run_of
from tests.support.servers import ROOT, celery_worker, environment, wait_until
from workers import beat_slots, kill_switch, watching
from workers.beat_tasks import BEAT_TASKS

# --- ticks ------------------------------------------------------------------------------------------------------------


def test_beat_and_the_ticks_name_the_same_things_and_each_knows_its_period() -> None:
    assert set(celery_config.beat_schedule) == set(BEAT_TASKS)
    app.loader.import_default_modules()
    for name, entry in celery_config.beat_schedule.items():
        assert entry["task"] in app.tasks and entry["task"] == f"milo.tick.{name}"
        assert entry["kwargs"] == {"every_s": entry["schedule"]} and entry["options"]["expires"] == entry["schedule"]


def test_of_many_beats_at_once_one_has_the_slot(settings: Settings) -> None:
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda _: beat_slots.take_slot(settings, "watch", 30.0), range(16)))
    assert sum(won) == 1
    assert beat_slots.take_slot(settings, "health", 30.0)  # another tick has slots of its own


def test_the_next_slot_is_free_and_what_is_asked_by_hand_needs_none(settings: Settings) -> None:
    assert beat_slots.take_slot(settings, "watch", 0.5) and not beat_slots.take_slot(settings, "watch", 0.5)
    assert all(beat_slots.take_slot(settings, "watch", None) for _ in range(3))
    wait_until(lambda: beat_slots.take_slot(settings, "watch", 0.5), "the slot never ended", 5)


def test_a_slot_that_was_taken_before_the_clock_went_back_is_free(
    settings: Settings, redis_client: redis.Redis
) -> None:
    redis_client.set("milo:tick:watch", time.time() + 3600, px=3_600_000)
    assert beat_slots.take_slot(settings, "watch", 30.0)
    assert not beat_slots.take_slot(settings, "watch", 30.0)


def test_a_tick_leaves_when_it_ran(settings: Settings, redis_client: redis.Redis) -> None:
    assert beat_slots.take_slot(settings, "watch", 30.0)
    assert time.time() - float(redis_client.hget(redis_state.BEAT_KEY, "watch") or 0) < 30


def test_without_redis_the_tick_is_left_out(settings: Settings) -> None:
    assert not beat_slots.take_slot(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}), "watch", 30.0)


def test_two_real_beats_do_the_work_of_one(settings: Settings, ledger: Ledger) -> None:
    def sent() -> int:
        told = app.control.inspect(timeout=0.5).stats() or {}
        return sum(stats["total"].get("milo.tick.watch", 0) for stats in told.values())

    with celery_worker(settings, "cpu"):
        beats = [_beat(settings, number) for number in range(2)]
        try:
            both = [settings.home / f"schedule-{number}" for number in range(2)]
            wait_until(lambda: all(list(path.parent.glob(f"{path.name}*")) for path in both), "beat does not start", 60)
            wait_until(lambda: len(store.rows(settings, "history")) >= 1, "beat does not tick", 60)
            sent_before, done_before = sent(), len(store.rows(settings, "history"))
            wait_until(lambda: sent() >= sent_before + 10, "beat does not go on", 60)
        finally:
            for beat in beats:
                beat.terminate()
            for beat in beats:
                beat.wait(20)
        done, ticks = len(store.rows(settings, "history")) - done_before, sent() - sent_before
    assert 0 < done < ticks - 2
    found = store.read(settings, "status")
    assert found and found["phase"] == "idle" and found["orchestrator_reason"] == "no worker serves gpu.background"


def _beat(settings: Settings, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "celery", "-A", "milo.queue", "beat", "--loglevel", "WARNING"]
    command += ["-s", str(settings.home / f"schedule-{number}")]
    return subprocess.Popen(command, cwd=ROOT, env=environment(settings.model_copy(update={"watch_s": 1.0})))


# --- the status file and health ---------------------------------------------------------------------------------------


def test_the_tick_writes_the_status_and_its_history(settings: Settings, ledger: Ledger) -> None:
    job = new_training(ledger)
    run = run_of(settings, job, 12)
    assert ledger.claim(job.id, "gpu@here/0")
    assert watching.watch(settings, ledger) == 0
    found, (row,) = store.read(settings, "status"), store.rows(settings, "history")
    assert found and found["training"]["step"] == 12 and found["phase"] == "training"
    assert (row["phase"], row["run"], row["step"], row["last_loss"]) == ("training", run.id, 12, 0.25)
    assert row["alerts"] == ["orchestrator_down"]


def test_health_looks_at_every_part_and_is_kept(settings: Settings, ledger: Ledger, redis_client: redis.Redis) -> None:
    files = Files(settings)
    assert watching.check_health(settings, ledger, files) == 1  # no workers
    document, (row,) = store.read(settings, "health"), store.rows(settings, "health")
    assert document and set(document["checks"]) == {
        *("redis", "database", "workers", "webhooks", "storage", "gpu", "models")
    }
    assert list(row["unwell"]) == ["workers"] and row["status"] == "degraded"
    alive(redis_client)
    note = json.dumps({"node": "archive@here", "queues": ["cpu.batch"], "pid": 1, "at": time.time()})
    redis_client.set("milo:worker:archive@here", note)
    assert watching.check_health(settings, ledger, files) == 0


def test_a_card_that_is_asked_for_and_not_there_is_no_health(settings: Settings, ledger: Ledger) -> None:
    wanted = settings.model_copy(update={"device": "cuda"})
    assert not health.check(wanted, ledger, Files(wanted))["checks"]["gpu"]["ok"]


@pytest.fixture
def model(settings: Settings, tmp_path: Path) -> Path:
    """The folder of a model in the registry."""
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "whisper"}')
    save_file({"w": np.zeros(8, np.float32)}, folder / "model.safetensors")
    registry.deploy(settings, "mine", folder)
    return registry.resolve(settings, "mine").path


def test_a_model_of_another_size_is_damaged_at_once_and_of_another_content_once_verified(
    settings: Settings, ledger: Ledger, model: Path
) -> None:
    assert model_health.verify_one(settings) == f"mine@{model.name}" and model_health.verify_one(settings) is None
    assert model_health.damage(settings) == {}
    weights = model / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + b"\x01")
    assert model_health.damage(settings) == {}  # the same size: found within a day
    store.write(settings, model_health.VERIFIED, {})
    model_health.verify_one(settings)
    check = health.check(settings, ledger, Files(settings))["checks"]["models"]
    assert not check["ok"] and "sha256" in check["detail"] and "rollback" in check["detail"]
    weights.write_bytes(data[:-3])
    assert "bytes instead of" in model_health.damage(settings)[f"mine@{model.name}"][0]


# --- checkpoints ------------------------------------------------------------------------------------------------------


def evaluations(ledger: Ledger) -> list[Job]:
    return sorted(ledger.jobs(kind="evaluation"), key=lambda job: job.id)


def test_each_new_checkpoint_is_judged_once(settings: Settings, ledger: Ledger) -> None:
    run = run_of(settings, new_training(ledger), 50)
    for step in (15, 30, 45):  # the recipe itself evaluates at 30
        checkpoint(run, step)
    assert watching.evaluate_checkpoints(settings, ledger) == 2
    assert watching.evaluate_checkpoints(settings, ledger) == 0
    first, second = evaluations(ledger)
    assert first.payload["model"] == str(run.path / "checkpoint-15") and second.payload["model"].endswith("-45")
    assert first.queue == "gpu.background" and first.payload["data"]["source"] == RECIPE["data"]["source"]
    run.log(60, **{"eval/wer": 0.4})
    checkpoint(run, 60)
    checkpoint(run, 75)
    assert watching.evaluate_checkpoints(settings, ledger) == 1


def test_a_checkpoint_that_was_removed_before_its_turn_is_not_judged(settings: Settings, ledger: Ledger) -> None:
    run = run_of(settings, new_training(ledger), 50)
    for step in (15, 45):
        checkpoint(run, step)
    watching.evaluate_checkpoints(settings, ledger)
    shutil.rmtree(run.path / "checkpoint-15")
    assert watching.evaluate_checkpoints(settings, ledger) == 0
    assert [job.state for job in evaluations(ledger)] == ["cancelled", "queued"]


def test_two_beats_at_once_queue_one_evaluation(settings: Settings, ledger: Ledger) -> None:
    checkpoint(run_of(settings, new_training(ledger), 20), 15)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: watching.evaluate_checkpoints(settings, ledger), range(4)))
    assert len(evaluations(ledger)) == 1


def test_it_is_judged_once_even_after_the_idempotency_key_is_forgotten(settings: Settings, ledger: Ledger) -> None:
    checkpoint(run_of(settings, new_training(ledger), 20), 15)
    assert watching.evaluate_checkpoints(settings, ledger) == 1
    from workers.maintenance import clean

    clean(settings.model_copy(update={"idempotency_ttl_s": -1}), ledger, Files(settings))
    assert watching.evaluate_checkpoints(settings, ledger) == 0 and len(evaluations(ledger)) == 1


def test_old_runs_speech_and_runs_without_a_recipe_are_left_alone(settings: Settings, ledger: Ledger) -> None:
    old, voice, bare = (run_of(settings, new_training(ledger), 20) for _ in range(3))
    for run in (old, voice, bare):
        checkpoint(run, 15)
    os.utime(old.path / "summary.json", (1, 1))
    (voice.path / "config.yaml").write_text(json.dumps(RECIPE | {"task": "vits"}))
    (bare.path / "config.yaml").unlink()
    assert watching.evaluate_checkpoints(settings, ledger) == 0
    fresh = settings.model_copy(update={"evaluate_checkpoints": False})
    checkpoint(run_of(settings, new_training(ledger), 20), 15)
    assert watching.evaluate_checkpoints(fresh, ledger) == 0
    assert watching.evaluate_checkpoints(settings, ledger) == 1


# --- a child that hangs -----------------------------------------------------------------------------------------------


HANGING = """
import threading
from milo.training import runs
from milo.jobs import Progress
from milo.monitoring import watchdog
from workers.work import WORK, Finished, Work

def run(held):
    run = runs.folder_for(held.settings, "tiny", held.id, held.job.created_at)
    for step in range(1, 4):
        run.summarise(state="training", step=step)
        run.log(step, **{"train/loss": 1.0})
        yield Progress(done=step, total=3, unit="steps")
        if step == 2 and held.job.attempt == 1:
            threading.Event().wait()  # a step that never ends
    return Finished({"attempt": held.job.attempt})

WORK["training", "train"] = Work("hanging:run")
"""


def test_a_training_that_hangs_in_a_real_worker_is_ended_and_goes_on(
    settings: Settings, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    job = new_training(ledger)
    with celery_worker(settings, "gpu.background", "--include", "hanging"):
        app.send_task("milo.training", args=[job.id], queue="gpu.background", ignore_result=True)
        wait_until(lambda: ledger.get(job.id).progress.done >= 2 or _step(settings, job) >= 2, "it did not start", 60)
        seen = redis_state.read(settings)
        assert [worker["gpu"]["gpus"] for worker in seen.workers] == [[]]  # and says so
        watchdog.check(settings, ledger, seen)
        fixes = []

        def is_seen() -> bool:
            moment = redis_state.read(settings)
            later = redis_state.RedisState(**moment.__dict__ | {"at": time.time() + settings.hard_limit_s + 10})
            fixes.extend(watchdog.check(settings, ledger, later))
            return bool(fixes)

        wait_until(is_seen, "the watchdog sees nothing")
        assert fixes[0].rule == "step_not_moving"
        wait_until(lambda: ledger.get(job.id).attempt == 2, "nobody took the job back", 60)
        taken_back = ledger.get(job.id)
        if taken_back.state == "queued":
            app.send_task("milo.training", args=[job.id], queue="gpu.background", ignore_result=True)
        wait_until(lambda: ledger.get(job.id).state == "succeeded", "it did not go on", 90)
    assert ledger.get(job.id).result == {"attempt": 2}
    assert [row["rule"] for row in store.rows(settings, "fixes")] == ["step_not_moving"]


def _step(settings: Settings, job: Job) -> int:
    from milo.training import runs

    run = runs.find(settings, job.id)
    return int(run.summary().get("step", 0)) if run else 0


def test_a_child_that_has_moved_on_is_not_ended(settings: Settings, ledger: Ledger) -> None:
    class Pool:
        """Celery's pool as the parent sees it, with a process that must not be touched."""

        class _pool:
            _pool = [type("Process", (), {"index": 0, "pid": os.getpid()})()]

    job = new_training(ledger)
    claim = ledger.claim(job.id, "gpu@here/0")
    assert claim
    watchdog.end_child(settings, claim.job)
    ledger.release(claim)
    assert ledger.claim(job.id, "gpu@here/0")  # another fence
    assert kill_switch.end_children(settings, "gpu@here", Pool()) == 0
    assert client_of(settings.redis_url).llen(watchdog.kill_key("gpu@here")) == 0
