"""The tasks of beat, thin: each takes its slot and calls the function that does the work."""

from __future__ import annotations

from collections.abc import Callable

from milo.queue.celery import app
from workers.beat_slots import take_slot
from workers.runner import Runner
from workers.tasks import get_runner


def _reconcile(runner: Runner) -> int:
    """Compare rows with messages: re-queue what its worker lost, publish again what no message will wake."""
    from workers.maintenance import reconcile

    return reconcile(runner.settings, runner.ledger)


def _webhooks(runner: Runner) -> int:
    """Send the webhooks that are due."""
    from workers.maintenance import deliver_webhooks

    return deliver_webhooks(runner.settings, runner.ledger)


def _clean(runner: Runner) -> int:
    """Remove what is older than the retention time."""
    from workers.maintenance import clean

    return clean(runner.settings, runner.ledger, runner.files)


def _unload(runner: Runner) -> int:
    """On the GPU worker: give back the memory of models that nobody has used for a while."""
    from workers import engines

    engines.residency().sweep()
    engines.report(runner.settings, runner.worker)
    return 0


def _watch(runner: Runner) -> int:
    """The watchdog looks, and the status file is written."""
    from workers.watching import watch

    return watch(runner.settings, runner.ledger)


def _health(runner: Runner) -> int:
    """Check every part, and keep what was found."""
    from workers.watching import check_health

    return check_health(runner.settings, runner.ledger, runner.files)


def _checkpoints(runner: Runner) -> int:
    """Queue an evaluation of each new checkpoint."""
    from workers.watching import evaluate_checkpoints

    return evaluate_checkpoints(runner.settings, runner.ledger)


TICKS: dict[str, Callable[[Runner], int]] = {
    "reconcile": _reconcile,
    "webhooks": _webhooks,
    "clean": _clean,
    "unload": _unload,
    "watch": _watch,
    "health": _health,
    "checkpoints": _checkpoints,
}
"""Name -> what it does; `celery_config.beat_schedule` says how often. A test keeps the two in step."""


def _register(name: str, work: Callable[[Runner], int]) -> None:
    @app.task(name=f"milo.tick.{name}")
    def run(every_s: float | None = None) -> int | None:
        """Returns how much was done; None when another beat's tick was first."""
        return work(get_runner()) if take_slot(get_runner().settings, name, every_s) else None


for _name, _work in TICKS.items():
    _register(_name, _work)
