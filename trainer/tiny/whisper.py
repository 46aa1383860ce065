"""Trains `milo-tiny-mg`, a Whisper of 2.6 million parameters, from nothing but a seed:

    python -m trainer.tiny.whisper --seed 0 --out DIR

Encoder and decoder are transformers' own WhisperForConditionalGeneration. What is added for training only: windows of
any length (Whisper's encoder insists on 30 s); a CTC head on the encoder, which makes a model this small learn to
listen before it learns to guess (Watanabe et al. 2017) and is not exported; and, because eSpeak says where each word
is, a loss that shows some attention heads where to look (guided attention, Tachibana et al. 2017).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainer.tiny import export, whisper_tokens
from trainer.tiny.whisper_batches import Batch, TrainingBatches
from trainer.tiny.whisper_model import TinyWhisper

CTC_WEIGHT = 0.4
GUIDE_WEIGHT = 0.2


@dataclass(frozen=True)
class Recipe:
    """One training. Each cycle is a one-cycle schedule of its own (warm-up, then cosine to zero)."""

    seed: int = 0
    cycles: tuple[int, ...] = (4000, 2000, 1300, 4500)
    """Steps of each cycle; those after the first polish (`TrainingBatches`). The model is exported after each."""
    peak_rate: float = 1.8e-3
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    align_steps: int = 1400
    """Until this step mostly single sentences, clean, in few voices."""
    d_model: int = 160
    layers: tuple[int, int] = (4, 2)
    """of the encoder, of the decoder"""
    batch_scale: float = 1.0
    workers: int = 1


def build(recipe: Recipe, tokenizer: Any) -> TinyWhisper:
    """A fresh model, its weights drawn from the recipe's seed."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(recipe.seed)
    d = recipe.d_model
    end, start = (tokenizer.convert_tokens_to_ids(t) for t in ("<|endoftext|>", "<|startoftranscript|>"))
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=80,
        d_model=d,
        encoder_layers=recipe.layers[0],
        decoder_layers=recipe.layers[1],
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=d * 16 // 5,
        decoder_ffn_dim=d * 16 // 5,
        max_source_positions=1500,
        max_target_positions=448,
        init_std=0.04,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        begin_suppress_tokens=None,
    )
    whisper = WhisperForConditionalGeneration(config)
    whisper.set_attn_implementation("eager")  # on a CPU and at this size, quicker in bfloat16 than the fused kernel
    return TinyWhisper(whisper)


def learning_rate(step: int, recipe: Recipe) -> float:
    """One-cycle: a tenth of the cycle up to the peak, a cosine down to zero; each cycle has 0.7 of the peak before."""
    for number, length in enumerate(recipe.cycles):
        if step < length:
            peak = recipe.peak_rate * 0.7**number
            rise = max(1, length // 10)
            if step < rise:
                return peak * (step + 1) / rise
            return peak * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, length - rise))))
        step -= length
    return 0.0


def _to(batch: Batch, device: str) -> Batch:
    return Batch(**{name: value.to(device) for name, value in vars(batch).items()})


def train(recipe: Recipe, out: Path, device: str, first_step: int = 0, start_from: Path | None = None) -> TinyWhisper:
    """Trains, writes `metrics.jsonl` to `out`, exports to `out/model` at the end of each cycle. Returns the model."""
    tokenizer = whisper_tokens.build(recipe.seed)
    model = build(recipe, tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    if start_from is not None:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(start_from), strict=True)
    model.to(device).train()
    decayed = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)
    total, ends = sum(recipe.cycles), np.cumsum(recipe.cycles)
    batches = TrainingBatches(
        tokenizer,
        recipe.seed,
        total,
        warm_up=recipe.align_steps,
        polish=ends[:-1].tolist(),
        scale=recipe.batch_scale,
    )
    loader = torch.utils.data.DataLoader(
        batches,
        batch_size=None,
        sampler=range(first_step, total),
        num_workers=recipe.workers,
        prefetch_factor=4 if recipe.workers else None,
    )
    began, sums = time.monotonic(), np.zeros(4)
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
        for step, batch in enumerate(loader, first_step):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, recipe)
            with torch.autocast(device, dtype=torch.bfloat16):
                text, letters, guide = model.loss(_to(batch, device))
            optimizer.zero_grad(set_to_none=True)
            (text + CTC_WEIGHT * letters + GUIDE_WEIGHT * guide).backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            if torch.isfinite(norm):
                optimizer.step()
            sums += [1, *(float(part.detach()) for part in (text, letters, guide))]
            if (step + 1) % 50 == 0 or step + 1 == total:
                row = {
                    "step": step + 1,
                    "train/loss": round(float(sums[1] / sums[0]), 4),
                    "train/ctc": round(float(sums[2] / sums[0]), 4),
                    "train/guide": round(float(sums[3] / sums[0]), 4),
                    "lr": round(learning_rate(step, recipe), 7),
                    "elapsed_s": round(time.monotonic() - began, 1),
                }
                metrics.write(json.dumps(row) + "\n")
                metrics.flush()
                print(row, flush=True)
                sums[:] = 0
            if (step + 1) % 500 == 0 or step + 1 in ends:
                _checkpoint(model, out)
            if step + 1 in ends:
                export.write(model.whisper, tokenizer, out / "model")
    model.eval()
    return model


def _checkpoint(model: TinyWhisper, out: Path) -> None:
    from safetensors.torch import save_file

    shared = {"whisper.proj_out.weight"}
    state = {k: v.detach().float().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    save_file({k: v for k, v in state.items() if k not in shared} | {k: state[k].clone() for k in shared}, out / "tmp")
    (out / "tmp").replace(out / "last.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--cycles", default=",".join(map(str, Recipe.cycles)), help="steps of each cycle")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--first-step", type=int, default=0, help="go on from this step, with --start-from")
    parser.add_argument("--start-from", type=Path, help="a last.safetensors")
    args = parser.parse_args()
    device = args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    random.seed(args.seed)
    torch.set_num_threads(args.threads)
    recipe = Recipe(seed=args.seed, cycles=tuple(int(n) for n in args.cycles.split(",")))
    train(recipe, args.out, device, args.first_step, args.start_from)


if __name__ == "__main__":
    main()
