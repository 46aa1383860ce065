"""Which engine turns text into speech: `MILO_TTS_MODEL` chooses."""

from __future__ import annotations

from milo.models.registry import ResolvedModel, ensure
from milo.protocols import Synthesizer
from milo.settings import Settings
from milo.synthesis.voices import EMBEDDED

__all__ = ["EMBEDDED", "find_voice_model", "load_synthesizer"]


def find_voice_model(settings: Settings, name: str = "") -> ResolvedModel | None:
    """The model that `name` (default: `settings.tts_model`) means now; None: the embedded eSpeak NG.

    A hub id that is not here is pulled first. Raises `ModelUnavailable` for what is missing.
    """
    name = (name or settings.tts_model).strip()
    return None if name == EMBEDDED else ensure(settings, name)


def load_synthesizer(settings: Settings, resolved: ResolvedModel | None) -> Synthesizer:
    """Load the speech engine of a model that `find_voice_model` found. The result has `close()` and `size_bytes`.

    Raises `ModelUnavailable` for files that are missing or wrong, `Invalid` for settings that can't be met.
    """
    if resolved is None:
        from milo.engines.speech.espeak_synthesizer import EspeakSynthesizer

        return EspeakSynthesizer()
    from milo.engines.speech.vits import load

    return load(settings, resolved)
