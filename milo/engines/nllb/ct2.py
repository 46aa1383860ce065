"""NLLB-200 (any M2M100 checkpoint with NLLB's tokens) through CTranslate2: the translation engine that serves.

Needs no torch once the model is converted. `hf` is the same through transformers.
"""

from __future__ import annotations

from typing import Any

from milo.engines.nllb.checkpoint import Checkpoint, load_checkpoint
from milo.engines.nllb.convert import converted
from milo.engines.nllb.translator import NllbTranslator
from milo.engines.runtime.ct2_model import CT2Model, open_model
from milo.engines.runtime.devices import cores, ct2_compute_type, ct2_device
from milo.models.registry import ResolvedModel
from milo.settings import Settings

SMALL_BYTES = 100 * 10**6
"""A model below this computes a sentence faster on one core than on several."""
TOKEN_BUDGET = {"cuda": 8192, "cpu": 2048}

PATIENCE = 2.0
"""Beam search ends with so many times `beam_size` finished texts. At 1 it ends before a better, longer one is finished
(https://arxiv.org/abs/2204.05424)."""


class CT2Backend(CT2Model):
    """See `Backend`."""

    def __init__(self, model: Any, checkpoint: Checkpoint, parallel: int, token_budget: int) -> None:
        super().__init__(model, checkpoint)
        self.checkpoint = checkpoint
        self.parallel = parallel
        self.token_budget = token_budget
        self._ids = {token: index for index, token in enumerate(checkpoint.vocabulary)}

    def generate(
        self, sources: list[list[int]], target: int, max_tokens: int, beam_size: int, strict: bool
    ) -> list[list[int]]:
        names = self.checkpoint.vocabulary
        results = self.model.translate_batch(
            [[names[token] for token in row] for row in sources],
            target_prefix=[[names[target]]] * len(sources),
            max_batch_size=-(-len(sources) // self.parallel),
            beam_size=beam_size,
            patience=PATIENCE,
            max_input_length=0,
            max_decoding_length=max_tokens + 1,
            no_repeat_ngram_size=3 if strict else 0,
            disable_unk=True,
        )
        return [[self._ids[token] for token in result.hypotheses[0][1:]] for result in results]


def load(settings: Settings, resolved: ResolvedModel) -> NllbTranslator:
    """Convert once, then load. Raises `ModelUnavailable` for files that are missing, `Invalid` for bad settings."""
    import ctranslate2

    checkpoint = load_checkpoint(settings, resolved)
    device = ct2_device(settings)
    compute_type = ct2_compute_type("MILO_TRANSLATE_COMPUTE_TYPE", settings.translate_compute_type, device)
    threads = cores(settings.cpu_threads)
    parallel = min(threads, 4) if device == "cpu" and checkpoint.info.weights_bytes < SMALL_BYTES else 1
    with converted(settings, checkpoint) as folder:
        model = open_model(ctranslate2.Translator, folder, resolved.label, device, compute_type, parallel, threads)
    backend = CT2Backend(model, checkpoint, parallel, TOKEN_BUDGET[device])
    return NllbTranslator(checkpoint, backend, settings.translate_beam_size)
