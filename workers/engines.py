"""The engines in this worker child: one residency for all of them, and what others may see of it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import redis

from milo import metrics, models
from milo.engines.base import Transcriber
from milo.engines.residency import Residency, budget_of
from milo.models import ResolvedModel
from milo.queue import redis_client
from milo.settings import Settings

STATUS_KEY = "milo:engines"
"""Redis hash, a field for each worker child: which models it has in memory."""


def _load_transcriber(settings: Settings, model: ResolvedModel) -> Transcriber:
    from milo.engines.stt import load_transcriber

    return load_transcriber(settings, model)


load_transcriber: Callable[[Settings, ResolvedModel], Transcriber] = _load_transcriber
"""The seam: tests put a `FakeTranscriber` here."""


@lru_cache(maxsize=1)
def residency() -> Residency:
    """All engines of this process."""
    from milo.settings import get_settings

    settings = get_settings()
    return Residency(budget_of(settings), settings.model_ttl_s, settings.load_cooldown_s)


@contextmanager
def transcriber(settings: Settings, name: str) -> Iterator[Transcriber]:
    """The STT engine for a model name, as its `current` pointer stands now: a deploy takes effect at the next job."""
    model = models.ensure(settings, name)
    key = f"stt:{settings.stt_engine}:{model.name}@{model.version}"

    def load() -> Transcriber:
        started = time.monotonic()
        engine = load_transcriber(settings, model)
        metrics.MODEL_LOAD_S.labels(model.name).observe(time.monotonic() - started)
        return engine

    with residency().use(key, load) as engine:
        yield engine


def report(settings: Settings, worker: str) -> None:
    """Tell health, `/status` and the metrics what is in memory."""
    loaded = residency().loaded()
    used = sum(entry.size_bytes for entry in loaded)
    metrics.MODELS_LOADED.set(len(loaded))
    metrics.VRAM_USED_BYTES.set(used)
    document = {
        "models": [{"name": entry.key, "bytes": entry.size_bytes} for entry in loaded],
        "vram_allocated_bytes": used,
        "at": time.time(),
    }
    with contextlib.suppress(redis.RedisError):
        redis_client(settings.redis_url).hset(STATUS_KEY, worker, json.dumps(document))
