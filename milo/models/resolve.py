"""Which model a name means on this machine. JSON files only: the API and the CPU worker read this.

A name is one of
  `milo-tiny-mg`              the registry (`models/<name>/current` under MILO_HOME), else the package's own models
  `openai/whisper-medium`     a hub id: pulled into the registry, else in huggingface_hub's local cache
  `…@<version>`               either of them at a version, or a commit, of your choice
  `/data/runs/checkpoint-70`  a folder as `save_pretrained` or `Seq2SeqTrainer` writes it
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from milo.errors import Invalid, ModelUnavailable
from milo.models.download import Progress
from milo.models.files import MANIFEST, check_folder, fingerprint, make_manifest, near, read_json, valid_name
from milo.models.hub import pull
from milo.models.store import EMBEDDED, ResolvedModel, embedded_path, history_of, home_of, list_models, versions_of
from milo.settings import Settings
from milo.storage.roots import named_path


def is_path(name: str) -> bool:
    """Whether a name can only be a folder, there or not: neither the registry nor a hub has such names."""
    return name.startswith(("/", "./", "../", "~")) or name in (".", "..") or name.count("/") > 1


def resolve(settings: Settings, name: str, here: bool = True) -> ResolvedModel:
    """The model that a name means now, on this machine; downloads nothing (`ensure` does). `here`: it may also be a
    folder where this process runs, which is nothing that a client of the API should learn of.

    Raises `Invalid` for what can't be a name, `ModelUnavailable` with what is missing and what to do.
    """
    name = name.strip()
    if not name or "\0" in name:
        raise Invalid("a model needs a name: one of the registry, a hub id, or a folder", code="bad_model_name")
    if is_path(name):
        return _folder(named_path(name))
    base, _, version = name.partition("@")
    try:
        resolved = _registered(settings, base, version) or _hub_cache(base, version)
    except Invalid:
        if not here or len(name) > 200 or not Path(name).is_dir():
            raise
        resolved = None  # a folder here with a space in its name, say
    if resolved:
        return resolved
    if here and Path(name).is_dir():
        return _folder(Path(name))
    raise ModelUnavailable(_absent(settings, name, base, version, here))


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
        matching = [
            item for item in versions_of(home) if item == version or (len(version) > 6 and version[:12] == item)
        ]
        if not matching and not (embedded and version in (EMBEDDED, _embedded_sha256(embedded)[:8])):
            return None
        current = matching[0] if matching else EMBEDDED
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


def _absent(settings: Settings, name: str, base: str, version: str, here: bool) -> str:
    if version:
        versions = [item.versions for item in list_models(settings) if item.name == base]
        if versions:
            return f"{base} has no version {version} here; it has {', '.join(versions[0])}"
    if "/" in base:
        return f"{name} is not on this machine. `milo models pull {name}` fetches it"
    registered = [item.name for item in list_models(settings)]
    beside = [item.name for item in Path().iterdir() if item.is_dir()] if here else []
    listing = f"the registry has {', '.join(registered)}" if registered else "the registry is empty"
    return f"no model named {name}: {listing}.{near(name, [*registered, *beside])}"


def ensure(settings: Settings, name: str, progress: Progress | None = None) -> ResolvedModel:
    """Like `resolve`, and a hub id that is not here is pulled first, unless MILO_OFFLINE says never to."""
    try:
        return resolve(settings, name)
    except ModelUnavailable:
        base, _, revision = name.strip().partition("@")
        if settings.offline or is_path(base) or "/" not in base:
            raise
    return pull(settings, base, revision or None, progress)
