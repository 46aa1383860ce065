"""One optimizer step of VITS: discriminators and generator in turn, in mixed precision, on one device.

Everything random in a step is drawn from a seed that the caller gives, so a step is the same wherever it is taken, and
whatever else the process does between two of them. Accelerate is not used: its state belongs to the whole process,
where another training may be waiting with another precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch

from trainer.loop.seeding import seeded
from trainer.vits.discriminators import discriminators_for
from trainer.vits.forward import Batch, Segment, decode_segment, encode
from trainer.vits.losses import DISC_WEIGHT, WEIGHTS, discriminator_loss, feature_loss, generator_loss, kl_loss
from trainer.vits.model import Voice

Precision = Literal["fp32", "bf16", "fp16"]
BETAS, EPSILON = (0.8, 0.99), 1e-9
LOSSES = ("mel", "kl", "duration", "gen", "fmaps", "disc")


class Diverged(Exception):
    """A loss or a gradient of this step is not a number; no weight of the generator was changed."""


class Gan:
    """A voice, its discriminators, and their optimizers."""

    def __init__(self, voice: Voice, device: torch.device, precision: Precision, weight_decay: float) -> None:
        self.voice, self.device, self.precision = voice, device, precision
        self.model: Any = voice.model.to(device)
        self.discriminators = discriminators_for(voice.model.config).to(device)
        options = {"lr": 0.0, "betas": BETAS, "eps": EPSILON, "weight_decay": weight_decay}
        self.optimizer = torch.optim.AdamW(self.model.parameters(), **options)
        self.disc_optimizer = torch.optim.AdamW(self.discriminators.parameters(), **options)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def step(self, batches: Sequence[Batch], seed: str, learning_rate: float) -> dict[str, float]:
        """Train on these micro-batches together; returns the mean of each loss, unweighted, by its name in `LOSSES`.

        Raises `Diverged`.
        """
        for optimizer in (self.optimizer, self.disc_optimizer):
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
        self.model.train()
        self.discriminators.train()
        totals = dict.fromkeys(LOSSES, 0.0)
        with seeded(seed, self.device):
            for number, batch in enumerate(batches):
                last = number == len(batches) - 1
                for name, value in self._micro(batch.to(self.device), 1 / len(batches), last).items():
                    totals[name] += value / len(batches)
        self._apply(self.optimizer, self.model)
        self.scaler.update()
        return totals

    def _micro(self, batch: Batch, share: float, last: bool) -> dict[str, float]:
        with self._mixed():
            latents = encode(self.model, batch, self.voice.framing)
            segment = decode_segment(self.model, latents, batch, self.voice.framing)
            real = self.discriminators(segment.real)
            generated = self.discriminators(segment.generated.detach())
        losses = {
            "mel": segment.mel_loss,
            "kl": kl_loss(
                latents.flowed,
                latents.posterior_log_stddev,
                latents.prior_mean,
                latents.prior_log_stddev,
                latents.mask,
            ),
            "duration": latents.duration_loss,
            "disc": discriminator_loss(real, generated),
        }
        values = _numbers(losses)
        self.scaler.scale(losses.pop("disc") * DISC_WEIGHT * share).backward()
        if last:
            self._apply(self.disc_optimizer, self.discriminators)
        losses |= self._adversarial_losses(segment)
        values |= _numbers({name: losses[name] for name in ("gen", "fmaps")})
        total = torch.stack([losses[name] * weight for name, weight in WEIGHTS.items()]).sum()
        self.scaler.scale(total * share).backward()
        return values

    def _adversarial_losses(self, segment: Segment) -> dict[str, torch.Tensor]:
        """The losses of the generator that the discriminators give; they themselves learn nothing from it."""
        self.discriminators.requires_grad_(False)
        with self._mixed():
            generated = self.discriminators(segment.generated)
            with torch.no_grad():
                real = self.discriminators(segment.real)
        self.discriminators.requires_grad_(True)
        return {"gen": generator_loss(generated), "fmaps": feature_loss(real, generated)}

    def _apply(self, optimizer: torch.optim.Optimizer, module: torch.nn.Module) -> None:
        """An optimizer step. fp16 gradients that overflow are skipped by the scaler, which is no fault."""
        if self.scaler.is_enabled():
            self.scaler.step(optimizer)
            return
        norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
        if not math.isfinite(float(norm)):
            raise Diverged("the gradients are not numbers")
        optimizer.step()

    def _mixed(self) -> Any:
        kind = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=kind, enabled=self.precision != "fp32")


def _numbers(losses: dict[str, torch.Tensor]) -> dict[str, float]:
    """Fetched from the device at once. Raises `Diverged` that names those that are no numbers."""
    values = torch.stack([loss.detach().float() for loss in losses.values()]).tolist()
    by_name = dict(zip(losses, values, strict=True))
    wrong = [name for name, value in by_name.items() if not math.isfinite(value)]
    if wrong:
        raise Diverged(f"the loss {' and the loss '.join(wrong)} is not a number")
    return by_name
