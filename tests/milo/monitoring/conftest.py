"""What is watched: a ledger, trainings with a run folder made by hand, workers that seem alive, cards of any heat."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from milo.gpu import Gpu, GpuReading
from milo.jobs import Job, NewJob
from milo.ledger import Ledger
from milo.monitoring import redis_state
from milo.settings import Settings
from milo.training import runs
from milo.training.runs import Run

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "task": "whisper",
    "model": "milo-tiny-mg",
    "data": {"source": "synthetic"},
    "training": {"max_steps": 100, "save_steps": 15, "eval_steps": 30, "keep_last": 2},
}
CPU, GPU = ["cpu"], ["gpu.realtime", "gpu.interactive", "gpu.batch", "gpu.background"]


@pytest.fixture
def ledger(settings: Settings, migrated: Path) -> Iterator[Ledger]:
    settings.home.mkdir(parents=True)
    shutil.copy(migrated, settings.home / "ledger.sqlite3")
    opened = Ledger.open(settings)
    yield opened
    opened.engine.dispose()


def card(temperature_c: float | None, index: int = 0) -> Gpu:
    """A card that is that warm."""
    return Gpu(index, "NVIDIA GeForce RTX 5070 Ti", 15_800 * 1024**2, 16_303 * 1024**2, 0.97, temperature_c, 280, 300)


@pytest.fixture
def heat(monkeypatch: pytest.MonkeyPatch) -> Callable[[float | None], None]:
    """Sets the temperature that NVML reads from now on."""

    def set_to(temperature_c: float | None) -> None:
        monkeypatch.setattr(redis_state, "read_gpus", lambda: GpuReading((card(temperature_c),)))

    return set_to


def alive(client: redis.Redis, **more: Any) -> None:
    """What a GPU worker, a CPU worker and beat leave in Redis while they live."""
    for node, queues in (("gpu@here", GPU), ("cpu@here", CPU)):
        note = {"node": node, "queues": queues, "pid": 1, "at": time.time()} | (more if node == "gpu@here" else {})
        client.set(f"milo:worker:{node}", json.dumps(note), ex=20)
    client.hset(redis_state.BEAT_KEY, "watch", str(time.time()))


def new_training(ledger: Ledger, **schedule: Any) -> Job:
    """A queued training."""
    recipe = RECIPE | {"training": RECIPE["training"] | schedule}
    return ledger.create(NewJob(kind="training", payload={"recipe": recipe}, owner="ana", priority="background"))


def run_of(settings: Settings, job: Job, step: int = 0, **summary: Any) -> Run:
    """The run folder of a training that has come to a step, a second a step, its loss falling."""
    run = runs.folder_for(settings, "tiny", job.id, job.created_at)
    (run.path / "config.yaml").write_text(json.dumps(job.payload["recipe"]))
    for number in range(1, step + 1):
        run.log(number, **{"train/loss": 2.0 / number, "time": 1000.0 + number})
    given = {"state": "training", "task": "whisper", "model": "milo-tiny-mg", "total_steps": 100, "step": step}
    run.summarise(**given | {"speed_s_per_step": 1.0, "eta_s": 12_310.0, "last_loss": 0.25} | summary)
    return run


def checkpoint(run: Run, step: int, size: int = 10) -> Path:
    folder = run.path / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(size))
    return folder


def alerts_on(document: dict[str, Any]) -> list[str]:
    return [alert["name"] for alert in document["alerts"] if alert["active"]]
