"""The tasks of beat: a table of what is done, and a Celery task for each row, which first takes its slot."""

from __future__ import annotations

from collections.abc import Callable

from milo.queue.celery import app
from workers import engines
from workers.beat_slots import take_slot
from workers.looks import queue_looks
from workers.maintenance import clean, deliver_webhooks, index_transcripts, reconcile
from workers.runner import Runner
from workers.tasks import get_runner
from workers.watching import check_health, evaluate_checkpoints, watch

BEAT_TASKS: dict[str, Callable[[Runner], int]] = {
    "reconcile": lambda runner: reconcile(runner.settings, runner.ledger),
    "index": lambda runner: index_transcripts(runner.ledger, runner.files),
    "webhooks": lambda runner: deliver_webhooks(runner.settings, runner.ledger),
    "clean": lambda runner: clean(runner.settings, runner.ledger, runner.files),
    "unload": lambda runner: engines.unload_idle(runner.settings, runner.worker),
    "watch": lambda runner: watch(runner.settings, runner.ledger),
    "health": lambda runner: check_health(runner.settings, runner.ledger, runner.files),
    "checkpoints": lambda runner: evaluate_checkpoints(runner.settings, runner.ledger),
    "systems": lambda runner: queue_looks(runner.settings, runner.ledger),
}
"""Name -> what it does; `celery_config.beat_schedule` says how often. A test keeps the two in step."""


def _register(name: str, work: Callable[[Runner], int]) -> None:
    @app.task(name=f"milo.tick.{name}")
    def run(every_s: float | None = None) -> int | None:
        """Returns how much was done; None when another beat has done it for this slot."""
        return work(get_runner()) if take_slot(get_runner().settings, name, every_s) else None


for _name, _work in BEAT_TASKS.items():
    _register(_name, _work)
