"""Which model a name means, and what the model can do. JSON files only: the API and the CPU worker read this.

A name is one of
  `milo-tiny-mg`              the registry (`models/<name>/current` under MILO_HOME), else the package's own models
  `openai/whisper-medium`     a hub id: pulled into the registry, else in huggingface_hub's local cache
  `…@<version>`               either of them at a version, or a commit, of your choice
  `/data/runs/checkpoint-70`  a folder as `save_pretrained` or `Seq2SeqTrainer` writes it
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from milo.errors import Invalid, MiloError, ModelUnavailable
from milo.models.files import (
    MANIFEST,
    check_folder,
    count_parameters,
    fingerprint,
    make_manifest,
    near,
    read_json,
    valid_name,
    weight_files,
)
from milo.models.hub import Progress, pull
from milo.models.store import (
    EMBEDDED,
    ModelEntry,
    ResolvedModel,
    activate,
    delete_version,
    deploy,
    embedded_path,
    history_of,
    home_of,
    list_models,
    rollback,
    serving,
    stage,
    verify,
    versions_of,
    withdraw,
)
from milo.settings import Settings
from milo.storage.roots import named_path

__all__ = [
    "ModelEntry",
    "ModelInfo",
    "ResolvedModel",
    "activate",
    "content_sha256",
    "delete_version",
    "deploy",
    "describe",
    "ensure",
    "find_file",
    "list_models",
    "pull",
    "resolve",
    "rollback",
    "serving",
    "stage",
    "verify",
    "withdraw",
]


@dataclass(frozen=True)
class ModelInfo:
    """What a model says of itself. The window lengths are for speech models; 0 elsewhere."""

    model_type: str
    """`whisper`, `vits`, `m2m_100`, …; `gguf` for a chat model in one file."""
    languages: tuple[str, ...]
    """ISO 639 codes the model was given tokens for; empty when it says none."""
    tasks: tuple[str, ...]
    max_window_s: float
    pack_window_s: float
    """Length up to which short spans should be merged for this model."""
    min_window_s: float
    """Shortest window the model takes as it is; anything shorter is padded up to it. Stock Whisper: 30."""
    parameters: int
    dtype: str
    """Of the weights on disk, as safetensors names it: `F32`, `F16`, `BF16`."""
    weights_bytes: int


def is_path(name: str) -> bool:
    """Whether a name can only be a folder, there or not: neither the registry nor a hub has such names."""
    return name.startswith(("/", "./", "../", "~")) or name in (".", "..") or name.count("/") > 1


def resolve(settings: Settings, name: str) -> ResolvedModel:
    """The model that a name means now, on this machine; downloads nothing (`ensure` does).

    Raises `Invalid` for what can't be a name, `ModelUnavailable` with what is missing and what to do.
    """
    name = name.strip()
    if not name or "\0" in name:
        raise Invalid("a model needs a name: one of the registry, a hub id, or a folder", code="bad_model_name")
    if is_path(name):
        return _folder(named_path(name))
    base, _, version = name.partition("@")
    try:
        found = _registered(settings, base, version) or _hub_cache(base, version)
    except Invalid:
        if len(name) > 200 or not Path(name).is_dir():
            raise
        found = None  # a folder here with a space in its name, say
    if found:
        return found
    if Path(name).is_dir():
        return _folder(Path(name))
    raise ModelUnavailable(_absent(settings, name, base, version))


def _folder(folder: Path) -> ResolvedModel:
    try:
        check_folder(folder)
    except OSError as error:
        raise ModelUnavailable(f"{str(folder)[:200]} can't be read: {error.strerror}") from None
    folder = folder.resolve()
    return ResolvedModel(folder.name, fingerprint(folder), folder, None, "folder")


def _registered(settings: Settings, name: str, version: str) -> ResolvedModel | None:
    """A version from the registry or the package; None when neither knows the name (or the version asked for)."""
    home, embedded = home_of(settings, name), embedded_path(name)
    current = next(iter(history_of(settings, name)), "")
    if version:
        known = [item for item in versions_of(home) if item == version or (len(version) > 6 and version[:12] == item)]
        if not known and not (embedded and version in (EMBEDDED, _embedded_sha256(embedded)[:8])):
            return None
        current = known[0] if known else EMBEDDED
    if current and current != EMBEDDED:
        folder = home / current
        try:
            check_folder(folder)
            sha256 = str(read_json(folder / MANIFEST).get("sha256", "")) or None
        except ModelUnavailable as error:
            raise ModelUnavailable(
                f"version {current} of {name} is damaged: {error.detail}. `milo models rollback {name}` goes back to"
                " the one before, `milo models pull` fetches it again"
            ) from None
        return ResolvedModel(name, current, folder, sha256, "hub" if "/" in name else "registry")
    if embedded:
        sha256 = _embedded_sha256(embedded)
        return ResolvedModel(name, sha256[:8], embedded, sha256, "embedded")
    return None


def _embedded_sha256(folder: Path) -> str:
    return _content_sha256(folder, fingerprint(folder))


@lru_cache(maxsize=32)
def _content_sha256(folder: Path, _state: str) -> str:
    return str(make_manifest(folder)["sha256"])


def content_sha256(resolved: ResolvedModel) -> str:
    """The hash of the model's content, whatever its kind. Reads a folder's weights once, then remembers."""
    return resolved.sha256 or _content_sha256(resolved.path, fingerprint(resolved.path))


def _hub_cache(name: str, revision: str) -> ResolvedModel | None:
    """A snapshot that another program left in huggingface_hub's cache, if it is whole."""
    if "/" not in name:
        return None
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = Path(HF_HUB_CACHE) / f"models--{valid_name(name)}"
    reference = repository / "refs" / (revision or "main")
    commit = reference.read_text().strip() if ".." not in revision and reference.is_file() else revision
    if not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        return None
    for snapshot in sorted((repository / "snapshots").glob(f"{commit}*")):
        try:
            check_folder(snapshot)
        except ModelUnavailable:
            continue
        return ResolvedModel(name, snapshot.name[:12], snapshot, None, "hub")
    return None


def _absent(settings: Settings, name: str, base: str, version: str) -> str:
    if version:
        versions = [item.versions for item in list_models(settings) if item.name == base]
        if versions:
            return f"{base} has no version {version} here; it has {', '.join(versions[0])}"
    if "/" in base:
        return f"{name} is not on this machine. `milo models pull {name}` fetches it"
    known = [item.name for item in list_models(settings)]
    here = [item.name for item in Path().iterdir() if item.is_dir()]
    listing = f"the registry has {', '.join(known)}" if known else "the registry is empty"
    return f"no model named {name}: {listing}.{near(name, [*known, *here])}"


def ensure(settings: Settings, name: str, progress: Progress | None = None) -> ResolvedModel:
    """Like `resolve`, and a hub id that is not here is pulled first, unless MILO_OFFLINE says never to."""
    try:
        return resolve(settings, name)
    except ModelUnavailable:
        base, _, revision = name.strip().partition("@")
        if settings.offline or is_path(base) or "/" not in base:
            raise
    return pull(settings, base, revision or None, progress)


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
    config = read_json(resolved.path / "config.json")
    parameters, dtype = count_parameters(resolved.path)
    kind = str(config.get("model_type", ""))
    if kind != "whisper":
        return ModelInfo(kind, (), (), 0, 0, 0, parameters, dtype, size)
    longest_s = _positive(config, "max_source_positions", 1500) / 50
    extra = config.get("milo") if isinstance(config.get("milo"), dict) else {}
    pack_s = min(longest_s, _positive(extra, "pack_window_s", longest_s))
    min_s = min(longest_s, _positive(extra, "min_window_s", longest_s))
    generation = _optional_json(settings, resolved, "generation_config.json")
    languages = tuple(sorted(code.strip("<|>") for code in generation.get("lang_to_id") or {}))
    english_only = generation.get("is_multilingual") is False or int(config.get("vocab_size", 0)) == 51864
    if not languages:
        languages = ("en",) if english_only else _languages_of_tokenizer(settings, resolved)
    tasks = tuple(generation.get("task_to_id") or ("transcribe",))
    return ModelInfo(kind, languages, tasks, longest_s, pack_s, min_s, parameters, dtype, size)


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
    return tuple(sorted(name[2:-2] for name in names if re.fullmatch(r"<\|[a-z]{2,3}\|>", name)))
