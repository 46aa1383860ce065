"""The status document: every field under its name, from the ledger, the run folders, Redis and the card."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from milo.gpu import GpuReading
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.ledger.database import connect
from milo.monitoring import document, redis_state, schema, store, training
from milo.monitoring.cache import StatusCache
from milo.queue import pause
from milo.settings import Settings
from tests.milo.monitoring.conftest import alerts_on, alive, checkpoint, new_training, run_of
from tests.support.servers import redis_server


def build(settings: Settings, ledger: Ledger, before: dict[str, Any] | None = None) -> dict[str, Any]:
    return document.build(settings, ledger, before)


def report(settings: Settings, key: str = "a" * 32, **fields: Any) -> Path:
    folder = settings.home / "evaluations" / key
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"status": "ok", "wer": 0.387, "cer": 0.121} | fields))
    return folder / "report.json"


# --- a training -------------------------------------------------------------------------------------------------------


def test_a_training_that_runs_is_shown_under_the_monitors_names(
    settings: Settings, ledger: Ledger, heat: Callable[[float], None], redis_client: redis.Redis
) -> None:
    heat(71)
    alive(redis_client)
    job = new_training(ledger)
    run = run_of(settings, job, 20)
    checkpoint(run, 5)
    checkpoint(run, 15)
    assert ledger.claim(job.id, "gpu@here/0")
    found = build(settings, ledger)
    assert found["phase"] == "training"
    wanted = {"step": 20, "total_steps": 100, "pct": 20.0, "eta": "3:25:10", "speed": 1.0, "last_loss": 0.25}
    assert {name: found["training"][name] for name in wanted} == wanted
    card = {"gpu_util_pct": 97, "vram_used_mb": 15_800, "vram_total_mb": 16_303, "temp_c": 71, "reason": None}
    assert {name: found["gpu"][name] for name in card} == card
    assert found["orchestrator"] is True and found["auto_fixes"] == 0
    assert found["checkpoints"] == ["checkpoint-5", "checkpoint-15"]
    assert found["eval"] == {"state": "none", "results": None}
    assert alerts_on(found) == []


def test_the_phase_follows_the_training_from_its_start_to_its_evaluation(settings: Settings, ledger: Ledger) -> None:
    assert build(settings, ledger)["phase"] == "idle"
    job = new_training(ledger)
    assert build(settings, ledger)["phase"] == "idle"  # it waits for its turn
    claim = ledger.claim(job.id, "gpu@here/0")
    assert claim and build(settings, ledger)["phase"] == "preprocessing"
    run = run_of(settings, job, state="preprocessing")
    assert build(settings, ledger)["phase"] == "preprocessing"
    run.summarise(state="training", step=1)
    assert build(settings, ledger)["phase"] == "training"
    run.summarise(state="done", step=100)
    ledger.finish(claim, {})
    assert build(settings, ledger)["phase"] == "training_done"
    evaluation = ledger.create(NewJob(kind="evaluation", payload={}, owner="ana", priority="background"))
    assert build(settings, ledger)["phase"] == "training_done"
    claim = ledger.claim(evaluation.id, "gpu@here/0")
    assert claim and build(settings, ledger)["phase"] == "evaluating"
    path = report(settings)
    os.utime(path, (time.time() + 5, time.time() + 5))
    ledger.finish(claim, {})
    done = build(settings, ledger)
    assert done["phase"] == "evaluation_done"
    assert done["eval"]["results"] == {"wer": 0.387, "cer": 0.121, "wer_pct": 38.7, "cer_pct": 12.1}


def test_an_evaluation_in_the_middle_of_a_training_leaves_the_phase_at_training(
    settings: Settings, ledger: Ledger
) -> None:
    job = new_training(ledger)
    run_of(settings, job, 7)
    claim = ledger.claim(job.id, "gpu@here/0")
    assert claim
    ledger.release(claim)
    evaluation = ledger.create(NewJob(kind="evaluation", payload={}, owner="ana", priority="background"))
    assert ledger.claim(evaluation.id, "gpu@here/0")
    assert build(settings, ledger)["phase"] == "training"


STAGES = [("baseline", "evaluating"), ("train", "training"), ("judge", "evaluating")]


@pytest.mark.parametrize(("stage", "phase"), STAGES)
def test_a_pipeline_shows_the_phase_of_its_stage(settings: Settings, ledger: Ledger, stage: str, phase: str) -> None:
    job = ledger.create(NewJob(kind="pipeline", payload={}, owner="ana", priority="background", stage=stage))
    assert ledger.claim(job.id, "gpu@here/0")
    run_of(settings, job.model_copy(update={"payload": {"recipe": {}}}), 3)
    assert build(settings, ledger)["phase"] == phase


def test_a_run_that_failed_is_shown_and_the_house_is_idle(settings: Settings, ledger: Ledger) -> None:
    run = run_of(settings, new_training(ledger), 4, state="failed")
    found = build(settings, ledger)
    assert found["phase"] == "idle" and found["training"]["run"] == run.id and found["training"]["state"] == "failed"
    assert found["training"]["eta"] is None


def test_corrections_are_counted_and_what_only_told_is_not(settings: Settings, ledger: Ledger) -> None:
    run = run_of(settings, new_training(ledger), 4)
    run.alert("out_of_memory", "8 x 30 s", "half the batch, twice the accumulation", 3)
    run.alert("gpu_hot", "87 C", "told", 3, action="alert")
    run.alert("tracker", "no room", "training goes on without it", 3)
    assert build(settings, ledger)["auto_fixes"] == 1


# --- what is away -----------------------------------------------------------------------------------------------------


def test_without_a_gpu_the_fields_are_null_and_the_reason_is_told(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_state, "read_gpus", lambda: GpuReading((), "NVML is not available: no driver"))
    found = build(settings, ledger)["gpu"]
    assert found["reason"] == "NVML is not available: no driver" and found["cards"] == []
    assert all(found[name] is None for name in ("gpu_util_pct", "vram_used_mb", "vram_total_mb", "temp_c"))


def test_a_card_that_only_the_gpu_worker_sees_is_shown(
    settings: Settings, ledger: Ledger, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_state, "read_gpus", lambda: GpuReading((), "no card in this container"))
    seen = {"index": 0, "name": "A", "memory_used_bytes": 1024**2, "memory_total_bytes": 2 * 1024**2}
    seen |= {"utilization": 0.5, "temperature_c": 60, "power_w": None, "power_limit_w": None}
    alive(redis_client, gpu={"gpus": [seen], "reason": None})
    found = build(settings, ledger)["gpu"]
    assert (found["name"], found["gpu_util_pct"], found["vram_used_mb"], found["temp_c"]) == ("A", 50, 1, 60)
    assert found["reason"] is None


def test_without_redis_the_rest_is_still_told(settings: Settings, ledger: Ledger) -> None:
    run_of(settings, new_training(ledger), 9)
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    found = build(away, ledger)
    assert not found["redis"]["ok"] and not found["orchestrator"] and found["training"]["step"] == 9
    assert found["queues"]["cpu"]["depth"] is None and "orchestrator_down" in alerts_on(found)


def test_without_the_ledger_the_rest_is_still_told(settings: Settings, ledger: Ledger) -> None:
    run_of(settings, new_training(ledger), 9)
    away = Ledger(connect("sqlite:////nowhere/ledger.sqlite3"), settings)
    found = build(settings, away)
    assert not found["ledger"]["ok"] and found["training"]["step"] == 9


@pytest.mark.parametrize(("key", "said"), [("milo:worker:gpu@here", "gpu.background"), ("milo:worker:cpu@here", "cpu")])
def test_the_orchestrator_needs_both_kinds_of_worker(
    settings: Settings, ledger: Ledger, redis_client: redis.Redis, key: str, said: str
) -> None:
    alive(redis_client)
    assert build(settings, ledger)["orchestrator"] is True
    redis_client.delete(key)
    found = build(settings, ledger)
    assert found["orchestrator"] is False and said in found["orchestrator_reason"]


def test_the_orchestrator_needs_a_beat_that_ticks(
    settings: Settings, ledger: Ledger, redis_client: redis.Redis
) -> None:
    alive(redis_client)
    redis_client.hset(redis_state.BEAT_KEY, "watch", str(time.time() - 300))
    found = build(settings, ledger)
    assert found["orchestrator"] is False and "beat has not ticked for 300 s" in found["orchestrator_reason"]


# --- queues, alerts, cache --------------------------------------------------------------------------------------------


def test_queues_tell_their_depth_their_workers_and_the_age_of_the_first_job(
    settings: Settings, ledger: Ledger, redis_client: redis.Redis
) -> None:
    alive(redis_client)
    now = time.time()
    for age_s in (300, 20):
        ledger.clock = lambda age_s=age_s: now - age_s  # type: ignore[misc]
        ledger.create(NewJob(kind="ping", payload={}, owner="ana", priority="batch"))
    redis_client.lpush("gpu.batch", "one", "two")
    found = build(settings, ledger)["queues"]
    assert found["gpu.batch"]["depth"] == 2 and found["gpu.batch"]["workers"] == ["gpu@here"]
    assert 300 <= found["gpu.batch"]["oldest_s"] < 330
    assert found["gpu.realtime"] == {"depth": 0, "oldest_s": None, "workers": ["gpu@here"]}
    assert found["cpu.batch"]["workers"] == []


def test_each_alert_of_the_monitor_goes_on_past_its_threshold(
    settings: Settings, ledger: Ledger, heat: Callable[[float], None], redis_client: redis.Redis
) -> None:
    alive(redis_client)
    heat(85)
    job = new_training(ledger)
    run = run_of(settings, job, 40)
    claim = ledger.claim(job.id, "gpu@here/0")
    assert claim and alerts_on(build(settings, ledger)) == []
    heat(86)
    redis_client.delete("milo:worker:gpu@here")
    for step in range(41, 47):
        run.log(step, **{"train/loss": 0.5})
    run.alert("nan", "nan", "the batch was skipped", 41)
    watched = {"fence": claim.fence, "step": 40, "since": time.time() - 500, "limit_s": 120, "first": False}
    redis_client.hset(redis_state.STEPS_KEY, job.id, json.dumps(watched))
    found = build(settings, ledger)
    assert alerts_on(found) == ["gpu_hot", "orchestrator_down", "auto_fixes", "step_not_moving", "loss_rising"]
    hot = found["alerts"][0]
    assert (hot["value"], hot["threshold"], hot["level"], hot["since"]) == (86, "> 85", "warning", found["updated_at"])
    later = build(settings, ledger, found)
    assert later["alerts"][0]["since"] == found["updated_at"] < later["updated_at"]


def test_work_that_somebody_waits_for_waits_no_minute_without_an_alert(
    settings: Settings, ledger: Ledger, redis_client: redis.Redis
) -> None:
    alive(redis_client)
    assert build(settings, ledger)["people_wait_s"] is None
    now = time.time()
    for age_s, priority in ((600, "batch"), (20, "interactive")):
        ledger.clock = lambda age_s=age_s: now - age_s  # type: ignore[misc]
        job = ledger.create(NewJob(kind="ping", payload={}, owner="ana", priority=priority))
    assert job.queue == "gpu.interactive"
    assert "people_wait" not in alerts_on(build(settings, ledger)), "an archive may wait"
    ledger.clock = lambda: now - 61
    ledger.create(NewJob(kind="ping", payload={}, owner="ana", priority="realtime"))
    found = build(settings, ledger)
    assert alerts_on(found) == ["people_wait"] and 60 < found["people_wait_s"] < 90


def test_a_loss_that_falls_or_wobbles_is_no_alert(settings: Settings, ledger: Ledger) -> None:
    run = run_of(settings, new_training(ledger))
    for step in range(1, 60):
        run.log(step, **{"train/loss": 1.0 + (0.4 if step % 2 else 0)})
    assert build(settings, ledger)["training"]["loss_ratio"] == pytest.approx(1, abs=0.45)
    run.log(60, **{"train/loss": float("nan")})
    assert "loss_rising" not in alerts_on(build(settings, ledger))


def test_a_pause_is_shown_with_its_reason(settings: Settings, ledger: Ledger) -> None:
    pause.put(settings, "gpu_overheated", "91 C", 60)
    (one,) = build(settings, ledger)["paused"]
    assert one["rule"] == "gpu_overheated" and one["seen"] == "91 C" and one["since"]


def test_the_cache_builds_at_most_once_a_second_and_hands_out_the_last_page_meanwhile(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    real = document.build
    monkeypatch.setattr(document, "build", lambda *given: built.append(1) or real(*given))
    cache = StatusCache(settings, ledger)
    assert cache.at_hand() is None
    page = cache.fresh()
    assert cache.fresh() is page and cache.at_hand() is page and len(built) == 1
    assert json.loads(page.bodies["status"]) == page.document
    assert json.loads(page.bodies["training"])["phase"] == "idle"
    object.__setattr__(page, "made_at", page.made_at - 2)
    assert cache.at_hand() is page  # and a newer one is on its way
    assert cache.fresh() is not page and len(built) == 2
    old = cache.fresh()
    object.__setattr__(old, "made_at", old.made_at - 60)
    assert cache.at_hand() is None
    cache.close()


def test_a_hung_redis_does_not_hold_the_document_for_long(settings: Settings, ledger: Ledger) -> None:
    with redis_server() as url:
        hung = settings.model_copy(update={"redis_url": url})
        pid = redis.Redis.from_url(url).info("server")["process_id"]
        os.kill(pid, 19)
        try:
            assert not build(hung, ledger)["redis"]["ok"]
        finally:
            os.kill(pid, 18)


# --- at rest ----------------------------------------------------------------------------------------------------------


def test_a_history_never_grows_past_its_bound_and_keeps_the_newest_rows(settings: Settings) -> None:
    for number in range(1000):
        store.append(settings, "things", {"number": number}, limit_bytes=2000)
    files = sorted((settings.home / "status").glob("things.jsonl*"))
    assert [path.name for path in files] == ["things.jsonl", "things.jsonl.1", "things.jsonl.2"]
    assert sum(path.stat().st_size for path in files) <= 6000
    numbers = [row["number"] for row in store.rows(settings, "things")]
    assert numbers[-1] == 999 and numbers == list(range(numbers[0], 1000))


def test_a_torn_line_is_passed_over(settings: Settings) -> None:
    store.append(settings, "things", {"number": 1})
    with (settings.home / "status" / "things.jsonl").open("a") as file:
        file.write('{"number": 2\n')
    store.append(settings, "things", {"number": 3})
    assert [row["number"] for row in store.rows(settings, "things")] == [1, 3]


def test_a_run_whose_job_is_running_goes_before_a_newer_folder(settings: Settings, ledger: Ledger) -> None:
    first, second = new_training(ledger), new_training(ledger)
    run = run_of(settings, first, 5)
    run_of(settings, second, 50, state="done")
    assert training.shown(settings, []).run != run
    assert ledger.claim(first.id, "gpu@here/0")
    assert build(settings, ledger)["training"]["run"] == run.id


def test_the_document_has_the_fields_of_its_schema_in_that_order(
    settings: Settings, ledger: Ledger, heat: Callable[[float], None], redis_client: redis.Redis
) -> None:
    heat(60)
    alive(redis_client)
    run_of(settings, new_training(ledger), 5)
    pause.put(settings, "gpu_overheated", "91 C", 60)
    report(settings)
    found = build(settings, ledger)
    for row, fields in (
        (found, schema.Status),
        (found["training"], schema.TrainingStatus),
        (found["gpu"], schema.GpuStatus),
        (found["gpu"]["cards"][0], schema.CardStatus),
        (found["eval"], schema.EvaluationStatus),
        (found["eval"]["results"], schema.EvaluationResults),
        (found["paused"][0], schema.PauseStatus),
        (found["queues"]["cpu"], schema.QueueStatus),
        (found["jobs"][0], schema.JobStatus),
        (found["workers"][0], schema.WorkerStatus),
        (found["disk"], schema.DiskStatus),
        (found["redis"], schema.PartStatus),
        (found["ledger"], schema.PartStatus),
        (found["alerts"][0], schema.AlertStatus),
    ):
        assert list(row) == list(fields.__annotations__), fields
