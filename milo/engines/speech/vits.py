"""Speech by VITS (https://arxiv.org/abs/2106.06103), such as MMS-TTS, through transformers' `VitsModel`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from milo.audio.resample import change_tempo
from milo.engines.runtime.config import read_config
from milo.engines.runtime.devices import torch_device
from milo.engines.runtime.memory import is_out_of_memory
from milo.engines.runtime.torch_model import TorchModel
from milo.engines.speech.vits_checkpoint import Tokens, read_model, read_tokens
from milo.errors import EngineError, Invalid, MiloError, ModelBroken, ModelUnavailable, OutOfMemory
from milo.models.registry import ResolvedModel
from milo.protocols import Samples
from milo.settings import Settings
from milo.synthesis.normalization import fit
from milo.synthesis.voices import speaker_names, vits_language

SEED = 555
"""Of the noise in every sentence: the same sentence sounds the same, whatever was spoken before it."""
SPEEDS = (0.25, 4.0)
MODEL_SPEEDS = (0.5, 2.0)
"""What the model itself is asked for; beyond it the tempo of its audio is changed."""
MAX_CHARS = 1000
SECONDS_PER_CHAR, SECONDS_SPARE = 1.0, 5.0
"""A sentence that would take longer than this at speed 1 is a broken prediction, and would fill the memory."""


class VitsSynthesizer(TorchModel):
    """A `Synthesizer`; see `milo.protocols`."""

    def __init__(self, name: str, model: Any, tokens: Tokens, languages: Sequence[str]) -> None:
        super().__init__(model)
        self.name = name
        self.tokens = tokens
        self.languages: Sequence[str] = tuple(languages)
        self.sample_rate_hz = int(model.config.sampling_rate)
        self.voices: Sequence[str] = speaker_names(model.config.num_speakers)
        self.size_bytes = self.weights_bytes
        self._alphabet = tokens.alphabet
        self._hop = math.prod(model.config.upsample_rates)
        self._natural_frames = 0.0
        self._most_frames = 0.0
        self._hook = model.duration_predictor.register_forward_hook(self._check_durations)

    def synthesize(self, text: str, *, language: str, voice: str | None = None, speed: float = 1.0) -> Samples:
        """See `Synthesizer.synthesize`. Letters that the model was not trained on become the nearest ones.

        Empty for text without any. Raises `EngineError` when the model gives no audio, or numbers that are none.
        """
        self._check(text, language, speed)
        speaker = self._speaker(voice)
        ready = fit(text, self._alphabet)
        if not any(c.isalnum() for c in ready):
            return np.zeros(0, np.float32)
        self._most_frames = (SECONDS_SPARE + SECONDS_PER_CHAR * len(ready)) * self.sample_rate_hz / self._hop
        rate = min(max(speed, MODEL_SPEEDS[0]), MODEL_SPEEDS[1])
        try:
            samples = self._run(ready, speaker, rate * float(self.model.config.speaking_rate))
        except MiloError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemory(f"no memory to speak {len(ready)} characters with {self.name}") from error
            raise EngineError(f"{self.name} failed on {ready[:60]!r}: {error}") from error
        reached = self._natural_frames * self._hop / len(samples)
        return change_tempo(samples, self.sample_rate_hz, speed / reached)

    def _run(self, text: str, speaker: int | None, rate: float) -> Samples:
        import torch

        device = self.model.device
        ids = torch.tensor([self.tokens.encode(text)], device=device)
        cards = [device] if device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=cards):
            torch.manual_seed(SEED)
            wave = self.model(ids, torch.ones_like(ids), speaker_id=speaker, speaking_rate=rate).waveform[0]
        samples = np.asarray(wave.float().cpu().numpy(), dtype=np.float32)
        if not len(samples) or not np.isfinite(samples).all():
            raise ModelBroken(f"{self.name} gave no audio for {text[:60]!r}", code="no_audio")
        return samples

    def _check_durations(self, module: Any, arguments: Any, log_durations: Any) -> None:
        """Called with the predicted log of each token's frames, (1, 1, tokens), before any audio is made."""
        frames = float((log_durations.float().exp() / float(self.model.config.speaking_rate)).ceil().sum())
        if not math.isfinite(frames) or frames > self._most_frames:
            raise ModelBroken(
                f"{self.name} predicted {frames:g} frames where at most {self._most_frames:.0f} make sense: "
                "its weights are damaged, or its training diverged",
                code="no_audio",
            )
        self._natural_frames = max(1.0, frames)

    def _check(self, text: str, language: str, speed: float) -> None:
        if language not in self.languages:
            raise Invalid(
                f"{self.name} does not speak {language!r}; it speaks {', '.join(self.languages)}",
                code="unknown_language",
            )
        low, high = SPEEDS
        if not low <= speed <= high:
            raise Invalid(f"the speed is {speed}; it must be {low} to {high}", code="bad_speed")
        if len(text) > MAX_CHARS:
            raise Invalid(f"a sentence of {len(text)} characters; {self.name} takes {MAX_CHARS}", code="text_too_long")

    def _speaker(self, voice: str | None) -> int | None:
        if voice is not None and voice not in self.voices:
            raise Invalid(f"{self.name} has no voice {voice!r}; it has {', '.join(self.voices)}", code="unknown_voice")
        return None if len(self.voices) == 1 else self.voices.index(voice or self.voices[0])

    def close(self) -> None:
        """Free the model. Nothing may be called afterwards."""
        self._hook.remove()
        super().close()


def load(settings: Settings, resolved: ResolvedModel) -> VitsSynthesizer:
    """Load from safetensors. Raises `ModelUnavailable` for what is missing or can't be used, with the way out."""
    config = read_config(resolved, "vits", "speech needs a VITS model")
    tokens, language, folder = read_tokens(settings, resolved)
    model = read_model(resolved, config)
    highest = max(tokens.ids.values())
    if highest >= model.config.vocab_size:
        raise ModelUnavailable(
            f"{folder / 'vocab.json'} has a token {highest}, but the model knows {model.config.vocab_size}:"
            " they do not belong together"
        )
    device = torch_device(settings)
    languages = (vits_language(resolved, language),)
    return VitsSynthesizer(resolved.label, model.to(device).eval(), tokens, languages)
