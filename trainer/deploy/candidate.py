"""From a training's checkpoint to a folder that can serve: whole, adapters merged, and the same each time it is made.

A checkpoint lacks what training never changes (tokenizer, processor, parts of the generation config, the windows that
`config.milo` tells): those files come from the base model. What is evaluated is this folder, and what is deployed too.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from milo.errors import Invalid, ModelUnavailable
from milo.models import registry
from milo.models.configuration import require_transformers
from milo.models.files import (
    check_folder,
    fingerprint,
    fsync_folder,
    model_files,
    read_json,
    weight_files,
    write_durably,
)
from milo.models.registry import ResolvedModel
from milo.models.shapes import check_adapter
from milo.settings import Settings

ADAPTER = "adapter_config.json"
RECIPE = 1
"""Raise it when folders made by an older Milo must be made again."""
KEPT = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "merges.txt", "normalizer.json"),
    *("added_tokens.json", "special_tokens_map.json", "sentencepiece.bpe.model", "spiece.model", "chat_template.jinja"),
    *("preprocessor_config.json", "processor_config.json", "generation_config.json"),
)
"""Files of the base model that a checkpoint may lack. Its card and its measured error rates are its own."""


def make_candidate(settings: Settings, checkpoint: Path, base: str | None, target: Path, half: bool = False) -> Path:
    """Write the folder `target`, unless it is there and the checkpoint is still the same. Returns `target`.

    `base` is the model that the training began with; None: the checkpoint must be whole but for small files that its
    `_name_or_path` leads to. `half`: weights in float16. Raises `ModelUnavailable` for a checkpoint without loadable
    weights, `Invalid` for an adapter without its base.
    """
    if not checkpoint.is_dir():
        raise ModelUnavailable(f"there is no checkpoint {checkpoint}")
    found = registry.ensure(settings, base) if base else None
    state = {"recipe": RECIPE, "checkpoint": fingerprint(checkpoint), "base": found and registry.content_sha256(found)}
    state |= {"half": half}
    note = target.with_name(f"{target.name}.made.json")
    if target.is_dir() and note.is_file() and read_json(note) == state:
        return target
    note.unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f".{target.name}.tmp-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        _fill(settings, checkpoint, found, staging, half)
        check_folder(staging)
        staging.rename(target)
        fsync_folder(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    write_durably(note, json.dumps(state))
    return target


def _fill(settings: Settings, checkpoint: Path, base: ResolvedModel | None, folder: Path, half: bool) -> None:
    if (checkpoint / ADAPTER).is_file():
        if base is None:
            raise Invalid(f"{checkpoint} holds an adapter; name the model it belongs to", code="no_base_model")
        _merge_adapter(checkpoint, base, folder)
    else:
        check_folder(checkpoint)
        for path in model_files(checkpoint):
            shutil.copyfile(path, folder / path.name)
    if half:
        require_transformers(folder, checkpoint.name, "storing in half precision needs")
        _halve(folder)
    own = ResolvedModel(checkpoint.name, "", checkpoint, None, "folder")
    sources = [item for model in (own, base) if model for item in registry.folders_of(settings, model)]
    _complete(folder, sources, base.path if base else checkpoint, half)


def _merge_adapter(checkpoint: Path, base: ResolvedModel, folder: Path) -> None:
    """LoRA (https://arxiv.org/abs/2106.09685): the product of the two small matrices is added to the weights.

    In float32, and then saved as the base model is, so that merging adds no error of its own.
    """
    import torch
    import transformers
    from peft import PeftModel

    config = read_json(base.path / "config.json")
    kind = getattr(transformers, str((config.get("architectures") or ["AutoModel"])[0]))
    check_adapter(checkpoint)
    model = kind.from_pretrained(str(base.path), use_safetensors=True, local_files_only=True, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, str(checkpoint)).merge_and_unload(safe_merge=True)
    if config.get("dtype") in ("float16", "bfloat16"):
        merged = merged.to(getattr(torch, config["dtype"]))
    merged.save_pretrained(str(folder))


def _halve(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    for path in weight_files(folder):
        tensors = load_file(path)
        small = {name: t.half() if t.dtype in (torch.float32, torch.bfloat16) else t for name, t in tensors.items()}
        if any(not bool(torch.isfinite(t).all()) for t in small.values() if t.is_floating_point()):
            raise ModelUnavailable(f"a weight of {path.name} is too large for float16; deploy it without `half`")
        save_file(small, path, metadata={"format": "pt"})


def _complete(folder: Path, sources: list[Path], base: Path, half: bool) -> None:
    """Add the files and fields that the checkpoint has not."""
    for name in KEPT:
        found = next((source / name for source in sources if (source / name).is_file()), None)
        if found and not (folder / name).is_file():
            shutil.copyfile(found, folder / name)
    config = read_json(folder / "config.json")
    before = _optional(base / "config.json")
    if "milo" in before:
        config.setdefault("milo", before["milo"])
    if "use_cache" in config:
        config["use_cache"] = True  # gradient checkpointing turns it off, and decoding needs it
    if half:
        config["dtype"] = "float16"
    _write(folder / "config.json", config)
    generation = _optional(base / "generation_config.json") | _optional(folder / "generation_config.json")
    if generation:
        _write(folder / "generation_config.json", generation)


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _write(path: Path, document: dict[str, Any]) -> None:
    write_durably(path, json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
