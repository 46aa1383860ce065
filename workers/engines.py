"""The engines in this worker child: one residency for all of them, and what others may see of it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar, cast

import redis

from milo import gpu, metrics
from milo.chat.reply import Mode, Source
from milo.engines.residency import Residency, budget_of
from milo.errors import MiloError
from milo.models import registry
from milo.models.engines import Use, model_type_of
from milo.models.registry import ResolvedModel
from milo.protocols import ChatModel, Synthesizer, Transcriber, Translator
from milo.queue.connection import redis_client
from milo.settings import Settings

if TYPE_CHECKING:
    from milo.engines.whisper.transcriber import WhisperTranscriber

T = TypeVar("T")
STATUS_KEY = "milo:engines"
"""Redis hash, a field for each worker child: which models it has in memory."""


@lru_cache(maxsize=1)
def residency() -> Residency:
    """All engines of this process."""
    from milo.settings import get_settings

    settings = get_settings()
    return Residency(budget_of(settings), settings.model_ttl_s, settings.load_cooldown_s)


@contextmanager
def _resident(model: str, key: str, load: Callable[[], T], try_first: Callable[[], None] | None = None) -> Iterator[T]:
    """The engine under `key`, loaded when it is not in memory; the time of loading is counted.

    `try_first`: what has to pass before this process loads it.
    """

    def load_timed() -> T:
        started = time.monotonic()
        if try_first:
            try_first()
        engine = load()
        metrics.MODEL_LOAD_S.labels(model).observe(time.monotonic() - started)
        return engine

    with residency().use(key, load_timed) as engine:
        yield engine


def _first(settings: Settings, use: Use, model: ResolvedModel, engine: str = "") -> Callable[[], None]:
    """Trying this model in a process apart, unless it was loaded before."""
    from milo.engines.first_load import try_first

    return lambda: try_first(settings, use, model_type_of(model.path), model, engine)


@contextmanager
def transcriber(settings: Settings, name: str) -> Iterator[Transcriber]:
    """The STT engine for a model name, as its `current` pointer stands now: a deploy takes effect at the next job."""
    from milo.engines.registry import load_transcriber

    model = registry.ensure(settings, name)
    first = _first(settings, "stt", model)
    with _resident(model.name, _stt_key(settings, model), lambda: load_transcriber(settings, model), first) as engine:
        yield engine


def is_loaded(settings: Settings, name: str) -> bool:
    """Whether the STT engine for a model name is in memory as it would serve now."""
    try:
        key = _stt_key(settings, registry.resolve(settings, name))
    except MiloError:
        return False
    return any(entry.key == key for entry in residency().loaded())


def _stt_key(settings: Settings, model: ResolvedModel) -> str:
    return f"stt:{settings.stt_engine}:{model.name}@{model.version}"


@contextmanager
def reference(settings: Settings, name: str) -> Iterator[WhisperTranscriber]:
    """The Whisper of transformers, whatever serves: it tells the loss of a text that is given."""
    from milo.engines.registry import load_transcriber

    def load() -> WhisperTranscriber:
        return cast("WhisperTranscriber", load_transcriber(settings, model, engine="transformers"))

    model = registry.ensure(settings, name)
    first = _first(settings, "stt", model, "transformers")
    with _resident(model.name, f"reference:{model.name}@{model.version}", load, first) as engine:
        yield engine


@contextmanager
def synthesizer(settings: Settings, name: str) -> Iterator[Synthesizer]:
    """The speech engine for a model name; `espeak` is the embedded one."""
    from milo.engines.registry import find_voice_model, load_synthesizer
    from milo.synthesis.voices import EMBEDDED

    model = find_voice_model(settings, name)
    label, version = (model.name, model.version) if model else (EMBEDDED, "0")
    first = _first(settings, "tts", model) if model else None
    with _resident(label, f"tts:{label}@{version}", lambda: load_synthesizer(settings, model), first) as engine:
        yield engine


@contextmanager
def translator(settings: Settings, name: str) -> Iterator[Translator]:
    """The translation engine for a model name."""
    from milo.engines.registry import load_translator

    model = registry.ensure(settings, name)
    key = f"nllb:{model.name}@{model.version}"
    first = _first(settings, "translate", model)
    with _resident(model.name, key, lambda: load_translator(settings, model), first) as engine:
        yield engine


def chat_sources(settings: Settings) -> dict[Mode, Source]:
    """A source of each chat model there may be; nothing is loaded until a source is entered."""
    from milo.engines.chat import select
    from milo.engines.registry import load
    from milo.models.chat_file import find_model

    @contextmanager
    def local() -> Iterator[ChatModel]:
        file = find_model(settings)
        key = f"chat:{file.label}"
        with _resident(file.name, key, lambda: load(settings, "chat", "gguf", file, file.name)) as model:
            yield model

    sources: dict[Mode, Source] = {"local": local}
    claude = select.cloud(settings)
    if claude is not None:
        sources["cloud"] = lambda: nullcontext(claude)
    return sources


def unload_idle(settings: Settings, worker: str) -> int:
    """Give back the memory of models that nobody has used for a while. Returns how many were unloaded."""
    before = len(residency().loaded())
    residency().sweep()
    report(settings, worker)
    return before - len(residency().loaded())


def report(settings: Settings, worker: str) -> None:
    """Tell health, `/status` and the metrics what is in memory."""
    loaded = residency().loaded()
    used = sum(entry.size_bytes for entry in loaded) if gpu.read().gpus else 0
    metrics.MODELS_LOADED.set(len(loaded))
    metrics.VRAM_USED_BYTES.set(used)
    document = {
        "models": [{"name": entry.key, "bytes": entry.size_bytes} for entry in loaded],
        "vram_allocated_bytes": used,
        "at": time.time(),
    }
    with contextlib.suppress(redis.RedisError):
        redis_client(settings.redis_url).hset(STATUS_KEY, worker, json.dumps(document))
