"""Which engine turns speech into text: `MILO_STT_ENGINE` chooses."""

from __future__ import annotations

from milo.models.registry import ResolvedModel
from milo.protocols import Transcriber
from milo.settings import Settings


def load_transcriber(settings: Settings, resolved: ResolvedModel) -> Transcriber:
    """Load a speech model with the engine of the settings. The result has `close()` and `size_bytes`.

    Raises `ModelUnavailable` for files that are missing or wrong, `Invalid` for settings that can't be met.
    """
    if settings.stt_engine == "transformers":
        from milo.engines.whisper.hf import load as load_hf

        return load_hf(settings, resolved)
    from milo.engines.whisper.ct2 import load as load_ct2

    return load_ct2(settings, resolved)
