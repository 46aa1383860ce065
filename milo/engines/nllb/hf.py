"""NLLB through transformers: the reference engine, and the one that training measures with. Needs torch."""

from __future__ import annotations

from typing import Any

from milo.engines.nllb.checkpoint import Checkpoint, load_checkpoint
from milo.engines.nllb.translator import NllbTranslator
from milo.errors import ModelUnavailable
from milo.models.registry import ResolvedModel
from milo.settings import Settings

TOKEN_BUDGET = 4096


class HFBackend:
    """See `Backend`. The model stays where it is, in the mode it is in."""

    token_budget = TOKEN_BUDGET

    def __init__(self, model: Any, checkpoint: Checkpoint) -> None:
        self.model = model
        self.checkpoint = checkpoint
        self.weights_bytes = sum(p.numel() * p.element_size() for p in model.parameters())

    def generate(
        self, sources: list[list[int]], target: int, max_tokens: int, beam_size: int, strict: bool
    ) -> list[list[int]]:
        import torch
        from transformers import GenerationConfig

        pad, end = self.checkpoint.token_of["<pad>"], self.checkpoint.token_of["</s>"]
        longest = max(map(len, sources))
        device = next(self.model.parameters()).device
        rows = torch.tensor([row + [pad] * (longest - len(row)) for row in sources], device=device)
        config = GenerationConfig(
            max_length=max_tokens + 3,
            num_beams=beam_size,
            no_repeat_ngram_size=3 if strict else 0,
            suppress_tokens=[self.checkpoint.token_of["<unk>"]],
            decoder_start_token_id=end,
            forced_bos_token_id=target,
            bos_token_id=self.checkpoint.token_of["<s>"],
            eos_token_id=end,
            pad_token_id=pad,
        )
        with torch.no_grad():
            made = self.model.generate(input_ids=rows, attention_mask=rows.ne(pad).long(), generation_config=config)
        found = []
        for row in made.tolist():
            text = row[2:]  # the start token and the language
            found.append(text[: text.index(end)] if end in text else text)
        return found

    def free(self) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def close(self) -> None:
        self.model = None
        self.free()


def load(settings: Settings, resolved: ResolvedModel) -> NllbTranslator:
    """Load a checkpoint in float32 on the CPU, or float16 on a GPU. Raises `ModelUnavailable` for damaged files."""
    import torch
    from transformers import M2M100ForConditionalGeneration

    checkpoint = load_checkpoint(settings, resolved)
    device = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    try:
        model = M2M100ForConditionalGeneration.from_pretrained(
            resolved.path,
            use_safetensors=True,
            local_files_only=True,
            dtype=torch.float16 if device == "cuda" else torch.float32,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelUnavailable(f"transformers can't load {resolved.label}: {error}") from error
    backend = HFBackend(model.to(device).eval(), checkpoint)
    return NllbTranslator(checkpoint, backend, settings.translate_beam_size)
