"""Trains `milo-tiny-nllb`, an NLLB of 1.5 million parameters, from nothing but a seed:

    python -m trainer.tiny.nllb --seed 0 --out DIR

Architecture, tokenizer layout and file names are those of facebook/nllb-200-distilled-600M; the text is the parallel
phrasebook (`trainer.tiny.corpus.phrasebook_pairs`), in Malagasy, French and English. The loop is
`trainer.nllb.step`'s own. Afterwards
the model is measured on held-out sentences, and the numbers go to its card: `--measure DIR` does that again.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from milo.engines.nllb.checkpoint import Checkpoint, load_checkpoint, tokenizer_from_pieces
from milo.engines.nllb.hf import HFBackend
from milo.engines.nllb.translator import NllbTranslator
from milo.models import registry
from milo.settings import Settings
from trainer.loop import state as training_state
from trainer.nllb import step
from trainer.nllb.step import Example, Recipe
from trainer.tiny import nllb_card
from trainer.tiny.corpus import phrasebook_pairs

CODES = {"en": "eng_Latn", "fr": "fra_Latn", "mg": "plt_Latn"}
DIRECTIONS = {("mg", "fr"): 7, ("fr", "mg"): 7, ("mg", "en"): 2, ("en", "mg"): 2, ("fr", "en"): 1, ("en", "fr"): 1}
"""How often each direction is trained on."""
PIECES = 1500
MAX_SOURCE_TOKENS = 72
"""Longest source that the model sees in training, nearly; longer sentences are cut when it serves."""
REQUIRED = string.ascii_letters + string.digits + "àâäçèéêëîïñôöùûüÿœæÀÂÄÇÈÉÊËÎÏÑÔÖÙÛÜŸŒÆ'’.,;:!?-()\"«»%€$/+=&@#*_…–—"


@dataclass(frozen=True)
class Shape:
    """Size of the model."""

    d_model: int = 128
    ffn: int = 512
    heads: int = 4
    layers: tuple[int, int] = (3, 2)
    """of the encoder, of the decoder"""


def write_tokenizer(seed: int, folder: Path) -> None:
    """A SentencePiece BPE model of the phrasebook, and the files in which NllbTokenizer keeps it."""
    import sentencepiece

    lines = []
    for pair in itertools.islice(phrasebook_pairs.pairs(seed), 6000):
        lines += [*pair.texts.values(), pair.spoken]
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=made,
        model_type="bpe",
        vocab_size=PIECES,
        hard_vocab_limit=False,
        character_coverage=1.0,
        required_chars=REQUIRED,
        split_digits=True,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "sentencepiece.bpe.model").write_bytes(made.getvalue())
    codes = sorted(CODES.values())
    document = tokenizer_from_pieces(folder / "sentencepiece.bpe.model", codes)
    ids = {token["content"]: token["id"] for token in document["added_tokens"]}
    document["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [_special("plt_Latn"), {"Sequence": {"id": "A", "type_id": 0}}, _special("</s>")],
        "pair": [
            _special("plt_Latn"),
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 0}},
            _special("</s>"),
        ],
        "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in ("</s>", "plt_Latn")},
    }
    named = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>"}
    special: dict[str, Any] = {f"{name}_token": token for name, token in named.items()} | {"mask_token": "<mask>"}
    _write(folder / "tokenizer.json", document, indent=None)
    _write(folder / "special_tokens_map.json", {**special, "additional_special_tokens": codes})
    own = {"tokenizer_class": "NllbTokenizer", "src_lang": "plt_Latn", "tgt_lang": "fra_Latn", "model_max_length": 256}
    _write(folder / "tokenizer_config.json", {**special, **own, "extra_special_tokens": codes})


def _special(name: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": name, "type_id": 0}}


def _write(path: Path, document: dict[str, Any], indent: int | None = 2) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


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
    import copy

    half = copy.deepcopy(model).to("cpu", torch.float16)
    half.config.dtype = "float16"
    half.set_attn_implementation("sdpa")
    half.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _write(folder / "config.json", {**config, "milo": {"max_source_tokens": MAX_SOURCE_TOKENS}})


def _checkpoint(folder: Path) -> Checkpoint:
    settings = Settings(home=folder.parent, _env_file=None)
    return load_checkpoint(settings, registry.resolve(settings, str(folder.resolve())))


def examples(checkpoint: Checkpoint, seed: int) -> Iterator[Example]:
    """Endless training examples: each pair in three directions, written as people might."""
    rng = random.Random(f"{seed}/examples")
    ways, weights = list(DIRECTIONS), list(DIRECTIONS.values())
    for pair in phrasebook_pairs.pairs(seed):
        for source, target in rng.choices(ways, weights, k=3):
            before, after = phrasebook_pairs.written(pair, source, target, rng)
            yield step.example(checkpoint, (CODES[source], before), (CODES[target], after))


def train(seed: int, out: Path, recipe: Recipe, shape: Shape | None = None) -> Path:
    """Train, write the model to `out/model`, measure it and write its card. Returns the model's folder.

    A training that was killed goes on from `out/state.safetensors` when it is called again.
    """
    folder = out / "model"
    model, checkpoint = build(seed, shape or Shape(), folder)
    heldout = list(itertools.islice(phrasebook_pairs.pairs(seed, "heldout"), 60))
    translator = NllbTranslator(checkpoint, HFBackend(model, checkpoint), beam_size=1)

    def evaluate(_: Any) -> float:
        scores = [nllb_card.score(translator, heldout, way).chrf for way in (("mg", "fr"), ("fr", "mg"))]
        return sum(scores) / len(scores)

    batches = step.batches_of(examples(checkpoint, seed), recipe.batch_tokens)
    log, state = out / "metrics.jsonl", out / training_state.STATE
    step.fit(model, checkpoint, batches, recipe, log, evaluate, lambda m: write_model(m, folder), state=state)
    nllb_card.write(folder, seed)
    return folder


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
        print(json.dumps(nllb_card.write(args.measure, args.seed), indent=2))
        return
    if not args.out:
        parser.error("--out or --measure is needed")
    recipe = Recipe(
        steps=args.steps,
        batch_tokens=args.batch_tokens,
        peak_rate=args.rate,
        warm_up_steps=max(1, min(500, args.steps // 10)),
        label_smoothing=0.05,
        weight_decay=0.01,
        evaluate_steps=args.evaluate_steps,
        patience=0,
        keep="last",
        seed=args.seed,
    )
    print(train(args.seed, args.out, recipe))


if __name__ == "__main__":
    main()
