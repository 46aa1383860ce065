"""The models and the glossary that the settings name: are they here, whole, and of the right family?

Looked at before anybody asks, so that "ready" means ready: `milo up`, health, `milo doctor`, `GET /models` and the
requests that need one all say the same sentence. Reads small files and headers; loads and fetches nothing.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from milo.chat.cloud_key import usable_key
from milo.errors import MiloError, ModelUnavailable
from milo.models import registry
from milo.models.chat_file import EMBEDDED as EMBEDDED_CHAT
from milo.models.chat_file import find_model
from milo.models.configuration import require_transformers
from milo.models.ct2_whisper import check_folder_whole, read_vocabulary
from milo.models.engines import ENGINES, TASKS, Use, engines_of
from milo.models.files import fingerprint, holds_ctranslate2, safetensors_header, weight_files
from milo.models.gguf import read_header
from milo.models.registry import ResolvedModel
from milo.settings import Settings
from milo.storage.roots import named_path
from milo.synthesis.voices import EMBEDDED as EMBEDDED_VOICE
from milo.synthesis.voices import espeak_data
from milo.translation.glossary import read_glossary

Part = Literal["stt", "tts", "translate", "chat", "glossary"]
FIELDS: dict[Part, str] = {
    "stt": "stt_model",
    "tts": "tts_model",
    "translate": "translate_model",
    "chat": "chat_model",
    "glossary": "translate_glossary",
}
KEPT_S = 2.0


@dataclass(frozen=True)
class Configured:
    """What one setting names. `problem`: why it can't serve, as a sentence for the operator; None: it can."""

    part: Part
    variable: str
    name: str
    problem: str | None = None
    public: str | None = None
    """The same without folders of this machine, for whoever asks."""
    fetched: bool = False
    """It is not here yet, and will be fetched from the hub by the first request."""
    optional: bool = False
    """Nobody chose it: the default that comes with an extra package."""

    @property
    def usable(self) -> bool:
        return self.problem is None or self.fetched or self.optional


def configured(settings: Settings) -> list[Configured]:
    """Every setting that names a model or a glossary, looked at within the last seconds."""
    names = tuple(str(getattr(settings, field)) for field in FIELDS.values())
    key = (*names, str(settings.home), str(settings.offline), str(settings.stt_engine), str(settings.stt_processor))
    at, found = _looked.get(key, (0.0, []))
    if not found or not 0 <= time.monotonic() - at < KEPT_S:
        found = look(settings)
        _looked.clear()
        _looked[key] = (time.monotonic(), found)
    return found


_looked: dict[tuple[str, ...], tuple[float, list[Configured]]] = {}


def look(settings: Settings) -> list[Configured]:
    """Every setting that names a model or a glossary, looked at now."""
    return [_look(settings, part) for part in FIELDS if part != "glossary" or settings.translate_glossary]


def unusable(settings: Settings) -> Iterator[str]:
    """A sentence for each setting that names what can't serve, or will be fetched first."""
    for one in look(settings):
        if one.problem:
            yield f"{one.variable}={one.name}: {one.problem}"
    yield from unmet_wishes(settings)


def unmet_wishes(settings: Settings) -> Iterator[str]:
    """Settings that ask for what can't be, and for which something else steps in."""
    if settings.default_mode == "cloud" and not usable_key(settings.anthropic_api_key):
        yield "MILO_DEFAULT_MODE is cloud and ANTHROPIC_API_KEY is no key: the local chat model answers all"


def require(settings: Settings, part: str) -> None:
    """Raises `ModelUnavailable` when the model of the settings can't serve. One that will be fetched passes."""
    one = next(one for one in configured(settings) if one.part == part)
    if one.problem and not one.fetched:
        code = "no_model" if part == "chat" else None
        raise ModelUnavailable(f"{one.variable}: {one.public}", code=code, retry_after_s=60)


def _look(settings: Settings, part: Part) -> Configured:
    field = FIELDS[part]
    name, variable = str(getattr(settings, field)).strip(), f"MILO_{field.upper()}"
    try:
        CHECKS[part](settings, name)
    except MiloError as error:
        problem = error.detail
    except OSError as error:
        problem = f"{error.filename or name} can't be read: {error.strerror}"
    except Exception as error:  # a file that no check foresaw must not end whoever looks
        problem = f"it can't be read ({type(error).__name__}: {error})"
    else:
        return Configured(part, variable, name)
    hub = "/" in name and not registry.is_path(name) and "is not on this machine" in problem
    fetched = hub and not settings.offline
    if fetched:
        problem = f"it is not here, and the first request fetches it (`milo models pull {name}` does that now)"
    elif hub:
        problem += ", and MILO_OFFLINE says never to"
    optional = field not in settings.model_fields_set and name == EMBEDDED_CHAT
    return Configured(part, variable, name, problem, _public(settings, name, problem), fetched, optional)


def _public(settings: Settings, name: str, problem: str) -> str:
    """The sentence without the folders it names: names of users are in them."""
    path = named_path(name) if registry.is_path(name) or name.lower().endswith(".gguf") else None
    if path is not None:
        for whole in {path, path.absolute(), path.resolve()}:
            problem = problem.replace(f"{whole}", whole.name)
            for folder in whole.parents[:-1]:
                problem = problem.replace(f"{folder}/", "").replace(f"{folder}", "its folder")
    return problem.replace(f"{settings.home}", "MILO_HOME").replace(f"{Path.home()}", "~")


# --- one check for each -----------------------------------------------------------------------------------------------


def _of_registry(settings: Settings, use: Use, name: str) -> ResolvedModel:
    """The model of this name, if an engine that is installed loads it for this use."""
    resolved = registry.resolve(settings, name)
    info = registry.describe(resolved, settings)
    rows = engines_of(use, info.model_type)
    if not rows:
        types = " or ".join(dict.fromkeys(row.model_type for row in ENGINES if row.use == use))
        what = f"a {info.model_type} model" if info.model_type else "a model that does not say of which type it is"
        raise ModelUnavailable(f"{resolved.name} is {what}; {TASKS[use]} needs {types}")
    engine = next((row for row in rows if use == "stt" and row.name == settings.stt_engine), rows[0])
    missing = [package for package in engine.needs if importlib.util.find_spec(package) is None]
    if missing:
        raise ModelUnavailable(f"{resolved.name} needs the package {' and '.join(missing)}, which is not installed")
    if engine.name == "transformers":
        require_transformers(resolved.path, resolved.name, f"the engine {engine.name} needs")
    check_folder_whole(resolved.path)
    _check_weights(resolved.path, fingerprint(resolved.path))
    return resolved


@lru_cache(maxsize=32)
def _check_weights(folder: Path, _state: str) -> None:
    """Raises `ModelUnavailable` for weights that are cut off; the headers say how long they should be."""
    for path in weight_files(folder):
        if path.suffix != ".safetensors":
            continue
        header = safetensors_header(path)
        with path.open("rb") as stream:
            start = 8 + int.from_bytes(stream.read(8), "little")
        missing = start + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        missing -= path.stat().st_size
        if missing > 0:
            raise ModelUnavailable(f"{path} is cut off: {missing} bytes of its weights are missing; copy it again")


def _stt(settings: Settings, name: str) -> None:
    resolved = _of_registry(settings, "stt", name)
    if holds_ctranslate2(resolved.path) and read_vocabulary(resolved.path):
        return
    try:
        registry.find_file(settings, resolved, "tokenizer.json")
    except ModelUnavailable as missing:
        try:
            for file in ("vocab.json", "merges.txt"):
                registry.find_file(settings, resolved, file)
        except ModelUnavailable:
            raise missing from None


def _tts(settings: Settings, name: str) -> None:
    if name == EMBEDDED_VOICE:
        espeak_data()
    else:
        _of_registry(settings, "tts", name)


def _translate(settings: Settings, name: str) -> None:
    _of_registry(settings, "translate", name)


def _chat(settings: Settings, name: str) -> None:
    file = find_model(settings, registry.resolve)
    state = file.path.stat()
    _check_gguf(file.path, (state.st_size, state.st_mtime_ns))
    if importlib.util.find_spec("llama_cpp") is None:
        raise ModelUnavailable("the chat model needs the package llama_cpp: pip install 'milo-voice[chat]'")


@lru_cache(maxsize=8)
def _check_gguf(path: Path, _state: tuple[int, int]) -> None:
    read_header(path)


def _glossary(settings: Settings, name: str) -> None:
    path = Path(name)
    state = path.stat()
    _check_glossary(path, (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=8)
def _check_glossary(path: Path, _state: tuple[int, int]) -> None:
    read_glossary(path)


CHECKS: dict[Part, Callable[[Settings, str], None]] = {
    "stt": _stt,
    "tts": _tts,
    "translate": _translate,
    "chat": _chat,
    "glossary": _glossary,
}
