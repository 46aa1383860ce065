"""Beat's look at everything that can go wrong outside the training loop, and what is done about it.

`milo.monitoring.rules` is the table of what is watched. Each action is recorded with what was seen and done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from milo.gpu import Gpu
from milo.jobs import Job
from milo.ledger import Ledger
from milo.monitoring import document, fixes, progress, redis_state, space, training
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


def look(settings: Settings, ledger: Ledger, seen: RedisState | None = None) -> list[Fix]:
    """Look once, and mend what can be mended. Returns what was recorded. Does nothing while Redis is away."""
    seen = seen or redis_state.read(settings)
    if seen.redis_error:
        return []
    active = training.active_jobs(ledger)
    done = [
        *_stuck(settings, [job for job in active if job.state == "running" and job.stage == "train"], seen),
        *_heat(settings, seen),
        *_room(settings, active, seen),
    ]
    hold_back(settings, ledger)
    return done


def hold_back(settings: Settings, ledger: Ledger) -> None:
    """While a pause holds, nobody may claim background work; what runs gives way by itself."""
    pauses = pause.active(settings)
    if pauses:
        ledger.put_off(pause.QUEUE, max(one.until for one in pauses))


# --- a step that does not move ----------------------------------------------------------------------------------------


def _stuck(settings: Settings, running: list[Job], seen: RedisState) -> Iterator[Fix]:
    for sight in progress.look(settings, running, seen.steps, seen.at):
        if sight.still_s(seen.at) <= sight.limit_s:
            continue
        still = f"step {sight.step} for {sight.still_s(seen.at):.0f} s, {sight.limit_s:.0f} s is the most"
        if may_act(settings, "step_not_moving", sight.job.id, still, seen.at):
            end_child(settings, sight.job)
            done = f"ended the child of {sight.job.worker}; attempt {sight.job.attempt} of {sight.job.max_attempts}"
            yield note(settings, "step_not_moving", sight.job.id, still, done, now=seen.at)


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


def _heat(settings: Settings, seen: RedisState) -> Iterator[Fix]:
    warm = [card for card in seen.cards.gpus if card.temperature_c is not None]
    hottest = max(warm, key=_celsius, default=None)
    paused = next((one for one in seen.pauses if one.rule == "gpu_overheated"), None)
    if hottest is None:
        return
    said, card = f"{_celsius(hottest):.0f} C", f"gpu {hottest.index}"
    if _celsius(hottest) >= TOO_HOT_C or (paused and _celsius(hottest) >= COOL_C):
        pause.put(settings, "gpu_overheated", f"{hottest.name}: {said}", PAUSE_S)
        if paused is None:
            done = f"training and evaluation rest until it is below {COOL_C} C"
            yield note(settings, "gpu_overheated", card, said, done, now=seen.at)
    elif paused:
        pause.lift(settings, "gpu_overheated")
        yield note(settings, "gpu_overheated", card, said, "training and evaluation go on", "alert", seen.at)
    elif _celsius(hottest) >= HOT_C and may_act(settings, "gpu_hot", card, said, seen.at):
        yield note(settings, "gpu_hot", card, said, "told", "alert", seen.at)


def _celsius(card: Gpu) -> float:
    return card.temperature_c or 0.0


# --- room -------------------------------------------------------------------------------------------------------------


def _room(settings: Settings, active: list[Job], seen: RedisState) -> Iterator[Fix]:
    going_on = [run for job in active if (run := runs.find(settings, job.id))]
    run = training.subject(settings, active).run if going_on else None
    need, free, home = document.needed_bytes(run), document.free_bytes(settings), str(settings.home)
    paused = any(one.rule == "disk_full" for one in seen.pauses)
    if free < need and may_act(settings, "disk_low", home, _gigabytes(free, need), seen.at):
        removed = space.prune(settings, going_on, need - free)
        wakeups.run_beat_task("clean")
        names = ", ".join(name for name, _ in removed) or "no checkpoint, for none is to spare"
        yield note(settings, "disk_low", home, _gigabytes(free, need), f"removed {names}; cleaning up", now=seen.at)
        free = document.free_bytes(settings)
    if free < need:
        pause.put(settings, "disk_full", _gigabytes(free, need), PAUSE_S)
        if not paused:
            done = "training and evaluation rest until there is room"
            yield note(settings, "disk_full", home, _gigabytes(free, need), done, now=seen.at)
    elif paused:
        pause.lift(settings, "disk_full")
        done = "training and evaluation go on"
        yield note(settings, "disk_full", home, _gigabytes(free, need), done, "alert", seen.at)


def _gigabytes(free: int, need: int) -> str:
    return f"{free / 1e9:.2f} GB free, {need / 1e9:.2f} GB are needed"


def lost(settings: Settings, jobs: list[Job]) -> None:
    """Record jobs that the reconciler has taken back from a worker that is gone."""
    for job in jobs:
        known = fixes.history(settings, "step_not_moving", job.id)
        if known and time.time() - known[-1]["time"] < BY_NAME["step_not_moving"].cooldown_s:
            continue  # the watchdog ended that worker's child itself, and said so
        done = f"queued again, attempt {job.attempt} of {job.max_attempts}"
        fixes.note(settings, "worker_gone", job.id, "the lease ran out: its worker is gone or hangs", done)
