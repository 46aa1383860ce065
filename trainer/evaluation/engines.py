"""The engines an evaluation needs, by model name. A worker brings its own (`workers.engines`), which stay in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from milo.engines.registry import load_transcriber, load_translator
from milo.engines.residency import Residency, budget_of
from milo.models import registry
from milo.protocols import Transcriber, Translator
from milo.settings import Settings


@dataclass(frozen=True)
class Engines:
    """Each opens the engine of a model for the length of a `with`: for one batch, so that it can be evicted between."""

    transcriber: Callable[[str], AbstractContextManager[Transcriber]]
    reference: Callable[[str], AbstractContextManager[Any]]
    """The Whisper engine of `milo.engines.whisper.hf`, whatever MILO_STT_ENGINE says."""
    translator: Callable[[str], AbstractContextManager[Translator]]
    close: Callable[[], None] = lambda: None

    def __enter__(self) -> Engines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def own_engines(settings: Settings) -> Engines:
    """Engines of this caller alone; unloaded when it closes them."""
    held = Residency(budget_of(settings), settings.model_ttl_s, settings.load_cooldown_s)

    def opener(kind: str, load: Callable[..., Any]) -> Callable[[str], AbstractContextManager[Any]]:
        @contextmanager
        def open_engine(name: str) -> Iterator[Any]:
            model = registry.ensure(settings, name)
            with held.use(f"{kind}:{model.label}", lambda: load(settings, model)) as engine:
                yield engine

        return open_engine

    def load_reference(settings: Settings, model: registry.ResolvedModel) -> Transcriber:
        return load_transcriber(settings, model, engine="transformers")

    return Engines(
        transcriber=opener("stt", load_transcriber),
        reference=opener("reference", load_reference),
        translator=opener("nllb", load_translator),
        close=held.close,
    )
