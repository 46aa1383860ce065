"""The model that is trained: stock Whisper, its encoder made to take any window, LoRA where it is asked for."""

from __future__ import annotations

from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch.nn import functional as F

from milo.errors import Invalid, ModelUnavailable
from milo.models.files import read_json
from milo.models.registry import ResolvedModel
from milo.models.shapes import check_adapter, check_config
from milo.recipes import Schedule
from milo.settings import Settings


def build(settings: Settings, base: ResolvedModel, schedule: Schedule) -> Any:
    """The base model in float32, ready to train. What is drawn (LoRA) follows from the seed."""
    from transformers import WhisperForConditionalGeneration, set_seed
    from transformers.utils.logging import disable_progress_bar

    if schedule.precision == "fp16" and (settings.device == "cpu" or not torch.cuda.is_available()):
        raise Invalid("training.precision: fp16 needs a GPU; write bf16 or fp32", code="bad_recipe")
    set_seed(schedule.seed)
    disable_progress_bar()
    check_config(base.path, read_json(base.path / "config.json"))
    try:
        model = WhisperForConditionalGeneration.from_pretrained(
            str(base.path), use_safetensors=True, local_files_only=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"transformers can't load {base.label}: {error}") from error
    model.config.apply_spec_augment = False  # ours follows from (seed, epoch, item); transformers' from the process
    take_any_window(model)
    if schedule.freeze_encoder:
        model.freeze_encoder()
    return with_lora(model, schedule) if schedule.lora else model


def with_lora(model: Any, schedule: Schedule) -> Any:
    from peft import LoraConfig, get_peft_model

    lora = schedule.lora
    assert lora is not None
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.target_modules)
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise Invalid(f"training.lora.target_modules: {error}", code="bad_recipe") from None
    if schedule.gradient_checkpointing:
        adapted.enable_input_require_grads()
    return adapted


def bare(model: Any) -> Any:
    """The Whisper inside a LoRA wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def take_any_window(model: Any) -> None:
    """Let the encoder take any even number of frames up to its limit. At 3000 it computes what the stock one does."""
    model.model.encoder.forward = MethodType(_encode, model.model.encoder)


def _encode(encoder: Any, input_features: torch.Tensor, attention_mask: Any = None, **options: Any) -> Any:
    """(B, mels, F) -> (B, F / 2, d); the stock forward without its demand for 30 s."""
    from transformers.modeling_outputs import BaseModelOutput

    x = F.gelu(encoder.conv1(input_features))
    x = F.gelu(encoder.conv2(x)).permute(0, 2, 1)
    x = x + encoder.embed_positions.weight[: x.shape[1]]
    x = F.dropout(x, p=encoder.dropout, training=encoder.training)
    for layer in encoder.layers:
        if encoder.training and encoder.layerdrop > 0 and torch.rand([]) < encoder.layerdrop:
            continue
        x = layer(x, None)
    return BaseModelOutput(last_hidden_state=encoder.layer_norm(x))


def logits_of(model: Any, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B, L, vocabulary) float32: what follows each label before it, given the audio."""
    from transformers.models.whisper.modeling_whisper import shift_tokens_right

    config = bare(model).config
    given = shift_tokens_right(labels, config.pad_token_id, config.decoder_start_token_id)
    return model(input_features=features, decoder_input_ids=given, use_cache=False).logits.float()


def merge(settings: Settings, base: ResolvedModel, schedule: Schedule, checkpoint: Path, out: Path) -> Path:
    """A LoRA checkpoint folded into its base, as a folder that serves."""
    from peft import PeftModel
    from transformers import WhisperForConditionalGeneration

    check_adapter(checkpoint)
    whole = WhisperForConditionalGeneration.from_pretrained(
        str(base.path), use_safetensors=True, local_files_only=True, dtype=torch.float32
    )
    merged = PeftModel.from_pretrained(whole, str(checkpoint)).merge_and_unload()
    merged.save_pretrained(out)
    return out
