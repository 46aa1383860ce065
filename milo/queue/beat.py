"""Celery's scheduler, for a clock that may be set back: the stock one is silent until the old time has come again."""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler


class Scheduler(PersistentScheduler):  # type: ignore[misc]
    """Counts anew from now for what it last ran in the future."""

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        for entry in self.schedule.values():
            now = entry.default_now()
            if entry.last_run_at > now:
                entry.last_run_at = now
                self._heap = None  # planned by the old time
        return super().tick(*args, **kwargs)
