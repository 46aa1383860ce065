"""Keeping the leases of a group: at yield points, and from a thread while a single step takes long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from milo.errors import MiloError, Unavailable
from milo.ledger import Ledger
from milo.settings import Settings
from workers.endings import Endings
from workers.group import Group

log = logging.getLogger(__name__)


class Leases:
    """The leases of one worker child, which runs one group at a time."""

    def __init__(self, settings: Settings, ledger: Ledger, endings: Endings) -> None:
        self._settings, self._ledger, self._endings = settings, ledger, endings
        self._lock = threading.Lock()
        self._group: Group | None = None
        self._thread: threading.Thread | None = None

    def any_cancelled(self, group: Group) -> bool:
        """Whether somebody wants a job of the group cancelled. Only reads. False while the ledger is away."""
        try:
            return self._ledger.to_be_cancelled([running.claim for running in group.jobs.values()])
        except Unavailable:
            return False

    def renew(self, group: Group) -> None:
        """Extend the leases and publish progress. Jobs that were cancelled or lost leave the group, marked so.

        While the ledger is away the work goes on.
        """
        jobs = list(group.jobs.values())
        progress = {running.id: running.progress for running in jobs if running.progress}
        try:
            renewal = self._ledger.renew([running.claim for running in jobs], progress)
        except Unavailable as error:
            log.warning("leases were not renewed: %s", error)
            return
        for running in jobs:
            if running.id in renewal.lost:
                log.warning("job %s: the lease was lost, its work is dropped", running.id)
                running.cancelled = True
                group.leave(running)
            elif running.id in renewal.cancelled and not running.cancelled:
                running.cancelled = True
                group.leave(running)
                self._endings.cancel(running)

    @contextmanager
    def renewed_in_background(self, group: Group) -> Iterator[None]:
        """Renew from a thread while a single step takes long (loading a model). Celery's hard limit ends a hang.

        The thread outlives the group by up to a third of a lease and serves the next one: a small job is done before a
        thread of its own would have started.
        """
        with self._lock:
            self._group = group
            if not (self._thread and self._thread.is_alive()):
                self._thread = threading.Thread(target=self._renew_until_idle, name="lease", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._group = None

    def _renew_until_idle(self) -> None:
        while True:
            time.sleep(self._settings.lease_s / 3)
            with self._lock:
                group = self._group
                if group is None:
                    self._thread = None
                    return
            try:
                self._ledger.renew([running.claim for running in list(group.jobs.values())])
            except MiloError as error:
                log.warning("leases were not renewed: %s", error)
