"""A VITS model to train: read, with weight norm in its decoder too, and written as the stock folder that serves.

`VitsModel` has weight norm (Salimans & Kingma 2016) in its flow and posterior encoder and none in its decoder, where
published checkpoints have it folded in. VITS trains the decoder with it, so it is put on here and folded again in
what is written for serving; the raw weights are kept in the training's own state.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from milo.engines.speech.vits_checkpoint import Tokens, read_tokens
from milo.errors import ModelUnavailable
from milo.models.files import read_json
from milo.models.registry import ResolvedModel
from milo.models.shapes import check_config
from milo.settings import Settings
from milo.synthesis.normalization import fit, normalize
from trainer.vits.audio import Framing, framing_of

TOKENIZER_FILES = ("vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@dataclass
class Voice:
    """A model in training, and how text becomes what it reads."""

    model: Any
    """transformers.VitsModel"""
    tokens: Tokens
    tokenizer_folder: Path
    framing: Framing
    base: str

    def readable(self, text: str, language: str) -> str:
        """`text` as the serving engine would have it spoken, in this model's alphabet."""
        return fit(normalize(text, language), self.tokens.alphabet)


def load_voice(settings: Settings, resolved: ResolvedModel) -> Voice:
    """A model that is on this machine. Raises `ModelUnavailable` for one that can't be trained, with the reason."""
    from transformers import VitsModel

    name = resolved.label
    config = read_json(resolved.path / "config.json")
    if config.get("model_type") != "vits":
        raise ModelUnavailable(f"{name} is a {config.get('model_type')} model; task vits trains VITS models")
    check_config(resolved.path, config)
    tokens, _, folder = read_tokens(settings, resolved)
    model, info = VitsModel.from_pretrained(
        resolved.path, use_safetensors=True, local_files_only=True, dtype="float32", output_loading_info=True
    )
    missing = sorted(info["missing_keys"])
    if missing:
        why = "it was saved for serving only" if all(m.startswith("posterior_encoder.") for m in missing) else ""
        raise ModelUnavailable(
            f"{name} lacks {len(missing)} weights that training needs, such as {missing[0]}{': ' if why else ''}{why}"
        )
    put_weight_norm(model.decoder)
    return Voice(model, tokens, folder, framing_of(model.config), resolved.label)


def put_weight_norm(decoder: Any) -> None:
    """On the decoder's upsampling and residual convolutions, as HiFi-GAN has it; the outputs stay the same."""
    for module in [*decoder.upsampler, *decoder.resblocks.modules()]:
        if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)) and not parametrize.is_parametrized(module):
            weight_norm(module)


def serving_state(model: Any) -> dict[str, torch.Tensor]:
    """All weights by the names of a stock `VitsModel`: the decoder's without weight norm."""
    state = {name: value for name, value in model.state_dict().items() if not _is_part(name)}
    for name, module in model.decoder.named_modules():
        if parametrize.is_parametrized(module):
            state[f"decoder.{name}.weight"] = module.weight
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def _is_part(name: str) -> bool:
    return name.startswith("decoder.") and ".parametrizations." in name


def save_voice(voice: Voice, folder: Path) -> None:
    """A stock folder: `VitsModel.from_pretrained` and Milo's engine load it, and it can be trained on."""
    voice.model.save_pretrained(folder, state_dict=serving_state(voice.model))
    for name in TOKENIZER_FILES:
        if (voice.tokenizer_folder / name).is_file():
            shutil.copyfile(voice.tokenizer_folder / name, folder / name)
