"""How the chat models that the settings name are loaded: a GGUF on this machine, Claude where a key allows it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from milo.chat.cloud_key import usable_key
from milo.engines.chat.claude import Claude
from milo.engines.chat.llama_cpp import LlamaCpp
from milo.models.chat_file import EMBEDDED, ChatFile, find_model
from milo.settings import Settings


def load_local(settings: Settings, file: ChatFile | None = None) -> LlamaCpp:
    """The local chat model of the settings, in memory. Raises `ModelUnavailable`, `OutOfMemory`."""
    file = file or find_model(settings)
    layers = 0 if settings.device == "cpu" else settings.n_gpu_layers
    trusted = file.name == EMBEDDED
    context, threads = settings.chat_context_tokens, settings.cpu_threads
    return LlamaCpp(file.path, context, layers, threads, name=file.label, trusted=trusted)


def cloud(settings: Settings) -> Claude | None:
    """Claude, one for each process (its circuit breaker remembers); None without a key that may be real."""
    if not usable_key(settings.anthropic_api_key):
        return None
    names = ("anthropic_api_key", "anthropic_base_url", "claude_model", "first_token_s")
    return _cloud(tuple((name, getattr(settings, name)) for name in names))


@lru_cache(maxsize=4)
def _cloud(chosen: tuple[tuple[str, Any], ...]) -> Claude:
    return Claude(Settings(_env_file=None, **dict(chosen)))
