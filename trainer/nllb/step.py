"""Train or fine-tune NLLB (M2M100) on sentence pairs, in all their directions at once:

    python -m trainer.nllb.step --base facebook/nllb-200-distilled-600M --pairs mine.tsv --out tuned/

The same loop trains `milo-tiny-nllb` from nothing (`trainer.tiny.nllb`). Cross entropy with label smoothing, AdamW, a
linear warm-up and a cosine to zero; every so often chrF on pairs that are held out, and the best weights are kept.
The result is a folder that stock transformers loads, and Milo serves: `MILO_TRANSLATE_MODEL=tuned/`.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn import functional as F

from milo.engines.nllb.checkpoint import Checkpoint, load_checkpoint
from milo.engines.nllb.hf import HFBackend
from milo.engines.nllb.translator import NllbTranslator
from milo.errors import Invalid, MiloError
from milo.models import registry
from milo.settings import Settings, get_settings
from trainer.data.pairs import TextPair, chrf, read_pairs, split_pairs
from trainer.loop import state as training_state

IGNORE = -100
LARGE_PARAMETERS = 100_000_000
"""From here on the embeddings stay as they are by default: two fifths of the 600M model, and its other languages."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "sentencepiece.bpe.model")


@dataclass(frozen=True)
class Recipe:
    """One training."""

    steps: int = 2000
    batch_tokens: int = 2048
    """Padded tokens of a batch, source and target together."""
    peak_rate: float = 5e-5
    warm_up_steps: int = 100
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    bfloat16: bool = True
    """Mixed precision; the weights themselves stay float32."""
    seed: int = 0
    evaluate_steps: int = 200
    patience: int = 5
    """Evaluations without a better score before training ends early; 0: never."""
    keep: Literal["best", "last"] = "best"
    """Which weights are the result: those with the best score on held-out pairs, or those at the end."""


@dataclass(frozen=True)
class Example:
    """Token ids: what the encoder reads, and what the decoder is to write (language, text, end)."""

    source: list[int]
    target: list[int]

    def __len__(self) -> int:
        return len(self.source) + len(self.target)


def example(checkpoint: Checkpoint, source: tuple[str, str], target: tuple[str, str]) -> Example:
    """From (FLORES code, text) on both sides. Texts beyond the model's positions are cut."""
    left, right = checkpoint.encode([source[1], target[1]])
    most = int(checkpoint.config.get("max_position_embeddings", 1024)) - 2
    return Example(checkpoint.source(left[: most - 2], source[0]), checkpoint.source(right[: most - 2], target[0]))


def batches_of(examples: Iterator[Example], batch_tokens: int, pool: int = 512) -> Iterator[list[Example]]:
    """Batches of about equal length from a stream: `pool` examples at a time are sorted and cut."""
    while chunk := [item for _, item in zip(range(pool), examples, strict=False)]:
        chunk.sort(key=lambda item: (len(item.source), len(item.target)))
        batches: list[list[Example]] = [[]]
        for item in chunk:
            longest = max(len(other) for other in [*batches[-1], item])
            if batches[-1] and longest * (len(batches[-1]) + 1) > batch_tokens:
                batches.append([])
            batches[-1].append(item)
        random.Random(len(chunk[0])).shuffle(batches)
        yield from batches


def _padded(rows: Sequence[list[int]], filler: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])


def loss_of(model: Any, batch: list[Example], pad: int, end: int, smoothing: float, device: str) -> torch.Tensor:
    """Mean cross entropy of the target tokens; the language's token is given, not learned."""
    source = _padded([item.source for item in batch], pad).to(device)
    target = _padded([item.target for item in batch], pad).to(device)
    before = torch.cat([torch.full_like(target[:, :1], end), target[:, :-1]], dim=1)
    labels = target.masked_fill(target == pad, IGNORE)
    labels[:, 0] = IGNORE
    logits = model(input_ids=source, attention_mask=source.ne(pad).long(), decoder_input_ids=before).logits
    return F.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE, label_smoothing=smoothing
    )


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear up to the peak, then half a cosine down to zero."""
    if step < recipe.warm_up_steps:
        return recipe.peak_rate * (step + 1) / recipe.warm_up_steps
    done = (step - recipe.warm_up_steps) / max(1, recipe.steps - recipe.warm_up_steps)
    return recipe.peak_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def optimizer_of(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in learned if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), eps=1e-8, fused=True)


def one_step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[list[Example]],
    recipe: Recipe,
    rate: float,
    checkpoint: Checkpoint,
) -> float:
    """One optimizer step on these batches together; their mean loss. Gradients that are no numbers are not applied,
    and the loss is then no number either."""
    device = str(next(model.parameters()).device)
    pad, end = checkpoint.token_of["<pad>"], checkpoint.token_of["</s>"]
    mixed = torch.autocast(device.split(":")[0], dtype=torch.bfloat16, enabled=recipe.bfloat16)
    model.train()
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for batch in batches:
        with mixed:
            loss = loss_of(model, batch, pad, end, recipe.label_smoothing, device)
        (loss / len(batches)).backward()
        total += float(loss.detach()) / len(batches)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    if not torch.isfinite(norm):
        return math.nan
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return total


Evaluate = Callable[[Any], float]
"""Score of a model, higher is better; called in evaluation mode."""


def fit(
    model: Any,
    checkpoint: Checkpoint,
    batches: Iterator[list[Example]],
    recipe: Recipe,
    log: Path,
    evaluate: Evaluate,
    keep: Callable[[Any], None],
    best: float = -math.inf,
    state: Path | None = None,
) -> float:
    """Train `model` in place and leave the chosen weights in it; `keep` is called with each that is better than before.

    `best` is the score to beat. Returns the score of the chosen weights (with `keep="best"`, -inf: none beat it, and
    the weights are those before training). Metrics go to `log`, a JSON object a line. `state`: a file from which
    training goes on if it was killed, for `keep="last"`; the batches of the steps done are drawn and left out.
    """
    optimizer = optimizer_of(model, recipe)
    kept, last_score = {name: t.cpu().clone() for name, t in model.state_dict().items()}, -math.inf
    worse, sums, began, first = 0, [0.0, 0], time.monotonic(), 0
    if state and state.is_file():
        first = int(training_state.load(state, model, optimizer)["step"])
    with log.open("a", encoding="utf-8") as metrics:
        for step, batch in zip(range(recipe.steps), batches, strict=False):
            if step < first:
                continue
            loss = one_step(model, optimizer, [batch], recipe, learning_rate(step, recipe), checkpoint)
            sums = [sums[0] + loss, sums[1] + 1]
            last = step + 1 == recipe.steps
            if (step + 1) % recipe.evaluate_steps and not last:
                continue
            score = evaluate(model.eval())
            row = {"step": step + 1, "train/loss": round(sums[0] / sums[1], 4), "eval/chrf": round(score, 2)}
            row |= {"lr": learning_rate(step, recipe), "elapsed_s": round(time.monotonic() - began, 1)}
            metrics.write(json.dumps(row) + "\n")
            metrics.flush()
            print(row, file=sys.stderr, flush=True)
            sums, worse = [0.0, 0], 0 if score > best else worse + 1
            if score > best or recipe.keep == "last":
                best, last_score = max(best, score), score
                kept = {name: t.cpu().clone() for name, t in model.state_dict().items()}
                keep(model)
            if state:
                training_state.save(state, model, optimizer, step + 1)
            if recipe.patience and worse >= recipe.patience and recipe.keep == "best":
                break
    model.load_state_dict(kept)
    model.eval()
    return last_score


def directions(pairs: Sequence[TextPair], checkpoint: Checkpoint) -> list[Example]:
    """Every pair as two examples, one each way. `Invalid` names a language that the model does not know."""
    found = []
    for pair in pairs:
        sides = [(checkpoint.language_of(code), text) for code, text in zip(pair.languages, pair.texts, strict=True)]
        found += [example(checkpoint, sides[0], sides[1]), example(checkpoint, sides[1], sides[0])]
    return found


def endless(examples: list[Example], seed: int) -> Iterator[Example]:
    rng = random.Random(seed)
    while True:
        yield from rng.sample(examples, len(examples))


def score_pairs(translator: NllbTranslator, pairs: Sequence[TextPair]) -> dict[str, float]:
    """chrF of each direction, such as `{"mg-fr": 71.3, "fr-mg": 68.0}`."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for pair in pairs:
        (one, two), (first, second) = pair.languages, pair.texts
        groups.setdefault((one, two), []).append((first, second))
        groups.setdefault((two, one), []).append((second, first))
    return {
        f"{source}-{target}": round(
            chrf(translator.translate([a for a, _ in rows], source, target), [b for _, b in rows]), 2
        )
        for (source, target), rows in sorted(groups.items())
    }


def save(model: Any, checkpoint: Checkpoint, settings: Settings, out: Path) -> None:
    """A whole model folder: safetensors in the model's own precision, configuration, tokenizer files."""
    out.mkdir(parents=True, exist_ok=True)
    half = checkpoint.info.dtype == "F16"
    (copy.deepcopy(model).half() if half else model).save_pretrained(out)
    for name in TOKENIZER_FILES:
        try:
            source = registry.find_file(settings, checkpoint.resolved, name)
        except MiloError:
            continue
        (out / name).write_bytes(source.read_bytes())
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    if "milo" in checkpoint.config:
        config["milo"] = checkpoint.config["milo"]
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def finetune_nllb(
    base: str,
    pairs_file: Path,
    out: Path,
    recipe: Recipe | None = None,
    *,
    settings: Settings | None = None,
    device: str = "auto",
    freeze_embeddings: bool | None = None,
) -> dict[str, Any]:
    """Fine-tune `base` (a name, hub id or folder) on a file of pairs; the model goes to `out`. Returns the summary.

    The summary, also in `out/summary.json`: chrF of each direction on the held-out pairs before and after. With
    `keep="best"`, weights that are no better than the base's on those are not kept: `out` is the base then. Raises
    `Invalid` for a line of the file that is wrong, `ModelUnavailable` for a base that can't be loaded.
    """
    recipe, settings = recipe or Recipe(), settings or get_settings()
    train, heldout = split_pairs(read_pairs(pairs_file))
    checkpoint = load_checkpoint(settings, registry.ensure(settings, base))
    examples = directions(train, checkpoint)
    torch.manual_seed(recipe.seed)
    model = load_model(checkpoint, device)
    frozen = freeze_embeddings if freeze_embeddings is not None else checkpoint.info.parameters > LARGE_PARAMETERS
    if frozen:
        model.get_input_embeddings().weight.requires_grad_(False)
    translator = NllbTranslator(checkpoint, HFBackend(model, checkpoint), beam_size=1)
    out.mkdir(parents=True, exist_ok=True)
    before = score_pairs(translator, heldout)

    def evaluate(_: Any) -> float:
        return _mean(score_pairs(translator, heldout))

    def keep(better: Any) -> None:
        save(better, checkpoint, settings, out)

    batches = batches_of(endless(examples, recipe.seed), recipe.batch_tokens)
    try:
        fit(model, checkpoint, batches, recipe, out / "metrics.jsonl", evaluate, keep, _mean(before))
    except torch.cuda.OutOfMemoryError:
        raise Invalid(
            f"the GPU has not enough memory for batches of {recipe.batch_tokens} tokens; try --batch-tokens"
            f" {recipe.batch_tokens // 2}, or --freeze-embeddings"
        ) from None
    after = score_pairs(translator, heldout)
    if not (out / "model.safetensors").is_file():
        save(model, checkpoint, settings, out)
    summary = {
        "base": checkpoint.resolved.label,
        "pairs": {"train": len(train), "heldout": len(heldout)},
        "chrf": {"before": before, "after": after},
        "improved": _mean(after) > _mean(before),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def _mean(scores: dict[str, float]) -> float:
    return sum(scores.values()) / len(scores)


def load_model(checkpoint: Checkpoint, device: str) -> Any:
    from transformers import M2M100ForConditionalGeneration

    chosen = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    model = M2M100ForConditionalGeneration.from_pretrained(
        checkpoint.resolved.path, use_safetensors=True, local_files_only=True, dtype=torch.float32
    )
    return model.to(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="a model name, hub id, or folder")
    parser.add_argument("--pairs", type=Path, required=True, help="a .tsv or .jsonl file, see trainer/data/pairs.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--batch-tokens", type=int, default=Recipe.batch_tokens)
    parser.add_argument("--rate", type=float, default=Recipe.peak_rate, help="peak learning rate")
    parser.add_argument("--evaluate-steps", type=int, default=Recipe.evaluate_steps)
    parser.add_argument("--patience", type=int, default=Recipe.patience, help="0: train all the steps")
    parser.add_argument("--keep", default="best", choices=("best", "last"), help="best on held-out pairs, or the last")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--freeze-embeddings", action=argparse.BooleanOptionalAction, help="default: for large models")
    args = parser.parse_args()
    recipe = Recipe(
        steps=args.steps,
        batch_tokens=args.batch_tokens,
        peak_rate=args.rate,
        warm_up_steps=max(1, min(Recipe.warm_up_steps, args.steps // 10)),
        evaluate_steps=args.evaluate_steps,
        patience=args.patience,
        keep=args.keep,
        seed=args.seed,
    )
    try:
        summary = finetune_nllb(
            args.base, args.pairs, args.out, recipe, device=args.device, freeze_embeddings=args.freeze_embeddings
        )
    except MiloError as error:
        sys.exit(f"error: {error.detail}")
    print(json.dumps(summary, indent=2))
    if not summary["improved"]:
        sys.exit(
            "The held-out pairs are translated no better than before: use more pairs, a lower --rate or fewer --steps;"
            " or --keep last, if the pairs themselves are all that matters."
        )


if __name__ == "__main__":
    main()
