"""Beat's check of everything that can go wrong outside the training loop, and what is done about it.

`milo.monitoring.rules` is the table of what is watched. Each action is recorded with what was seen and done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from milo.gpu import Gpu
from milo.jobs import Job
from milo.ledger import Ledger
from milo.monitoring import fixes, progress, redis_state, space, training
from milo.monitoring.fixes import Fix, may_act, note
from milo.monitoring.redis_state import RedisState
from milo.monitoring.rules import BY_NAME, COOL_C, HOT_C, TOO_HOT_C
from milo.queue import pause, wakeups
from milo.queue.connection import redis_client
from milo.settings import Settings
from milo.training import runs

PAUSE_S = 60.0
"""A pause ends by itself when nobody has repeated it for this long."""
KILL_TTL_S = 60


def check(settings: Settings, ledger: Ledger, state: RedisState | None = None) -> list[Fix]:
    """Check everything once, and mend what can be mended. Returns what was recorded; nothing while Redis is away."""
    state = state or redis_state.read(settings)
    if state.redis_error:
        return []
    active = training.active_jobs(ledger)
    done = [
        *_stuck(settings, [job for job in active if job.state == "running" and job.stage == "train"], state),
        *_heat(settings, state),
        *_room(settings, active, state),
    ]
    hold_back(settings, ledger)
    return done


def hold_back(settings: Settings, ledger: Ledger) -> None:
    """While a pause holds, nobody may claim background work; what runs gives way by itself."""
    pauses = pause.active(settings)
    if pauses:
        ledger.put_off(pause.QUEUE, max(one.until for one in pauses))


# --- a step that does not move ----------------------------------------------------------------------------------------


def _stuck(settings: Settings, running: list[Job], state: RedisState) -> Iterator[Fix]:
    for step in progress.measure(settings, running, state.steps, state.at):
        if step.still_s(state.at) <= step.limit_s:
            continue
        at = "no step yet" if step.step is None else f"step {step.step}"
        still = f"{at} for {step.still_s(state.at):.0f} s, {step.limit_s:.0f} s is the most"
        if may_act(settings, "step_not_moving", step.job.id, still, state.at):
            end_child(settings, step.job)
            done = f"ended the child of {step.job.worker}; attempt {step.job.attempt} of {step.job.max_attempts}"
            yield note(settings, "step_not_moving", step.job.id, still, done, now=state.at)


def kill_key(node: str) -> str:
    """Redis list of what the worker of this name is to end; `workers.kill_switch` reads it."""
    return f"milo:kill:{node}"


def end_child(settings: Settings, job: Job) -> None:
    """Ask the worker to kill the child that runs this job; the child that replaces it takes the job back."""
    node, _, slot = (job.worker or "").rpartition("/")
    client = redis_client(settings.redis_url)
    client.rpush(kill_key(node), json.dumps({"job": job.id, "fence": job.fence, "slot": int(slot or 0)}))
    client.expire(kill_key(node), KILL_TTL_S)


# --- heat -------------------------------------------------------------------------------------------------------------


def _heat(settings: Settings, state: RedisState) -> Iterator[Fix]:
    measured = [card for card in state.cards.gpus if card.temperature_c is not None]
    hottest = max(measured, key=_celsius, default=None)
    paused = next((one for one in state.pauses if one.rule == "gpu_overheated"), None)
    if hottest is None:
        return
    reading, card = f"{_celsius(hottest):.0f} C", f"gpu {hottest.index}"
    if _celsius(hottest) >= TOO_HOT_C or (paused and _celsius(hottest) >= COOL_C):
        pause.put(settings, "gpu_overheated", f"{hottest.name}: {reading}", PAUSE_S)
        if paused is None:
            done = f"training and evaluation rest until it is below {COOL_C} C"
            yield note(settings, "gpu_overheated", card, reading, done, now=state.at)
    elif paused:
        pause.lift(settings, "gpu_overheated")
        yield note(settings, "gpu_overheated", card, reading, "training and evaluation go on", "alert", state.at)
    elif _celsius(hottest) >= HOT_C and may_act(settings, "gpu_hot", card, reading, state.at):
        yield note(settings, "gpu_hot", card, reading, "told", "alert", state.at)


def _celsius(card: Gpu) -> float:
    return card.temperature_c or 0.0


# --- room -------------------------------------------------------------------------------------------------------------


def _room(settings: Settings, active: list[Job], state: RedisState) -> Iterator[Fix]:
    going_on = [run for job in active if (run := runs.find(settings, job.id))]
    run = training.shown(settings, active).run if going_on else None
    paused = any(one.rule == "disk_full" for one in state.pauses)
    rooms = space.disks(settings, run)
    for folder, need in rooms.items():
        free = space.free_bytes(folder)
        seen = _gigabytes(settings, folder, free, need)
        if free < need and may_act(settings, "disk_low", str(folder), seen, state.at):
            removed = space.prune(settings, going_on, need - free)
            wakeups.run_beat_task("clean")
            names = ", ".join(name for name, _ in removed) or "no checkpoint, for none is to spare"
            yield note(settings, "disk_low", str(folder), seen, f"removed {names}; cleaning up", now=state.at)
    left = {folder: space.free_bytes(folder) for folder in rooms}
    tight = next((folder for folder, need in rooms.items() if left[folder] < need), None)
    folder = tight or next(iter(rooms))
    seen = _gigabytes(settings, folder, left[folder], rooms[folder])
    if tight is not None:
        pause.put(settings, "disk_full", seen, PAUSE_S)
        if not paused:
            done = "training and evaluation rest until there is room"
            yield note(settings, "disk_full", str(folder), seen, done, now=state.at)
    elif paused:
        pause.lift(settings, "disk_full")
        yield note(settings, "disk_full", str(folder), seen, "training and evaluation go on", "alert", state.at)


def _gigabytes(settings: Settings, folder: Path, free: int, need: int) -> str:
    where = space.named(settings, folder)
    return f"{free / 1e9:.2f} GB free on the disk of {where}, {need / 1e9:.2f} GB are needed"


def lost(settings: Settings, jobs: list[Job]) -> None:
    """Record jobs that the reconciler has taken back from a worker that is gone."""
    for job in jobs:
        ended = fixes.history(settings, "step_not_moving", job.id)
        if ended and time.time() - ended[-1]["time"] < BY_NAME["step_not_moving"].cooldown_s:
            continue  # the watchdog ended that worker's child itself, and said so
        done = f"queued again, attempt {job.attempt} of {job.max_attempts}"
        fixes.note(settings, "worker_gone", job.id, "the lease ran out: its worker is gone or hangs", done)
