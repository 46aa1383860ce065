"""What is said of a training that was cancelled, stopped, or waits for room: the same by every reader."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from milo.cli import cli
from milo.cli.status import _lines
from milo.cli.train import line
from milo.errors import OutOfMemory, Unavailable
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.monitoring import document, space
from milo.monitoring.liveness import is_silent
from milo.queue import pause
from milo.settings import Settings
from tests.milo.monitoring.conftest import new_training, run_of
from workers.watching import end_runs


def shown(settings: Settings, ledger: Ledger) -> tuple[dict[str, Any], dict[str, str]]:
    """The status document, and what `milo status` makes of it."""
    found: dict[str, Any] = dict(document.build(settings, ledger))
    return found, dict(_lines(found))


def at(ledger: Ledger, seconds_ago: float) -> None:
    ledger.clock = lambda: time.time() - seconds_ago


@pytest.mark.parametrize("ends", ["cancelled", "failed"])
def test_a_training_whose_job_ended_while_nobody_held_it_has_ended_everywhere(
    settings: Settings, ledger: Ledger, ends: str
) -> None:
    job = new_training(ledger)
    run = run_of(settings, job, 20)
    claim = ledger.claim(job.id, "gpu@here/0")
    assert claim
    if ends == "failed":
        ledger.fail(claim, Unavailable("its worker died", code="worker_lost"))
    else:
        ledger.release(claim)
        ledger.cancel(job.id)
    found, lines = shown(settings, ledger)
    assert found["training"]["state"] == ends and found["training"]["eta"] is found["training"]["eta_s"] is None
    assert found["phase"] == ("cancelled" if ends == "cancelled" else "idle")
    assert lines["run"] == f"{run.id} ({ends})" and "to go" not in lines["training"]
    end_runs(settings, ledger)
    assert run.summary()["state"] == ends and run.summary()["eta_s"] is None
    assert run.summary()["error"] == ("its worker died" if ends == "failed" else None)
    env = {"MILO_HOME": str(settings.home)}
    listed = CliRunner().invoke(cli, ["runs", "show", run.id], env=env, standalone_mode=False).output
    assert ends in listed and "left" not in listed


def test_a_run_that_goes_on_is_left_alone(settings: Settings, ledger: Ledger) -> None:
    job = new_training(ledger)
    run = run_of(settings, job, 20)
    before = (run.path / "summary.json").read_bytes()
    end_runs(settings, ledger)
    assert (run.path / "summary.json").read_bytes() == before


def test_a_process_that_was_stopped_is_not_training_with_time_to_go(settings: Settings, ledger: Ledger) -> None:
    job = new_training(ledger)
    run_of(settings, job, 20, updated_at=time.time() - 100)
    at(ledger, 14)  # its lease was renewed 14 s ago, which a living one does every 5 s
    claim = ledger.claim(job.id, "gpu@here/0")
    assert claim
    found, lines = shown(settings, ledger)
    assert found["phase"] == "stalled" and found["training"]["eta"] is None
    assert f"no sign of life since {found['training']['last_sign_at']}" in lines["training"]
    at(ledger, 0)
    ledger.renew([claim])
    found, lines = shown(settings, ledger)
    assert found["phase"] == "training" and "3:25:10 to go" in lines["training"]


def test_one_that_was_taken_back_from_a_stopped_worker_waits_and_has_no_time_to_go(
    settings: Settings, ledger: Ledger
) -> None:
    job = new_training(ledger)
    run_of(settings, job, 20, updated_at=time.time() - 30)
    at(ledger, 30)
    assert ledger.claim(job.id, "gpu@here/0")
    at(ledger, 0)
    assert [one.id for one in ledger.reap()] == [job.id]
    found, lines = shown(settings, ledger)
    assert found["phase"] == "waiting" and "to go" not in lines["training"]
    assert "waits: its turn in the queue gpu.background" in lines["training"]


@pytest.mark.parametrize(
    "error", [Unavailable("12 MiB are free", code="no_room"), OutOfMemory("the card has too little memory free")]
)
def test_a_training_that_waits_for_room_says_so_in_its_phase(
    settings: Settings, ledger: Ledger, error: Unavailable | OutOfMemory
) -> None:
    job = new_training(ledger)
    run_of(settings, job, 20)
    claim = ledger.claim(job.id, "gpu@here/0")
    assert claim
    ledger.release(claim, due_in_s=30, error=error)
    found, lines = shown(settings, ledger)
    assert found["phase"] == "waiting_for_room" and found["training"]["waits_for"] == error.detail
    assert f"waits: {error.detail}" in lines["training"] and "to go" not in lines["training"]


def test_a_pause_for_want_of_room_is_the_phase_and_one_for_heat_is_not(settings: Settings, ledger: Ledger) -> None:
    job = new_training(ledger)
    run_of(settings, job, 20)
    claim = ledger.claim(job.id, "gpu@here/0")
    assert claim
    ledger.release(claim)
    pause.put(settings, "gpu_overheated", "91 C", 60)
    assert shown(settings, ledger)[0]["phase"] == "waiting"
    pause.put(settings, "disk_full", "0.10 GB free", 60)
    assert shown(settings, ledger)[0]["phase"] == "waiting_for_room"


def test_the_disk_that_is_shown_is_the_one_where_the_run_lies(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free(folder: Path) -> int:
        return 5 if "runs" in folder.parts else 10**12

    monkeypatch.setattr(space, "free_bytes", free)
    monkeypatch.setattr(space, "_same_disk", lambda one, other: False)
    job = new_training(ledger)
    run = run_of(settings, job, 20)
    assert shown(settings, ledger)[0]["disk"]["where"] == "MILO_HOME"
    assert ledger.claim(job.id, "gpu@here/0")
    found, lines = shown(settings, ledger)
    assert found["disk"]["where"] == f"MILO_HOME/runs/{run.id}" and found["disk"]["free_bytes"] == 5
    assert lines["disk"] == f"0.0 GB free at MILO_HOME/runs/{run.id}"
    assert "disk_low" in [alert["name"] for alert in found["alerts"] if alert["active"]]
    assert list(space.disks(settings, run)) == [run.path, settings.home]


def test_nothing_that_is_not_known_is_printed_as_none(
    settings: Settings, ledger: Ledger, heat: Callable[[float | None], None]
) -> None:
    heat(None)
    job = new_training(ledger)
    run = run_of(settings, job)
    unknown = ("state", "step", "total_steps", "last_loss", "eta_s", "speed_s_per_step")
    run.summarise(**dict.fromkeys(unknown))
    assert ledger.claim(job.id, "gpu@here/0")
    found, lines = shown(settings, ledger)
    found["gpu"] |= {"gpu_util_pct": None, "vram_total_mb": None}
    found["eval"] = {"state": "done", "results": {"wer_pct": None, "cer_pct": None}, "model": {"label": "x@1"}}
    assert not [text for text in [*lines.values(), *dict(_lines(found)).values()] if "None" in text]
    best = {"metric": "eval/wer", "value": None, "step": 3}
    told = {"id": "job_1", "state": "running", "run": {"summary": {"best": best}}, "error": None}
    assert line(told) == "job_1 running"


def test_a_document_that_beat_wrote_long_ago_is_no_news(settings: Settings, ledger: Ledger) -> None:
    job = new_training(ledger)
    run_of(settings, job, 20)
    assert ledger.claim(job.id, "gpu@here/0")
    found: dict[str, Any] = dict(document.build(settings, ledger))
    found["updated_at"] = "2026-01-02T03:04:05.000Z"
    lines = dict(_lines(found))
    assert lines["phase"] == "training when last heard of; no sign of life since 2026-01-02T03:04:05.000Z"
    assert "to go" not in lines["training"]


def test_followers_see_what_it_waits_for() -> None:
    told = {"id": "job_1", "state": "running", "error": None}
    assert "no sign of life since 10:00" in line(told | {"run": {"summary": {}, "silent_since": "10:00"}})
    assert "waits: more room" in line(told | {"state": "queued", "run": {"summary": {}, "waits_for": "more room"}})


def test_a_job_of_any_kind_whose_worker_was_stopped_has_no_time_to_go(settings: Settings, ledger: Ledger) -> None:
    job = ledger.create(NewJob(kind="ping", payload={}, owner="ana", priority="batch"))
    at(ledger, 14)
    assert ledger.claim(job.id, "gpu@here/0")
    assert is_silent(settings, ledger.get(job.id), time.time())
    assert not is_silent(settings, ledger.get(job.id), time.time() - 14)
