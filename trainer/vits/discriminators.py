"""The discriminators that VITS is trained against: one on the wave as it is, five that fold it by a prime period.

Architecture: HiFi-GAN (Kong et al. 2020, https://arxiv.org/abs/2010.05646) as VITS uses it (Kim et al. 2021): the
finest of the multi-scale discriminators and the multi-period ones. They exist in training only.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

PERIODS = (2, 3, 5, 7, 11)
SLOPE = 0.1
FULL_WIDTH = 512
"""Channels with which the decoder of a full-size VITS begins; a smaller model is judged by smaller discriminators."""

DiscriminatorOutput = tuple[torch.Tensor, list[torch.Tensor]]
"""Scores (B, …), near 1 for what seems real; and the activations of every layer."""


def _channels(count: int, width: float) -> int:
    return max(4, 4 * round(count * width / 4))


class ScaleDiscriminator(nn.Module):
    """Strided, grouped convolutions over the wave."""

    def __init__(self, width: float) -> None:
        super().__init__()
        sizes = [1, *(_channels(count, width) for count in (16, 64, 256, 1024, 1024, 1024))]
        shapes = ((15, 1, False), (41, 4, True), (41, 4, True), (41, 4, True), (41, 4, True), (5, 1, False))
        self.layers = nn.ModuleList()
        for before, after, (kernel, stride, grouped) in zip(sizes, sizes[1:], shapes, strict=False):
            groups = math.gcd(max(1, before // 4), after) if grouped else 1
            conv = nn.Conv1d(before, after, kernel, stride, padding=kernel // 2, groups=groups)
            self.layers.append(weight_norm(conv))
        self.last = weight_norm(nn.Conv1d(sizes[-1], 1, 3, padding=1))

    def forward(self, wave: torch.Tensor) -> DiscriminatorOutput:
        return _through(self.layers, self.last, wave)


class PeriodDiscriminator(nn.Module):
    """Two-dimensional convolutions over the wave folded into rows of `period` samples."""

    def __init__(self, period: int, width: float) -> None:
        super().__init__()
        self.period = period
        sizes = [1, *(_channels(count, width) for count in (32, 128, 512, 1024, 1024))]
        strides = (3, 3, 3, 3, 1)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (stride, 1), padding=(2, 0)))
            for before, after, stride in zip(sizes, sizes[1:], strides, strict=False)
        )
        self.last = weight_norm(nn.Conv2d(sizes[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: torch.Tensor) -> DiscriminatorOutput:
        samples = wave.shape[-1]
        if short := -samples % self.period:
            wave = F.pad(wave, (0, short), mode="reflect")
        return _through(self.layers, self.last, wave.unflatten(-1, (-1, self.period)))


def _through(layers: Any, last: nn.Module, values: torch.Tensor) -> DiscriminatorOutput:
    seen = []
    for layer in layers:
        values = F.leaky_relu(layer(values), SLOPE)
        seen.append(values)
    values = last(values)
    return values.flatten(1), [*seen, values]


class Discriminators(nn.Module):
    """All six. `width`: the share of HiFi-GAN's channels that they have."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.members = nn.ModuleList([ScaleDiscriminator(width), *(PeriodDiscriminator(p, width) for p in PERIODS)])

    def forward(self, wave: torch.Tensor) -> list[DiscriminatorOutput]:
        """(B, 1, n) -> a judgement of each discriminator."""
        return [member(wave) for member in self.members]


def discriminators_for(config: Any) -> Discriminators:
    """Untrained ones that fit the size of a model with this `VitsConfig`."""
    return Discriminators(min(1.0, config.upsample_initial_channel / FULL_WIDTH))
