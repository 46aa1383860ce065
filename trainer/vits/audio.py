"""The spectrograms that VITS is trained on, differentiable: linear for its posterior encoder, log-mel for its loss.

As in the original training (Kim et al. 2021, https://arxiv.org/abs/2106.06103): Hann window as long as the FFT, frames
not centred but reflected at both ends, so that n samples give n // hop frames. Letters used in shapes: B clips,
n samples, F frequency bins, M mel bands, T frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional as F

from milo.errors import Invalid

MEL_BANDS = 80
FLOOR = 1e-5
"""Magnitudes below it are taken for it before the logarithm."""


@dataclass(frozen=True)
class Framing:
    """How a model's audio is cut into frames."""

    rate_hz: int
    fft: int
    hop: int

    def frames(self, samples: int) -> int:
        return samples // self.hop


def framing_of(config: Any) -> Framing:
    """From a `VitsConfig`. Raises `Invalid` for one whose frames can't be made."""
    framing = Framing(int(config.sampling_rate), 2 * (config.spectrogram_bins - 1), math.prod(config.upsample_rates))
    if framing.fft < framing.hop:
        raise Invalid(
            f"this model has {config.spectrogram_bins} frequency bins and a hop of {framing.hop} samples: its"
            f" spectrograms would leave samples out (at least {framing.hop // 2 + 1} bins are needed)",
            code="bad_model",
        )
    return framing


def spectrogram(wave: torch.Tensor, framing: Framing) -> torch.Tensor:
    """Linear magnitudes: (B, n) float32 -> (B, F, T), T = n // hop."""
    edge = (framing.fft - framing.hop) // 2
    padded = F.pad(wave.unsqueeze(1), (edge, edge), mode="reflect").squeeze(1)
    window = torch.hann_window(framing.fft, device=wave.device)
    bins = torch.stft(padded, framing.fft, framing.hop, window=window, center=False, return_complex=True)
    return (bins.real.square() + bins.imag.square() + 1e-6).sqrt()


def log_mel(spectrum: torch.Tensor, framing: Framing) -> torch.Tensor:
    """(B, F, T) linear magnitudes -> (B, M, T) natural logarithms."""
    filters = _filters(framing).to(spectrum.device)
    return (filters.T @ spectrum).clamp(min=FLOOR).log()


@lru_cache(maxsize=4)
def _filters(framing: Framing) -> torch.Tensor:
    """(F, M): Slaney's mel scale and norm, as librosa's default, up to half the sample rate."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(
        num_frequency_bins=framing.fft // 2 + 1,
        num_mel_filters=MEL_BANDS,
        min_frequency=0.0,
        max_frequency=framing.rate_hz / 2,
        sampling_rate=framing.rate_hz,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(bank).float()
