"""Who is in memory: load on first use, least recently used out, idle ones out after a while, failures remembered.

Keys end in `@<version>`: when another version of the same model is loaded, the old one is dropped as soon as nobody
uses it. Knows nothing of what the engines do; an engine may have `close()` and `size_bytes`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from milo import gpu
from milo.errors import Cancelled, MiloError, Unavailable
from milo.settings import Settings

Engine = TypeVar("Engine")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """One line of the report on what is in memory."""

    key: str
    size_bytes: int
    users: int
    idle_s: float
    load_s: float


@dataclass
class _Entry:
    engine: Any
    size_bytes: int
    load_s: float
    used_at: float
    users: int = 0
    stale: bool = False
    """Another version took its place; out with it when the last user is done."""


@dataclass(frozen=True)
class _Failure:
    at: float
    detail: str
    code: str


def family(key: str) -> str:
    """The key without its version."""
    return key.rpartition("@")[0] or key


class Residency:
    """The engines of one process. Threads may share it; two threads that need the same model load it once."""

    def __init__(
        self,
        budget_bytes: float,
        ttl_s: float,
        cooldown_s: float,
        clock: Callable[[], float] = time.monotonic,
        used_bytes: Callable[[], int | None] = gpu.used_bytes,
    ) -> None:
        self._budget_bytes = budget_bytes
        self._ttl_s = ttl_s
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._used_bytes = used_bytes
        self._entries: dict[str, _Entry] = {}
        self._loading: set[str] = set()
        self._failures: dict[str, _Failure] = {}
        self._changed = threading.Condition(threading.RLock())
        self.relief: Callable[[], bool] = lambda: False
        """Gives back memory that is not an engine's, when a load finds too little; False: there was none."""

    @contextmanager
    def use(self, key: str, loader: Callable[[], Engine], expected_bytes: int = 0) -> Iterator[Engine]:
        """The engine of a key, loaded if need be, safe from eviction inside the `with`.

        `expected_bytes` makes room before loading. A load that fails raises its own error once; for the next
        `cooldown_s` seconds the same key raises `Unavailable` at once, with the reason and `retry_after_s`.
        """
        entry = self._acquire(key, loader, expected_bytes)
        try:
            yield entry.engine
        finally:
            with self._changed:
                entry.users -= 1
                entry.used_at = self._clock()
                if entry.stale and not entry.users:
                    self._evict(key)
                self._make_room(0)

    def _acquire(self, key: str, loader: Callable[[], Any], expected_bytes: int) -> _Entry:
        with self._changed:
            while key in self._loading:
                self._changed.wait()
            entry = self._entries.get(key)
            if entry is None:
                self._refuse_if_cooling(key)
                self._loading.add(key)
                self._make_room(expected_bytes)
            else:
                entry.users += 1
                entry.used_at = self._clock()
                entry.stale = False
                return entry
        try:
            entry = self._load(key, loader)
        except Cancelled:  # the model is not to blame
            raise
        except Exception as error:
            with self._changed:
                detail = error.detail if isinstance(error, MiloError) else f"{type(error).__name__}: {error}"
                code = error.code if isinstance(error, MiloError) else Unavailable.code
                self._failures[key] = _Failure(self._clock(), detail, code)
            raise
        finally:
            with self._changed:
                self._loading.discard(key)
                self._changed.notify_all()
        return entry

    def _refuse_if_cooling(self, key: str) -> None:
        failure = self._failures.get(key)
        if failure is None:
            return
        left_s = failure.at + self._cooldown_s - self._clock()
        if left_s <= 0:
            del self._failures[key]
            return
        raise Unavailable(
            f"{key} could not be loaded, and is not tried again for {left_s:.0f} s: {failure.detail}",
            code=failure.code,
            retry_after_s=left_s,
        )

    def _load(self, key: str, loader: Callable[[], Any]) -> _Entry:
        before, started = self._used_bytes(), self._clock()
        try:
            engine = loader()
        except Exception as error:
            if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
                raise
            with self._changed:
                freed = [other for other in list(self._entries) if self._evict(other)]
            if self.relief():
                freed.append("a training")
            if not freed:
                raise
            log.warning("no memory to load %s; unloaded %s and try again", key, ", ".join(freed))
            engine = None
        if engine is None:
            before = self._used_bytes()
            engine = loader()
        after, now = self._used_bytes(), self._clock()
        grown = after - before if after is not None and before is not None else 0
        size = grown if grown > 0 else int(getattr(engine, "size_bytes", 0))
        entry = _Entry(engine, size, now - started, now, users=1)
        with self._changed:
            self._failures.pop(key, None)
            self._entries[key] = entry
            for other, old in list(self._entries.items()):
                if other != key and family(other) == family(key):
                    old.stale = True
                    self._evict(other)
            self._make_room(0)
        log.info("loaded %s: %.1f MB in %.1f s", key, size / 1e6, entry.load_s)
        return entry

    def _make_room(self, expected_bytes: int) -> None:
        """Evict idle engines, the longest unused first, until the budget holds. What is in use stays."""
        while sum(entry.size_bytes for entry in self._entries.values()) + expected_bytes > self._budget_bytes:
            idle = [(entry.used_at, key) for key, entry in self._entries.items() if not entry.users]
            if not idle:
                return
            self._evict(min(idle)[1])

    def _evict(self, key: str) -> bool:
        """Unload an engine, unless it is in use. The caller holds the lock."""
        entry = self._entries.get(key)
        if entry is None or entry.users:
            return False
        del self._entries[key]
        try:
            getattr(entry.engine, "close", lambda: None)()
        except Exception:
            log.exception("%s did not close cleanly", key)
        log.info("unloaded %s", key)
        return True

    def sweep(self) -> list[str]:
        """Unload what nobody used for `ttl_s`. Returns the keys."""
        if self._ttl_s <= 0:
            return []
        with self._changed:
            limit = self._clock() - self._ttl_s
            old = [key for key, entry in self._entries.items() if not entry.users and entry.used_at <= limit]
            return [key for key in old if self._evict(key)]

    def loaded(self) -> list[Loaded]:
        """What is in memory, the most recently used first."""
        with self._changed:
            now = self._clock()
            lines = [
                Loaded(key, entry.size_bytes, entry.users, 0.0 if entry.users else now - entry.used_at, entry.load_s)
                for key, entry in self._entries.items()
            ]
        return sorted(lines, key=lambda line: line.idle_s)

    def close(self) -> None:
        """Unload everything that is not in use."""
        with self._changed:
            for key in list(self._entries):
                self._evict(key)


def budget_of(settings: Settings) -> float:
    """Bytes that engines may take: MILO_VRAM_BUDGET_GB, else nine tenths of the card, or of RAM without one."""
    if settings.vram_budget_gb > 0:
        return settings.vram_budget_gb * 1e9
    cards = gpu.read().gpus if settings.device != "cpu" else ()
    return 0.9 * (cards[0].memory_total_bytes if cards else _ram_bytes())


def _ram_bytes() -> int:
    """RAM of the machine, or what the container may take of it."""
    import psutil

    total = int(psutil.virtual_memory().total)
    with suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total
