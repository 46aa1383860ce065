"""One optimizer step of NLLB (M2M100): cross entropy with label smoothing, AdamW, and the learning rate's schedule.

Letters used in shapes: B examples, L target tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from milo.engines.nllb.checkpoint import Checkpoint
from milo.recipes import Schedule
from trainer.nllb.examples import Example

IGNORE = -100
LABEL_SMOOTHING = 0.1


def learning_rate(options: Schedule, step: int, total: int) -> float:
    """Of step number `step` (from 0): up in a line, then as `options.scheduler` says."""
    if options.scheduler != "constant" and step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    if options.scheduler.startswith("constant"):
        return options.learning_rate
    done = min(1.0, (step - options.warmup_steps) / max(1, total - options.warmup_steps))
    left = 1 - done if options.scheduler == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return options.learning_rate * left


def optimizer_of(model: Any, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW over what is trained; vectors (biases, norms) do not decay. Its rate is set at each step."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), eps=1e-8, fused=True)


def loss_of(model: Any, batch: list[Example], pad: int, end: int, smoothing: float, device: str) -> torch.Tensor:
    """Mean cross entropy of the target tokens; the language's token is given, not learned."""
    source = _padded([item.source for item in batch], pad).to(device)
    target = _padded([item.target for item in batch], pad).to(device)  # (B, L)
    decoder_input = torch.cat([torch.full_like(target[:, :1], end), target[:, :-1]], dim=1)
    labels = target.masked_fill(target == pad, IGNORE)
    labels[:, 0] = IGNORE
    logits = model(input_ids=source, attention_mask=source.ne(pad).long(), decoder_input_ids=decoder_input).logits
    return F.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE, label_smoothing=smoothing
    )


def one_step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[list[Example]],
    options: Schedule,
    rate: float,
    checkpoint: Checkpoint,
    smoothing: float = LABEL_SMOOTHING,
) -> float:
    """One optimizer step on these batches together; their mean loss. Of `options` it reads precision and max_grad_norm.

    Gradients that are no numbers are not applied, and the loss is then no number either.
    """
    device = str(next(model.parameters()).device)
    pad, end = checkpoint.token_of["<pad>"], checkpoint.token_of["</s>"]
    mixed = torch.autocast(device.split(":")[0], dtype=torch.bfloat16, enabled=options.precision == "bf16")
    model.train()
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for batch in batches:
        with mixed:
            loss = loss_of(model, batch, pad, end, smoothing, device)
        (loss / len(batches)).backward()
        total += float(loss.detach()) / len(batches)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), options.max_grad_norm)
    if not torch.isfinite(norm):
        return math.nan
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return total


def _padded(rows: Sequence[list[int]], pad: int) -> torch.Tensor:
    """(B, L) int64"""
    longest = max(map(len, rows))
    return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
