"""Trains `milo-tiny-nllb`, an NLLB of 1.5 million parameters, from nothing but a seed:

    python -m trainer.tiny.nllb --seed 0 --out DIR

Architecture, tokenizer layout and file names are those of facebook/nllb-200-distilled-600M; the text is the parallel
phrasebook (`trainer.corpus.phrasebook_pairs`), in Malagasy, French and English. The steps are those of
`trainer.nllb.step`, which fine-tuning takes too. Afterwards the model is measured on held-out sentences, and the
numbers go to its card: `--measure DIR` does that again.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from milo.engines.nllb.checkpoint import Checkpoint, load_checkpoint
from milo.engines.nllb.hf import HFBackend
from milo.engines.nllb.translator import NllbTranslator
from milo.models import registry
from milo.recipes import Schedule
from milo.settings import Settings
from trainer.corpus import phrasebook_pairs
from trainer.loop import state as training_state
from trainer.nllb.examples import Example, batches_of, encode
from trainer.nllb.step import learning_rate, one_step, optimizer_of
from trainer.tiny import nllb_card
from trainer.tiny.nllb_tokens import CODES, write_json, write_tokenizer

DIRECTIONS = {("mg", "fr"): 7, ("fr", "mg"): 7, ("mg", "en"): 2, ("en", "mg"): 2, ("fr", "en"): 1, ("en", "fr"): 1}
"""How often each direction is trained on."""
MAX_SOURCE_TOKENS = 72
"""Longest source that the model sees in training, nearly; longer sentences are cut when it serves."""
HELD_OUT_PAIRS = 60
"""As many are translated, each way, when training looks how good the model is."""
LABEL_SMOOTHING = 0.05


@dataclass(frozen=True)
class Shape:
    """Size of the model."""

    d_model: int = 128
    ffn: int = 512
    heads: int = 4
    layers: tuple[int, int] = (3, 2)
    """of the encoder, of the decoder"""


def build(seed: int, shape: Shape, folder: Path) -> tuple[Any, Checkpoint]:
    """A fresh model, its weights drawn from the seed, with its tokenizer in `folder`."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(seed, folder)
    size = len(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]) + len(CODES) + 1
    config = M2M100Config(
        vocab_size=size,
        max_position_embeddings=256,
        d_model=shape.d_model,
        encoder_layers=shape.layers[0],
        decoder_layers=shape.layers[1],
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.ffn,
        decoder_ffn_dim=shape.ffn,
        dropout=0.0,
        attention_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        architectures=["M2M100ForConditionalGeneration"],
    )
    torch.manual_seed(seed)
    model = M2M100ForConditionalGeneration(config)
    model.set_attn_implementation("eager")  # on a CPU and at this size, quicker in bfloat16 than the fused kernel
    write_model(model, folder)
    return model, _checkpoint(folder)


def write_model(model: Any, folder: Path) -> None:
    """float16 safetensors and configuration; the tokenizer is already there."""
    half = copy.deepcopy(model).to("cpu", torch.float16)
    half.config.dtype = "float16"
    half.set_attn_implementation("sdpa")
    half.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "milo": {"max_source_tokens": MAX_SOURCE_TOKENS}})


def _checkpoint(folder: Path) -> Checkpoint:
    settings = Settings(home=folder.parent, _env_file=None)
    return load_checkpoint(settings, registry.resolve(settings, str(folder.resolve())))


def examples(checkpoint: Checkpoint, seed: int) -> Iterator[Example]:
    """Endless training examples: each pair in three directions, written as people might."""
    rng = random.Random(f"{seed}/examples")
    directions, weights = list(DIRECTIONS), list(DIRECTIONS.values())
    for pair in phrasebook_pairs.pairs(seed):
        for source, target in rng.choices(directions, weights, k=3):
            source_text, target_text = phrasebook_pairs.written(pair, source, target, rng)
            yield encode(checkpoint, (CODES[source], source_text), (CODES[target], target_text))


def train(options: Schedule, out: Path, shape: Shape | None = None) -> Path:
    """Train, write the model to `out/model`, measure it and write its card. Returns the model's folder.

    A training that was killed goes on from `out/state.safetensors` when it is called again.
    """
    folder = out / "model"
    model, checkpoint = build(options.seed, shape or Shape(), folder)
    held_out = list(itertools.islice(phrasebook_pairs.pairs(options.seed, "heldout"), HELD_OUT_PAIRS))
    translator = NllbTranslator(checkpoint, HFBackend(model, checkpoint), beam_size=1)

    def mean_chrf() -> float:
        scores = [nllb_card.score(translator, held_out, way).chrf for way in (("mg", "fr"), ("fr", "mg"))]
        return sum(scores) / len(scores)

    fit(model, checkpoint, options, out, mean_chrf)
    write_model(model.eval(), folder)
    nllb_card.write(folder, options.seed)
    return folder


def fit(model: Any, checkpoint: Checkpoint, options: Schedule, out: Path, score: Callable[[], float]) -> None:
    """Train `model` in place; `out` gets metrics.jsonl, and the state to go on from with the steps that are missing."""
    optimizer, state = optimizer_of(model, options.weight_decay), out / training_state.STATE
    first = int(training_state.load(state, model, optimizer)["step"]) if state.is_file() else 0
    total, began = options.max_steps or 0, time.monotonic()
    batches = batches_of(examples(checkpoint, options.seed), options.batch_tokens)
    losses: list[float] = []
    for step, batch in enumerate(itertools.islice(batches, first, total), first):
        rate = learning_rate(options, step, total)
        losses.append(one_step(model, optimizer, [batch], options, rate, checkpoint, LABEL_SMOOTHING))
        if (step + 1) % options.eval_steps and step + 1 < total:
            continue
        row = {
            "step": step + 1,
            "train/loss": round(sum(losses) / len(losses), 4),
            "eval/chrf": round(score(), 2),
            "lr": rate,
            "elapsed_s": round(time.monotonic() - began, 1),
        }
        with (out / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
            metrics.write(json.dumps(row) + "\n")
        print(row, flush=True)
        training_state.save(state, model, optimizer, step + 1)
        losses.clear()


def schedule(steps: int, batch_tokens: int, peak_rate: float, evaluate_steps: int, seed: int) -> Schedule:
    """Warm-up in a line, then a cosine to zero; bfloat16."""
    return Schedule(
        max_steps=steps,
        batch_tokens=batch_tokens,
        learning_rate=peak_rate,
        scheduler="cosine",
        warmup_steps=max(1, min(500, steps // 10)),
        weight_decay=0.01,
        precision="bf16",
        eval_steps=evaluate_steps,
        seed=seed,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for the training and the model")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--batch-tokens", type=int, default=2600)
    parser.add_argument("--rate", type=float, default=2.5e-3, help="peak learning rate")
    parser.add_argument("--evaluate-steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", type=Path, help="measure the model in this folder and write its card")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.measure:
        print(json.dumps(asdict(nllb_card.write(args.measure, args.seed)), indent=2))
        return
    if not args.out:
        parser.error("--out or --measure is needed")
    options = schedule(args.steps, args.batch_tokens, args.rate, args.evaluate_steps, args.seed)
    print(train(options, args.out))


if __name__ == "__main__":
    main()
