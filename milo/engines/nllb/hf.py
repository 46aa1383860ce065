"""NLLB through transformers: the reference engine, and the one that training measures with. Needs torch."""

from __future__ import annotations

from typing import Any

from milo.engines.nllb.checkpoint import Checkpoint, load_checkpoint
from milo.engines.nllb.translator import NllbTranslator
from milo.engines.runtime.devices import default_dtype, torch_device
from milo.engines.runtime.torch_model import TorchModel, load_pretrained
from milo.models.registry import ResolvedModel
from milo.settings import Settings

TOKEN_BUDGET = 4096


class HFBackend(TorchModel):
    """See `Backend`."""

    token_budget = TOKEN_BUDGET

    def __init__(self, model: Any, checkpoint: Checkpoint) -> None:
        super().__init__(model)
        self.checkpoint = checkpoint

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
            out = self.model.generate(input_ids=rows, attention_mask=rows.ne(pad).long(), generation_config=config)
        texts = (row[2:] for row in out.tolist())  # without the start token and the language
        return [text[: text.index(end)] if end in text else text for text in texts]


def load(settings: Settings, resolved: ResolvedModel) -> NllbTranslator:
    """Load a checkpoint in float32 on the CPU, or float16 on a GPU. Raises `ModelUnavailable` for damaged files,
    `Invalid` for a GPU that is not there."""
    from transformers import M2M100ForConditionalGeneration

    checkpoint = load_checkpoint(settings, resolved)
    device = torch_device(settings)
    model = load_pretrained(M2M100ForConditionalGeneration, resolved, device, default_dtype(device))
    return NllbTranslator(checkpoint, HFBackend(model, checkpoint), settings.translate_beam_size)
