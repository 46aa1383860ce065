"""The door to every engine: which one loads a model, by the table of `milo.models.engines`, and loading it.

Nothing heavy (torch, CTranslate2, llama.cpp) is imported before a model is loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from milo.errors import ModelUnavailable
from milo.models import engines
from milo.models.engines import TASKS, Engine, Use, engines_of, model_type_of
from milo.models.registry import ResolvedModel, ensure
from milo.protocols import Synthesizer, Transcriber, Translator
from milo.settings import Settings
from milo.synthesis.voices import EMBEDDED

EMBEDDED_VOICE = "espeak-ng"
"""The model type of the voice that needs no model."""


def choose(settings: Settings, use: Use, model_type: str, label: str, engine: str = "") -> Engine:
    """The engine for a model of a type: the one named, else the one of the settings, else the first of the table.

    `label`: the model's name, for the message. Raises `ModelUnavailable` when no engine loads this type for this use.
    """
    rows = engines_of(use, model_type)
    if not rows:
        types = " or ".join(dict.fromkeys(row.model_type for row in engines.ENGINES if row.use == use))
        raise ModelUnavailable(f"{label} is a {model_type or 'nameless'} model; {TASKS[use]} needs {types}")
    wanted = engine or (settings.stt_engine if use == "stt" else "")
    return next((row for row in rows if row.name == wanted), rows[0])


def load(settings: Settings, use: Use, model_type: str, model: Any, label: str, engine: str = "") -> Any:
    """Load a model with the engine that `choose` finds. The result has `close()` and `size_bytes`.

    Raises `ModelUnavailable` for files that are missing or wrong, `Invalid` for settings that can't be met.
    """
    module, _, function = choose(settings, use, model_type, label, engine).loader.partition(":")
    return getattr(import_module(module), function)(settings, model)


def load_transcriber(settings: Settings, model: ResolvedModel, engine: str = "") -> Transcriber:
    """Load a speech-to-text model; MILO_STT_ENGINE, or `engine`, chooses among the engines of its type."""
    loaded: Transcriber = load(settings, "stt", model_type_of(model.path), model, model.name, engine)
    return loaded


def load_translator(settings: Settings, model: ResolvedModel) -> Translator:
    """Load a translation model."""
    loaded: Translator = load(settings, "translate", model_type_of(model.path), model, model.name)
    return loaded


def load_synthesizer(settings: Settings, model: ResolvedModel | None) -> Synthesizer:
    """Load the voice that `find_voice_model` found."""
    model_type, label = (model_type_of(model.path), model.name) if model else (EMBEDDED_VOICE, EMBEDDED)
    loaded: Synthesizer = load(settings, "tts", model_type, model, label)
    return loaded


def find_voice_model(settings: Settings, name: str = "") -> ResolvedModel | None:
    """The model that `name` (default: `settings.tts_model`) means now; None: the embedded eSpeak NG.

    A hub id that is not here is pulled first. Raises `ModelUnavailable` for what is missing.
    """
    name = (name or settings.tts_model).strip()
    return None if name == EMBEDDED else ensure(settings, name)
