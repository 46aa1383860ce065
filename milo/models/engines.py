"""The table of engines: what a model of a type is for, and which engine loads it.

The web process reads it too (which models may a request name?), so it names loaders and imports none; they are
imported by `milo.engines.registry.load`, when a model is loaded. Another engine is one file and one row here:
`docs/adding-an-engine.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from milo.models.configuration import read_configuration

Use = Literal["stt", "tts", "translate", "chat"]
TASKS: dict[Use, str] = {
    "stt": "speech to text",
    "tts": "speech",
    "translate": "translation",
    "chat": "chat",
}
"""How messages name a use."""


@dataclass(frozen=True)
class Engine:
    """One row: an engine for the models of one type."""

    use: Use
    model_type: str
    """`model_type` of the model's config.json; `gguf` for a folder without one; `espeak-ng`, which has no folder."""
    name: str
    """As a setting chooses it among the engines of one type (MILO_STT_ENGINE)."""
    loader: str
    """`module:function` of milo.engines: (settings, model) -> an engine as `milo.protocols` describes it."""
    needs: tuple[str, ...]
    """Packages that a loaded model imports."""


ENGINES: tuple[Engine, ...] = (
    Engine("stt", "whisper", "ctranslate2", "milo.engines.whisper.ct2:load", ("ctranslate2",)),
    Engine("stt", "whisper", "transformers", "milo.engines.whisper.hf:load", ("torch", "transformers")),
    Engine("tts", "espeak-ng", "espeak-ng", "milo.engines.speech.espeak_synthesizer:load", ("espeakng_loader",)),
    Engine("tts", "vits", "transformers", "milo.engines.speech.vits:load", ("torch", "transformers")),
    Engine("translate", "m2m_100", "ctranslate2", "milo.engines.nllb.ct2:load", ("ctranslate2",)),
    Engine("translate", "m2m_100", "transformers", "milo.engines.nllb.hf:load", ("torch", "transformers")),
    Engine("chat", "gguf", "llama.cpp", "milo.engines.chat.select:load_local", ("llama_cpp",)),
)
"""The first engine of a type is the one that serves, unless a setting names another."""


def engines_of(use: Use, model_type: str) -> list[Engine]:
    """The engines that load models of a type for a use, the default first."""
    return [engine for engine in ENGINES if (engine.use, engine.model_type) == (use, model_type)]


def use_of(model_type: str) -> Use | None:
    """What models of a type are for; None for a type that no engine loads."""
    return next((engine.use for engine in ENGINES if engine.model_type == model_type), None)


def model_type_of(folder: Path) -> str:
    """The type of the model in a folder: what its configuration says, `gguf` without one, empty where it says none.

    Raises `ModelUnavailable` for a config.json that can't be read, or a CTranslate2 folder that no engine loads.
    """
    config = folder / "config.json"
    return str(read_configuration(folder).get("model_type", "")) if config.is_file() else "gguf"
