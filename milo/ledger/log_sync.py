"""One sync of the disk for many commits: SQLite's log, brought to the disk for all who have committed by then.

With `synchronous=FULL` SQLite syncs its log inside each commit and under the write lock: one commit a sync, and all
others wait. Here a commit only writes the log (`NORMAL`), the lock is free at once, and who has promised something
waits for the next sync that begins after the commit: it covers every commit before it. In WAL mode this is the same
promise (FULL adds nothing but that sync), for a checkpoint syncs the log itself before it moves pages.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

sync_file = getattr(os, "fdatasync", os.fsync)


class LogSync:
    """Syncs the log of the database at `path`: one sync at a time, which all that have asked by its start share."""

    def __init__(self, path: Path) -> None:
        self._log = path.with_name(f"{path.name}-wal")
        self._changed = threading.Condition()
        self._asked = self._settled = 0
        """Numbers of those who asked; up to `_settled` they have their answer."""
        self._failures: dict[int, OSError] = {}
        """Of those who have not seen theirs yet."""
        self._running = False
        self._known: tuple[int, int] | None = None

    def wait(self) -> None:
        """Return when all that was committed before this call is on the disk. `OSError` when it may not be."""
        with self._changed:
            self._asked += 1
            mine = self._asked
            while self._settled < mine:
                if self._running:
                    self._changed.wait()
                else:
                    self._lead()
            failure = self._failures.pop(mine, None)
        if failure:
            raise failure

    def _lead(self) -> None:
        """Sync for all who have asked so far, without the lock meanwhile. A failure is each one's: the system forgets
        what it could not write, and would call the next sync good."""
        self._running, covered = True, self._asked
        failure: OSError | None = OSError("the sync was interrupted")  # a signal's exception is no sync for the others
        self._changed.release()
        try:
            self._sync_log()
            failure = None
        except OSError as error:
            failure = error
        finally:
            self._changed.acquire()
            self._running = False
            if failure:
                self._failures |= dict.fromkeys(range(self._settled + 1, covered + 1), failure)
            self._settled = covered
            self._changed.notify_all()

    def _sync_log(self) -> None:
        try:
            file = os.open(self._log, os.O_RDONLY)
        except FileNotFoundError:
            return  # the last connection has closed it: what was in it stands in the database, synced
        try:
            sync_file(file)
            found = os.fstat(file)
        finally:
            os.close(file)
        if self._known != (found.st_dev, found.st_ino):  # a new one: its name has to last, too
            folder = os.open(self._log.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._known = (found.st_dev, found.st_ino)
