"""The losses of VITS (Kim et al. 2021) and how much each weighs. Pure functions of tensors.

Letters used in shapes: B clips, C latent channels, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trainer.vits.discriminators import DiscriminatorOutput

WEIGHTS = {"mel": 35.0, "kl": 1.5, "duration": 1.0, "gen": 1.0, "fmaps": 1.0}
"""In the generator's loss. VITS has mel 45 and kl 1; these suit fine-tuning on little data (finetune-hf-vits)."""
DISC_WEIGHT = 3.0
"""Of the discriminators' loss."""


def kl_loss(
    prior_latents: torch.Tensor,
    posterior_log_stddev: torch.Tensor,
    prior_mean: torch.Tensor,
    prior_log_stddev: torch.Tensor,
    mask: torch.Tensor,
) -> torch.Tensor:
    """KL divergence of posterior from prior, by the sample: (B, C, T) each, mask (B, 1, T); mean over frames."""
    squared = 0.5 * (prior_latents - prior_mean).square() * torch.exp(-2.0 * prior_log_stddev)
    divergence = prior_log_stddev - posterior_log_stddev - 0.5 + squared
    return (divergence * mask).sum() / mask.sum()


def discriminator_loss(real: Sequence[DiscriminatorOutput], generated: Sequence[DiscriminatorOutput]) -> torch.Tensor:
    """Least squares (Mao et al. 2017): real audio should be judged 1, generated audio 0."""
    losses = [(1 - r).float().square().mean() + m.float().square().mean() for (r, _), (m, _) in _pairs(real, generated)]
    return torch.stack(losses).sum()


def generator_loss(generated: Sequence[DiscriminatorOutput]) -> torch.Tensor:
    """Least squares: generated audio should be judged 1."""
    return torch.stack([(1 - scores).float().square().mean() for scores, _ in generated]).sum()


def feature_loss(real: Sequence[DiscriminatorOutput], generated: Sequence[DiscriminatorOutput]) -> torch.Tensor:
    """Mean absolute difference of the discriminators' activations, summed over layers; twice it, as HiFi-GAN has it."""
    differences = [
        (r.detach().float() - m.float()).abs().mean()
        for (_, real_features), (_, generated_features) in _pairs(real, generated)
        for r, m in zip(real_features, generated_features, strict=True)
    ]
    return 2 * torch.stack(differences).sum()


def _pairs(
    real: Sequence[DiscriminatorOutput], generated: Sequence[DiscriminatorOutput]
) -> list[tuple[DiscriminatorOutput, DiscriminatorOutput]]:
    return list(zip(real, generated, strict=True))
