"""Translation: Milo's engine against bare CTranslate2 on the same converted weights, in one run.

    python -m benchmarks.translation [--model milo-tiny-nllb] [--sentences 1000] [--rounds 5]

Bare: `tokenizers` and `Translator.translate_batch` with the same threads, beams and compute type, which is what a
careful user of the library would write. Two loads: one sentence at a time (latency), and all of them in one call
(target tokens a second). Rounds alternate, the best of each is compared. Milo adds sentence splitting, batches by
length, limits and guards; its translations are also compared with the bare ones.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import machine, save
from milo.engines.nllb import ct2
from milo.engines.nllb.translator import NllbTranslator
from milo.models import registry
from milo.settings import Settings
from trainer.corpus import phrasebook_pairs

Translate = Callable[[Sequence[str]], list[str]]
BATCH = 32


def bare(translator: NllbTranslator, source: str, target: str) -> Translate:
    """The library as it is: encode, translate_batch, decode."""
    from tokenizers import Tokenizer

    path = translator.checkpoint.resolved.path
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    model = translator.backend.model  # type: ignore[attr-defined]
    codes = translator.checkpoint.languages

    def run(texts: Sequence[str]) -> list[str]:
        encoded = tokenizer.encode_batch(list(texts), add_special_tokens=False)
        results = model.translate_batch(
            [[codes[source], *item.tokens, "</s>"] for item in encoded],
            target_prefix=[[codes[target]]] * len(texts),
            beam_size=translator.beam_size,
            max_batch_size=BATCH,
        )
        ids = [[tokenizer.token_to_id(token) for token in result.hypotheses[0][1:]] for result in results]
        return [text.strip() for text in tokenizer.decode_batch(ids)]

    return run


def _once(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def latency_ms(translate: Translate, texts: Sequence[str]) -> list[float]:
    return [1000 * _once(partial(translate, [text])) for text in texts]


def measure(translator: NllbTranslator, texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """Both ways through one direction, mg to fr."""
    ways: dict[str, Translate] = {
        "milo": lambda rows: translator.translate(rows, "mg", "fr"),
        "ctranslate2": bare(translator, "mg", "fr"),
    }
    made = {name: translate(texts) for name, translate in ways.items()}  # warm-up, and what is compared
    tokens = sum(len(row) + 1 for row in translator.checkpoint.encode(made["ctranslate2"]))
    single = texts[:100]
    latencies: dict[str, list[list[float]]] = {name: [] for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, translate in ways.items():
            latencies[name].append(latency_ms(translate, single))
            seconds[name].append(_once(partial(translate, texts)))
    report: dict[str, Any] = {
        name: {
            "latency_ms_p50": round(min(map(statistics.median, latencies[name])), 2),
            "latency_ms_p95": round(min(statistics.quantiles(row, n=20)[18] for row in latencies[name]), 2),
            "tokens_per_s": round(tokens / min(seconds[name])),
        }
        for name in ways
    }
    report["ratio"] = {
        "latency": round(report["milo"]["latency_ms_p50"] / report["ctranslate2"]["latency_ms_p50"], 3),
        "time_for_all": round(min(seconds["milo"]) / min(seconds["ctranslate2"]), 3),
    }
    same = sum(a == b for a, b in zip(made["milo"], made["ctranslate2"], strict=True))
    report["same_text"] = f"{same} of {len(texts)}"
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="milo-tiny-nllb")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    args = parser.parse_args()
    texts = [pair.texts["mg"] for pair in itertools.islice(phrasebook_pairs.pairs(9, "heldout"), args.sentences)]
    texts = list(dict.fromkeys(texts))
    report: dict[str, Any] = {"machine": machine(), "model": args.model, "sentences": len(texts)}
    with tempfile.TemporaryDirectory() as home:
        for beam_size in (1, 4):
            settings = Settings(home=Path(home), device=args.device, translate_beam_size=beam_size)
            translator = ct2.load(settings, registry.ensure(settings, args.model))
            report[f"beam_{beam_size}"] = measure(translator, texts, args.rounds)
            print(f"beam {beam_size}: {report[f'beam_{beam_size}']}")
            translator.close()
    save("translation", report)


if __name__ == "__main__":
    main()
