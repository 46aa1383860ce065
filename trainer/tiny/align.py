"""Chooses the cross-attention heads that follow the speech best: `alignment_heads`, for word timestamps.

    python -m trainer.tiny.align DIR     # measures and writes them into DIR/generation_config.json

eSpeak says where each word begins; every head's attention is turned into word starts as Whisper's tooling does it
(normalise over tokens, median filter, dynamic time warping) and the heads with the smallest errors are kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.corpus import corpus
from trainer.corpus.corpus import Window
from trainer.corpus.effects import RATE_HZ
from trainer.tiny.whisper_batches import log_mel
from trainer.tiny.whisper_model import TinyWhisper
from trainer.tiny.whisper_targets import Targets


def _weights(tiny: TinyWhisper, targets: Targets, window: Window) -> tuple[torch.Tensor, list[int]]:
    """((layers, heads, text tokens, frames), first token of each word) of one window, its true text forced."""
    audio = torch.zeros(1, max(RATE_HZ, -(-len(window.audio) // 320) * 320))
    audio[0, : len(window.audio)] = torch.from_numpy(window.audio)
    prefix = [targets.start, targets.languages[window.language], targets.task, targets.no_times]
    words = [targets.encode(f" {word}") for word, _ in window.segments[0].words]
    tokens = torch.tensor([[*prefix, *itertools.chain(*words)]])
    out = tiny.whisper.model.decoder(
        input_ids=tokens, encoder_hidden_states=tiny.encode(log_mel(audio)), use_cache=False, output_attentions=True
    )
    # the attention while reading token i - 1 belongs to the prediction of token i
    attention = torch.stack([layer[0] for layer in out.cross_attentions])[:, :, len(prefix) - 1 : -1]
    return attention, list(np.cumsum([0] + [len(word) for word in words[:-1]]))


def _starts_s(attention: torch.Tensor, firsts: list[int]) -> list[float]:
    """Word starts by (heads, tokens, frames) of attention."""
    from transformers.models.whisper.generation_whisper import _dynamic_time_warping, _median_filter

    std, mean = torch.std_mean(attention, dim=-2, keepdim=True, unbiased=False)
    matrix = _median_filter((attention - mean) / (std + 1e-6), 7).mean(dim=0)
    rows, frames = _dynamic_time_warping(-matrix.double().numpy())
    jumps = np.pad(np.diff(rows), (1, 0), constant_values=1).astype(bool)
    times = frames[jumps] * 0.02
    return [float(times[first]) for first in firsts]


@torch.no_grad()
def choose_heads(whisper: Any, tokenizer: Any, *, count: int = 40, seed: int = 0) -> tuple[list[list[int]], float]:
    """(heads as [layer, head], mean error of a word's start in s, at most 1 s each), measured on held-out sentences."""
    before = whisper.config._attn_implementation
    whisper.set_attn_implementation("eager")  # the only one that returns its weights
    tiny, targets = TinyWhisper(whisper.float().eval()), Targets(tokenizer)
    rng = random.Random(f"align/{seed}")
    windows = [corpus.window(rng, "short", "heldout") for _ in range(count)]
    measured = [(w, *_weights(tiny, targets, w)) for w in windows if w.segments[0].words]
    layers, heads = measured[0][1].shape[:2]

    def error_s(chosen: list[list[int]]) -> float:
        errors = []
        for window, attention, firsts in measured:
            starts_s = _starts_s(torch.stack([attention[layer, head] for layer, head in chosen]), firsts)
            errors += [abs(start - true) for start, (_, true) in zip(starts_s, window.segments[0].words, strict=True)]
        return float(np.mean(np.minimum(errors, 1.0)))

    ranked = sorted(([layer, head] for layer in range(layers) for head in range(heads)), key=lambda h: error_s([h]))
    best = [ranked[0]]
    for head in ranked[1:]:
        if error_s([*best, head]) < error_s(best):
            best = [*best, head]
    whisper.set_attn_implementation(before)
    return sorted(best), error_s(best)


def main() -> None:
    from transformers import WhisperForConditionalGeneration, WhisperTokenizer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=40, help="held-out windows to measure on")
    args = parser.parse_args()
    model = WhisperForConditionalGeneration.from_pretrained(args.folder, dtype=torch.float32)
    heads, error_s = choose_heads(model, WhisperTokenizer.from_pretrained(args.folder), count=args.count)
    file = args.folder / "generation_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"alignment_heads": heads}
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    print(f"{heads}: word starts off by {error_s * 1000:.0f} ms on average")


if __name__ == "__main__":
    main()
