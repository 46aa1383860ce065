"""VITS in training: what transformers' `VitsModel` does not have, made of the modules that it has.

Text and audio are brought together by monotonic alignment search (Kim et al. 2020, https://arxiv.org/abs/2005.11129):
the most likely way to read the text along the audio, searched anew at each step. Letters used in shapes: B clips,
L tokens, C latent channels, T frames, S frames of a segment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional as F

from trainer.vits.audio import Framing, log_mel, spectrogram

SEGMENT_SAMPLES = 8192
"""Of each clip, as much is decoded to audio and judged in one step."""


@dataclass(frozen=True)
class Batch:
    """Clips of about equal length, padded with zeros."""

    ids: tuple[str, ...]
    tokens: torch.Tensor
    """(B, L) int64"""
    token_mask: torch.Tensor
    """(B, L) int64, 1 where a token is"""
    wave: torch.Tensor
    """(B, T * hop) float32"""
    frames: torch.Tensor
    """(B,) int64, frames that are not padding"""
    speakers: torch.Tensor
    """(B,) int64"""

    def to(self, device: torch.device) -> Batch:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return replace(self, **{name: value.to(device, non_blocking=True) for name, value in tensors.items()})


@dataclass(frozen=True)
class Latents:
    """A batch as the model sees it, from both sides."""

    posterior: torch.Tensor
    """(B, C, T) sampled from the audio's posterior"""
    posterior_log_stddev: torch.Tensor
    flowed: torch.Tensor
    """(B, C, T) the posterior's sample through the flow, which the prior should predict"""
    prior_mean: torch.Tensor
    """(B, C, T) of the text, each token as long as it is aligned"""
    prior_log_stddev: torch.Tensor
    mask: torch.Tensor
    """(B, 1, T) float, 1 where a frame is"""
    speaker: torch.Tensor | None
    """(B, E, 1) embedding, for a model of several voices"""
    duration_loss: torch.Tensor
    mel: torch.Tensor
    """(B, M, T) of the real audio"""


def encode(model: Any, batch: Batch, framing: Framing) -> Latents:
    """Both sides of a batch, aligned, and how well the durations of that alignment are predicted."""
    linear = spectrogram(batch.wave, framing)
    steps = torch.arange(linear.shape[-1], device=batch.wave.device)
    mask = (steps < batch.frames[:, None]).unsqueeze(1).float()
    speaker = model.embed_speaker(batch.speakers).unsqueeze(-1) if model.config.num_speakers > 1 else None
    token_mask = batch.token_mask.unsqueeze(-1).float()
    text = model.text_encoder(batch.tokens, token_mask, attention_mask=batch.token_mask)
    posterior, _, log_stddev = model.posterior_encoder(linear, mask, speaker)
    flowed = model.flow(posterior, mask, speaker).float()
    # (B, C, L)
    means, log_stddevs = text.prior_means.float().transpose(1, 2), text.prior_log_variances.float().transpose(1, 2)
    token_mask = token_mask.transpose(1, 2)
    path = align(flowed, means, log_stddevs, token_mask, mask)
    hidden = text.last_hidden_state.float().transpose(1, 2)
    # its splines mix precisions under autocast
    with torch.autocast(batch.wave.device.type, enabled=False):
        duration = duration_loss(model, hidden, token_mask, path.sum(-1).unsqueeze(1), speaker)
    return Latents(
        posterior,
        log_stddev.float(),
        flowed,
        means @ path,
        log_stddevs @ path,
        mask,
        speaker,
        duration,
        log_mel(linear, framing),
    )


@torch.no_grad()
def align(
    flowed: torch.Tensor,
    means: torch.Tensor,
    log_stddevs: torch.Tensor,
    token_mask: torch.Tensor,
    frame_mask: torch.Tensor,
) -> torch.Tensor:
    """The most likely monotonic path, (B, L, T) of 0 and 1: each frame belongs to one token, each token has a frame.

    flowed (B, C, T); means, log_stddevs (B, C, L); token_mask (B, 1, L); frame_mask (B, 1, T). Every clip needs at
    least as many frames as tokens.
    """
    from monotonic_alignment_search import maximum_path

    precision = torch.exp(-2 * log_stddevs)
    constant = (-0.5 * math.log(2 * math.pi) - log_stddevs - 0.5 * means.square() * precision).sum(1)
    likelihood = (
        precision.transpose(1, 2) @ (-0.5 * flowed.square())
        + (means * precision).transpose(1, 2) @ flowed
        + constant.unsqueeze(-1)
    )
    return maximum_path(likelihood, token_mask.transpose(1, 2) * frame_mask)


def duration_loss(
    model: Any, hidden: torch.Tensor, mask: torch.Tensor, frames: torch.Tensor, speaker: torch.Tensor | None
) -> torch.Tensor:
    """Of each token's aligned `frames`, (B, 1, L): likelihood (stochastic predictor) or squared error of logarithms."""
    if model.config.use_stochastic_duration_prediction:
        # One token of padding: transformers' splines fail when no value at all is within their interval, as padding is
        padded = (F.pad(values, (0, 1)) for values in (hidden, mask))
        return model.duration_predictor(*padded, speaker, durations=F.pad(frames, (0, 1))).sum() / mask.sum()
    wanted = torch.log(frames + 1e-6) * mask
    return (model.duration_predictor(hidden, mask, speaker) - wanted).square().sum() / mask.sum()


@dataclass(frozen=True)
class Segment:
    """One stretch of each clip: as it was recorded and as the model makes it."""

    real: torch.Tensor
    """(B, 1, S * hop)"""
    generated: torch.Tensor
    mel_loss: torch.Tensor


def decode_segment(model: Any, latents: Latents, batch: Batch, framing: Framing) -> Segment:
    """Decode a random segment of each clip. A clip that is shorter is compared with its padding of silence."""
    size = SEGMENT_SAMPLES // framing.hop
    short = max(0, size - latents.mask.shape[-1])
    room = (batch.frames - size).clamp(min=0) + 1
    starts = (torch.rand(len(room), device=room.device) * room).long()
    posterior = _cut(F.pad(latents.posterior, (0, short)), starts, size)
    real_mel = _cut(F.pad(latents.mel, (0, short), value=float(latents.mel.min())), starts, size)
    real = _cut(F.pad(batch.wave.unsqueeze(1), (0, short * framing.hop)), starts * framing.hop, size * framing.hop)
    generated = model.decoder(posterior, latents.speaker)
    with torch.autocast(generated.device.type, enabled=False):
        mel = log_mel(spectrogram(generated.float().squeeze(1), framing), framing)
    return Segment(real, generated, F.l1_loss(mel, real_mel))


def _cut(values: torch.Tensor, starts: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, n) -> (B, C, size), each row from its own start."""
    at = starts[:, None] + torch.arange(size, device=values.device)
    return values.gather(2, at.unsqueeze(1).expand(-1, values.shape[1], -1))
