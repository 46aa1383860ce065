"""An NLLB model to train: read in float32, and written as the stock folder that serves."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch

from milo.engines.nllb.checkpoint import Checkpoint
from milo.errors import MiloError
from milo.models import registry
from milo.settings import Settings

LARGE_PARAMETERS = 100_000_000
"""From here on the embeddings are not trained: two fifths of the 600M model, and its other languages."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "sentencepiece.bpe.model")


def load_model(checkpoint: Checkpoint, device: torch.device) -> Any:
    """A `transformers.M2M100ForConditionalGeneration`; the embeddings of a large one are frozen."""
    from transformers import M2M100ForConditionalGeneration

    model = M2M100ForConditionalGeneration.from_pretrained(
        checkpoint.resolved.path, use_safetensors=True, local_files_only=True, dtype=torch.float32
    )
    if checkpoint.info.parameters > LARGE_PARAMETERS:
        model.get_input_embeddings().weight.requires_grad_(False)
    return model.to(device)


def save_model(model: Any, checkpoint: Checkpoint, settings: Settings, folder: Path) -> None:
    """A whole model folder: safetensors in the model's own precision, configuration, tokenizer files."""
    folder.mkdir(parents=True, exist_ok=True)
    half = checkpoint.info.dtype == "F16"
    (copy.deepcopy(model).half() if half else model).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        try:
            source = registry.find_file(settings, checkpoint.resolved, name)
        except MiloError:
            continue
        (folder / name).write_bytes(source.read_bytes())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "milo" in checkpoint.config:
        config["milo"] = checkpoint.config["milo"]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
