"""Writes a trained Whisper as a folder that any Whisper tool loads: fp16 safetensors, configs, processor.

The generation config lets a window without speech give an empty text: the end token is not suppressed at the
beginning, as it is in OpenAI's own models.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch

from trainer.tiny import align, whisper_tokens

MIN_WINDOW_S = 1.0
PACK_WINDOW_S = 3.0


def generation_config(tokenizer: Any, alignment_heads: list[list[int]]) -> Any:
    """What stock `generate` needs to know: languages, tasks, special tokens, heads for word timestamps."""
    from transformers import GenerationConfig

    def token(name: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(f"<|{name}|>"))

    never = (
        "startoftranscript",
        *whisper_tokens.LANGUAGES,
        "translate",
        "transcribe",
        "startoflm",
        "startofprev",
        "nospeech",
    )
    return GenerationConfig(
        alignment_heads=alignment_heads,
        begin_suppress_tokens=[int(tokenizer.convert_tokens_to_ids("Ġ"))],
        bos_token_id=token("endoftext"),
        eos_token_id=token("endoftext"),
        pad_token_id=token("endoftext"),
        decoder_start_token_id=token("startoftranscript"),
        prev_sot_token_id=token("startofprev"),
        no_timestamps_token_id=token("notimestamps"),
        is_multilingual=True,
        lang_to_id={f"<|{code}|>": token(code) for code in whisper_tokens.LANGUAGES},
        task_to_id={name: token(name) for name in ("translate", "transcribe")},
        suppress_tokens=[whisper_tokens.BPE_SIZE - 1, *sorted(token(name) for name in never)],
        max_initial_timestamp_index=50,
        max_length=448,
        return_timestamps=False,
    )


def write(whisper: Any, tokenizer: Any, folder: Path, alignment_heads: list[list[int]] | None = None) -> None:
    """The model folder, whole: config.json carries a `milo` key with the windows and tasks it was trained for.

    `alignment_heads`: measured by `trainer.tiny.align` when not given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    heads = alignment_heads or align.choose_heads(copy.deepcopy(whisper).cpu(), tokenizer)[0]
    half = copy.deepcopy(whisper).to("cpu", torch.float16)
    half.generation_config = generation_config(tokenizer, heads)
    half.config.dtype = "float16"
    half.save_pretrained(folder)
    whisper_tokens.save(tokenizer, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["milo"] = {"min_window_s": MIN_WINDOW_S, "pack_window_s": PACK_WINDOW_S, "tasks": ["transcribe"]}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
