"""Whisper through CTranslate2: the engine that serves. Needs no torch once the model is converted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from milo.engines.runtime.ct2_model import CT2Model, open_model
from milo.engines.runtime.devices import cores, ct2_compute_type, ct2_device
from milo.engines.whisper.backend import Hypothesis
from milo.engines.whisper.checkpoint import Checkpoint, load_checkpoint
from milo.engines.whisper.convert import converted
from milo.engines.whisper.transcriber import WhisperTranscriber
from milo.engines.whisper.words import Alignment
from milo.models.registry import ResolvedModel
from milo.settings import Settings

SEED = 20
"""Of the sampling at temperatures above 0."""


class CT2Backend(CT2Model):
    """See `Backend`. Calls may come from `parallel` threads at once; CTranslate2 runs them side by side."""

    def __init__(self, model: Any, checkpoint: Checkpoint, *, replicas: int, parallel: int, frame_budget: int) -> None:
        super().__init__(model, checkpoint)
        self.checkpoint = checkpoint
        self.replicas = replicas
        self.parallel = parallel
        self.frame_budget = frame_budget

    def encode(self, features: npt.NDArray[np.float32]) -> Any:
        from ctranslate2 import StorageView

        return self.model.encode(StorageView.from_array(features))

    def select(self, encoded: Any, rows: list[int]) -> Any:
        from ctranslate2 import DataType, Device, StorageView

        on_cpu = encoded if encoded.device == "cpu" else encoded.to_device(Device.cpu)
        if on_cpu.dtype == DataType.bfloat16:  # numpy has none
            on_cpu = on_cpu.to(DataType.float32)
        chosen = StorageView.from_array(np.ascontiguousarray(np.asarray(on_cpu)[rows]))
        return chosen if chosen.dtype == encoded.dtype else chosen.to(encoded.dtype)

    def language_probabilities(self, encoded: Any) -> npt.NDArray[np.float32]:
        rows = [dict(row) for row in self.model.detect_language(encoded)]
        codes = [f"<|{code}|>" for code in self.checkpoint.languages]
        return np.array([[row.get(code, 0.0) for code in codes] for row in rows], np.float32)

    def generate(
        self, encoded: Any, prompts: list[list[int]], max_tokens: int, beam_size: int, temperature: float
    ) -> list[Hypothesis]:
        # CTranslate2 allows min(max_length // 2, max_length - len(prompt) + 1) new tokens
        penalty = 1.0 if beam_size > 1 else 0.0
        results = self.model.generate(
            encoded,
            prompts,
            beam_size=beam_size,
            length_penalty=penalty,
            max_length=max(2 * max_tokens, max_tokens + len(prompts[0]) - 1),
            return_scores=True,
            return_no_speech_prob=self.checkpoint.no_speech is not None,
            sampling_topk=1 if temperature == 0 else 0,
            sampling_temperature=temperature or 1.0,
        )
        hypotheses = []
        for result in results:
            tokens = list(result.sequences_ids[0])
            logprob = result.scores[0] * max(1, len(tokens)) ** penalty
            hypotheses.append(Hypothesis(tokens, logprob, float(result.no_speech_prob), len(tokens) < max_tokens))
        return hypotheses

    def align(self, encoded: Any, start: list[int], texts: list[list[int]], frames: list[int]) -> list[Alignment]:
        width = self.checkpoint.median_filter_width
        alignments = []
        for result in self.model.align(encoded, start, texts, frames, median_filter_width=width):
            path = np.array(result.alignments, np.int64).reshape(-1, 2)
            alignments.append(Alignment(path[:, 0], path[:, 1], result.text_token_probs))
        return alignments


def load(settings: Settings, resolved: ResolvedModel) -> WhisperTranscriber:
    """Convert once, then load; weights in CTranslate2's format are taken as they are. Raises `ModelUnavailable` for
    files that are missing, `Invalid` for bad settings."""
    import ctranslate2

    checkpoint = load_checkpoint(settings, resolved)
    device = ct2_device(settings)
    compute_type = ct2_compute_type("MILO_STT_COMPUTE_TYPE", settings.stt_compute_type, device, checkpoint.info.dtype)
    threads = cores(settings.cpu_threads)
    replicas = 1 if device == "cuda" else min(threads, 4)
    ctranslate2.set_random_seed(SEED)
    with converted(settings, checkpoint) as folder:
        model = open_model(
            ctranslate2.models.Whisper,
            folder,
            resolved.label,
            device,
            compute_type,
            replicas,
            threads,
            flash_attention=False,
        )
    budget = (settings.batch_windows if device == "cuda" else 8) * 3000
    parallel = max(2, replicas) if threads > 1 else 1
    backend = CT2Backend(model, checkpoint, replicas=replicas, parallel=parallel, frame_budget=budget)
    return WhisperTranscriber(checkpoint, backend, settings.batch_windows, settings.stt_min_window_s)
