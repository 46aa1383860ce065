"""Trainings under fire: told to stop, killed among jobs of all kinds, out of room. None differs from one left alone."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from milo.recipes import Recipe
from milo.settings import Settings
from milo.training import runs
from milo.training.runs import Run
from tests.faults.disks import NO_DISK, fill, small_disk
from tests.faults.doubles import GRACE_S
from tests.faults.field import Field, stack
from tests.faults.kills import ATTEMPTS, strike
from tests.faults.table import Row
from tests.faults.work import Load, account
from tests.support.gguf_factory import write_gguf
from tests.support.servers import wait_until
from tests.trainer.whisper.whisper_runs import losses, make_data, recipe
from trainer.whisper import checkpoints

MODEL = "milo-tiny-mg"
STEPS, SAVE = 100, 10
KINDS = ("stt", "ping", "translate", "chat", "tts")
DISK_MB = 256
LITTLE = 1 << 20
"""Room for small files, and not for a checkpoint (bytes)."""
LOOKS = 30
"""A training that stays out of the child for so many looks, a tenth of a second apart, stands still."""


def trainings(folder: Path, scale: float, rng: random.Random) -> list[Row]:
    """A row for each fault; all trainings have one recipe."""
    made = recipe(
        Path(MODEL),
        make_data(folder / "data"),
        max_steps=STEPS,
        save_steps=SAVE,
        eval_steps=STEPS,
        keep_last=2,
        replay=0,
    )
    chat = str(write_gguf(folder / "chat.gguf"))
    rows = [
        Row("SIGTERM with a training in flight"),
        Row("SIGKILL of the gpu child at all kinds of work"),
    ]
    with stack(folder, cpu_threads=1, max_attempts=ATTEMPTS, chat_model=chat) as field:
        wanted = _left_alone(field, made)
        for number in range(max(1, round(5 * scale))):
            _stopped(field, made, number, rows[0], rng, wanted)
        for number in range(max(1, round(10 * scale))):
            _killed(field, made, number, rows[1], rng, wanted)
    return [*rows, _out_of_room(folder / "small", made, scale, rng, wanted)]


# --- one training -----------------------------------------------------------------------------------------------------


def _begin(field: Field, made: Recipe, key: str) -> str:
    return str(field.post("/trainings", made.model_dump(mode="json"), key)["id"])


def _left_alone(field: Field, made: Recipe) -> dict[int, float]:
    """Losses by step of a training that nobody disturbs."""
    job_id = _begin(field, made, "left alone")
    assert not field.wait_final([job_id], 300), "the training that is left alone does not end"
    found = losses(_run(field.settings, job_id))
    assert list(found) == list(range(1, STEPS + 1)), "the training that is left alone has not logged every step"
    return found


def _run(settings: Settings, job_id: str) -> Run:
    found = runs.find(settings, job_id)
    assert found is not None, f"training {job_id} has no run"
    return found


def _rows(settings: Settings, job_id: str) -> list[dict[str, Any]]:
    found = runs.find(settings, job_id)
    return [row for row in found.metrics() if "train/loss" in row] if found else []


def _at(field: Field, job_id: str, step: int) -> Run:
    """Wait until that step is done."""
    with field.ledger() as ledger:
        reached: Callable[[], bool] = lambda: len(_rows(field.settings, job_id)) >= step or ledger.get(job_id).final  # noqa: E731
        wait_until(reached, f"the training did not reach step {step}", 300)
        assert not ledger.get(job_id).final, f"the training has ended before step {step}: {ledger.get(job_id).error}"
    return _run(field.settings, job_id)


def _judge(field: Field, job_id: str, row: Row, wanted: dict[int, float]) -> None:
    """It ended as if nothing had been: each step once, with the same loss, bit for bit."""
    row.jobs += 1
    row.lost += len(field.wait_final([job_id], 300))
    with field.ledger() as ledger:
        job = ledger.get(job_id)
    row.expect(job.state == "succeeded", f"training {job_id} is {job.state}: {(job.error or {}).get('detail')}")
    found = [(one["step"], one["train/loss"]) for one in _rows(field.settings, job_id)]
    row.duplicated += len(found) - len({step for step, _ in found})
    row.expect(dict(found) == wanted, f"training {job_id}: its losses are not those of one that was left alone")
    broken = [path.name for path in _run(field.settings, job_id).path.glob("broken-*")]
    row.expect(not broken, f"training {job_id} was about to use {broken}")


# --- told to stop, killed ---------------------------------------------------------------------------------------------


def _stopped(field: Field, made: Recipe, number: int, row: Row, rng: random.Random, wanted: dict[int, float]) -> None:
    job_id = _begin(field, made, f"stop {number}")
    run = _at(field, job_id, rng.randint(SAVE + 1, STEPS // 2))
    started = time.monotonic()
    field.stop()
    row.faults += 1
    row.expect_in_time(time.monotonic() - started, GRACE_S, "stopped")
    with field.ledger() as ledger:
        left = ledger.get(job_id)
    row.expect(left.state == "queued", f"it did not give way: it is {left.state}")
    before, last = _rows(field.settings, job_id), max(run.checkpoints(), default=0)
    row.expect(last >= len(before) - SAVE, f"at step {len(before)} its last checkpoint is of step {last}")
    started = time.monotonic()
    field.start()
    _at(field, job_id, len(before) + 1)
    row.recovery_s.append(time.monotonic() - started)
    _judge(field, job_id, row, wanted)
    kept = _rows(field.settings, job_id)[:last]
    row.expect(kept == before[:last], f"steps up to the checkpoint of step {last} were trained twice")
    with field.ledger() as ledger:
        row.expect(ledger.get(job_id).attempt == left.attempt, "the stop cost it an attempt")


def _killed(field: Field, made: Recipe, number: int, row: Row, rng: random.Random, wanted: dict[int, float]) -> None:
    name = f"mixed {number} {rng.random()}"
    job_id = _begin(field, made, name)
    _at(field, job_id, rng.randint(SAVE + 1, STEPS // 2))
    kinds = rng.sample(KINDS, len(KINDS))
    load = Load(field, len(kinds), rng, f"load of {name}", kinds)
    load.start()
    time.sleep(rng.uniform(0, 1.0))  # the random moment is the fault
    strike(field, "gpu child", row, f"probe {name}")
    account(field, load.finish(), row, 180)
    _judge(field, job_id, row, wanted)


# --- out of room ------------------------------------------------------------------------------------------------------


def _out_of_room(folder: Path, made: Recipe, scale: float, rng: random.Random, wanted: dict[int, float]) -> Row:
    """The runs lie on a small disk that fills up, to the last byte or but for a little."""
    row = Row("disk of the runs full while training")
    with small_disk(folder / "home" / "runs", DISK_MB) as there:
        if not there:
            row.skipped = NO_DISK
            return row
        with stack(folder, ("flower", "archive"), cpu_threads=1) as field:
            for number in range(max(2, round(4 * scale))):
                _filled(field, made, number, row, rng, wanted)
    return row


def _filled(field: Field, made: Recipe, number: int, row: Row, rng: random.Random, wanted: dict[int, float]) -> None:
    disk, leave = runs.root(field.settings), LITTLE * (number % 2)
    job_id = _begin(field, made, f"full {number}")
    run = _at(field, job_id, rng.randint(SAVE + 1, STEPS // 2))
    filler = fill(disk, leave)
    row.faults += 1
    with field.ledger() as ledger:
        looks: list[str] = []

        def stands_still() -> bool:
            looks.append(ledger.get(job_id).state)
            time.sleep(0.1)
            return set(looks[-LOOKS:]) == {"queued"} and len(looks) >= LOOKS or ledger.get(job_id).final

        wait_until(stands_still, "the training goes on with a full disk", 120)
        row.expect(not ledger.get(job_id).final, f"the training has ended: {ledger.get(job_id).error}")
    for path in run.checkpoints().values():
        row.expect(not (why := checkpoints.fault(path)), f"{path.name} is half a checkpoint: {why}")
    if leave:
        said = json.dumps(run.alerts(), ensure_ascii=False)
        row.expect("no room left on the disk" in said, f"it does not say why it stands still: {said}")
    before = len(_rows(field.settings, job_id))
    filler.unlink()
    started = time.monotonic()
    _at(field, job_id, before + 1)
    row.recovery_s.append(time.monotonic() - started)
    _judge(field, job_id, row, wanted)
    shutil.rmtree(run.path)  # else the checkpoints of a few trainings fill the small disk by themselves
