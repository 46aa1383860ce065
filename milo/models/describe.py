"""What a model can do, and where its small files are. JSON files only: the API and the CPU worker read this."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milo.errors import MiloError, ModelUnavailable
from milo.models.alignment_heads import ENGLISH_VOCABULARY
from milo.models.configuration import read_configuration
from milo.models.ct2_whisper import VOCABULARIES, dtype_and_parameters, generation_config, read_vocabulary
from milo.models.engines import Use, model_type_of, use_of
from milo.models.files import count_parameters, holds_ctranslate2, read_json, weight_files
from milo.models.resolve import resolve
from milo.models.store import ResolvedModel
from milo.settings import Settings


@dataclass(frozen=True)
class ModelInfo:
    """What a model says of itself. The window lengths are for speech models; 0 elsewhere."""

    model_type: str
    """`whisper`, `vits`, `m2m_100`, …; `gguf` for a chat model in one file."""
    languages: tuple[str, ...]
    """ISO 639 codes the model was given tokens for; empty when it says none."""
    tasks: tuple[str, ...]
    """What it was trained for, as far as it says: of a speech model `transcribe`, and `translate` (into English)."""
    max_window_s: float
    pack_window_s: float
    """Length up to which short spans should be merged for this model."""
    min_window_s: float
    """Shortest window the model takes as it is; anything shorter is padded up to it. Stock Whisper: 30."""
    parameters: int
    dtype: str
    """Of the weights on disk, as safetensors names it: `F32`, `F16`, `BF16`."""
    weights_bytes: int

    @property
    def use(self) -> Use | None:
        """What the model is for; None when no engine loads its type."""
        return use_of(self.model_type)


def folders_of(settings: Settings, resolved: ResolvedModel) -> Iterator[Path]:
    """Where a model's small files may be: its folder, MILO_STT_PROCESSOR, the run's folder, its base model."""
    yield resolved.path
    if settings.stt_processor:
        yield resolve(settings, settings.stt_processor).path
    if resolved.kind != "folder":
        return
    yield resolved.path.parent
    base = base_name(resolved)
    if base:
        try:
            yield resolve(settings, base).path
        except MiloError:
            return


def base_name(resolved: ResolvedModel) -> str | None:
    """The model a checkpoint was made from, as its config.json says, if it does."""
    config = resolved.path / "config.json"
    name = read_json(config).get("_name_or_path") if config.is_file() else None
    return name if isinstance(name, str) and name and Path(name).name != resolved.path.name else None


def find_file(settings: Settings, resolved: ResolvedModel, filename: str) -> Path:
    """A tokenizer or processor file of a model, from its base model where the checkpoint has none.

    Raises `ModelUnavailable` that names the file, the places that were searched, and the way out.
    """
    searched = []
    for folder in folders_of(settings, resolved):
        if (folder / filename).is_file():
            return folder / filename
        searched.append(str(folder))
    base = base_name(resolved)
    how = f"; its base model {base} is not here (`milo models pull {base}`)" if base and base not in searched else ""
    raise ModelUnavailable(
        f"{filename} of {resolved.name} is missing: looked in {', '.join(searched)}{how}."
        " Copy it there, or set MILO_STT_PROCESSOR to the model or folder that has it"
    )


def describe(resolved: ResolvedModel, settings: Settings | None = None) -> ModelInfo:
    """What the model can do, from its JSON files. With `settings`, files a checkpoint lacks come from its base."""
    size = sum(path.stat().st_size for path in weight_files(resolved.path))
    if not (resolved.path / "config.json").is_file():
        return ModelInfo("gguf", (), ("chat",), 0, 0, 0, 0, "", size)
    config = read_configuration(resolved.path)
    compiled = holds_ctranslate2(resolved.path)
    parameters, dtype = (dtype_and_parameters if compiled else count_parameters)(resolved.path)
    model_type = model_type_of(resolved.path)
    if use_of(model_type) != "stt":
        return ModelInfo(model_type, (), (), 0, 0, 0, parameters, dtype, size)
    longest_s = _positive(config, "max_source_positions", 1500) / 50
    extra = config.get("milo") if isinstance(config.get("milo"), dict) else {}
    pack_s = min(longest_s, _positive(extra, "pack_window_s", longest_s))
    min_s = min(longest_s, _positive(extra, "min_window_s", longest_s))
    generation = read_generation(settings, resolved)
    languages = tuple(sorted(code.strip("<|>") for code in generation.get("lang_to_id") or {}))
    english_only = is_english_only(config, generation)
    if not languages:
        languages = ("en",) if english_only else _languages_of_tokenizer(settings, resolved)
    trained = ("transcribe", "translate") if compiled else ("transcribe",)
    tasks = ("transcribe",) if english_only else _tasks(config, generation, extra, trained)
    return ModelInfo(model_type, languages, tasks, longest_s, pack_s, min_s, parameters, dtype, size)


def read_generation(settings: Settings | None, resolved: ResolvedModel) -> dict[str, Any]:
    """generation_config.json, from the base model where the checkpoint has none; of a CTranslate2 folder its own."""
    if holds_ctranslate2(resolved.path):
        return generation_config(resolved.path)
    return _optional_json(settings, resolved, "generation_config.json")


def is_english_only(config: dict[str, Any], generation: dict[str, Any]) -> bool:
    """Whether a Whisper has no languages to choose from. The tokens of languages are in every tokenizer of Whisper."""
    return generation.get("is_multilingual") is False or config.get("vocab_size") == ENGLISH_VOCABULARY


def _tasks(
    config: dict[str, Any], generation: dict[str, Any], extra: Any, otherwise: tuple[str, ...]
) -> tuple[str, ...]:
    """What a multilingual model was trained for. Its `milo.tasks` says so; the tokens of a task are in every Whisper.

    Distilled models and large-v3-turbo, known by a decoder of a third of the encoder's layers or fewer, have the token
    for translation too, and answer in the language spoken.
    """
    own = extra.get("tasks") if isinstance(extra, dict) else None
    if isinstance(own, list) and own:
        return tuple(str(task) for task in own)
    encoder, decoder = (_positive(config, f"{side}_layers", 0) for side in ("encoder", "decoder"))
    is_distilled = 0 < 3 * decoder <= encoder
    return ("transcribe",) if is_distilled else tuple(generation.get("task_to_id") or otherwise)


def _positive(mapping: Any, key: str, default: float) -> float:
    value = mapping.get(key, default) if isinstance(mapping, dict) else default
    return float(value) if isinstance(value, (int, float)) and 0 < value < 1e6 else default


def _optional_json(settings: Settings | None, resolved: ResolvedModel, filename: str) -> dict[str, Any]:
    folders = folders_of(settings, resolved) if settings else iter([resolved.path])
    path = next((folder / filename for folder in folders if (folder / filename).is_file()), None)
    return read_json(path) if path else {}


def _languages_of_tokenizer(settings: Settings | None, resolved: ResolvedModel) -> tuple[str, ...]:
    added = _optional_json(settings, resolved, "tokenizer.json").get("added_tokens") or []
    names = [str(token.get("content", "")) for token in added if isinstance(token, dict)]
    if not names and any((resolved.path / name).is_file() for name in VOCABULARIES):
        names = read_vocabulary(resolved.path)
    return tuple(sorted(name[2:-2] for name in names if re.fullmatch(r"<\|[a-z]{2,3}\|>", name)))
