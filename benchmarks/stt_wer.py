"""Word error rate of a Whisper folder on Milo's synthetic corpus: held-out sentences, a held-out voice, long windows,
the other languages, and windows without speech. Prints a table and writes it as JSON.

    python -m benchmarks.stt_wer                          # milo-tiny-mg as shipped; writes wer.json beside it
    python -m benchmarks.stt_wer --model DIR --count 100

WER is a fraction, over `milo.training.scoring` of both texts.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import jiwer
import torch

from milo.training.scoring import SCORING_VERSION, normalise_for_scoring
from trainer.corpus import corpus
from trainer.tiny import whisper_card
from trainer.tiny.windows import Transcriber

SHIPPED = Path(__file__).resolve().parents[1] / "milo" / "assets" / "models" / "milo-tiny-mg"
SETS: dict[str, dict[str, Any]] = {
    "held-out sentences": {},
    "held-out voice": {"voices": "held out"},
    "several sentences, up to 15 s": {"kind": "packed", "share": 0.3},
    "up to 30 s, some cut off": {"kind": "full", "share": 0.15},
    "French": {"language": "fr", "share": 0.4},
    "English": {"language": "en", "share": 0.4},
}
LENGTHS: tuple[tuple[float, corpus.Kind], ...] = (
    (0, "short"),
    (5, "packed"),
    (10, "packed"),
    (18, "full"),
    (26, "full"),
)


def word_errors(references: list[str], texts: list[str]) -> dict[str, float]:
    """WER and CER (fractions) of normalised texts."""
    references, texts = ([normalise_for_scoring(text) for text in side] for side in (references, texts))
    return {"wer": round(jiwer.wer(references, texts), 4), "cer": round(jiwer.cer(references, texts), 4)}


def measure_set(transcriber: Transcriber, name: str, count: int, seed: int) -> dict[str, Any]:
    options = dict(SETS[name])
    windows = corpus.evaluation_windows(seed, max(8, round(count * options.pop("share", 1.0))), **options)
    audio, language = [w.audio for w in windows], windows[0].language
    stock = transcriber.transcribe(audio, stock=True, language=language)
    short = transcriber.transcribe(audio, stock=False, language=language)
    references = [w.text for w in windows]
    return {
        "windows": len(windows),
        "audio_s": round(sum(len(a) for a in audio) / 16000, 1),
        "stock_30_s": word_errors(references, [h.text for h in stock]),
        "own_length": word_errors(references, [h.text for h in short]),
        "language_accuracy": round(sum(h.language == language for h in stock) / len(stock), 4),
        "mean_no_speech_prob": round(sum(h.no_speech_prob for h in stock) / len(stock), 4),
    }


def measure_lengths(transcriber: Transcriber, count: int, seed: int) -> dict[str, float]:
    """WER of packed windows by the seconds of speech and pauses in them: what `pack_window_s` is chosen from."""
    by_length = {}
    for length_s, kind in LENGTHS:
        rng = random.Random(f"length/{seed}/{length_s}")
        windows = [corpus.window(rng, kind, "heldout", length_s=length_s) for _ in range(count)]
        results = transcriber.transcribe([w.audio for w in windows], stock=False, batch=8)
        by_length[f"{length_s:g}"] = word_errors([w.text for w in windows], [result.text for result in results])["wer"]
    return by_length


def measure_no_speech(transcriber: Transcriber, count: int, seed: int) -> dict[str, Any]:
    rng = random.Random(f"no speech/{seed}")
    audio = [corpus.no_speech_window(rng, rng.uniform(1, 15)).audio for _ in range(count)]
    results = transcriber.transcribe(audio, stock=True)
    return {
        "windows": count,
        "empty_text": round(sum(not result.text for result in results) / count, 4),
        "mean_no_speech_prob": round(sum(result.no_speech_prob for result in results) / count, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--count", type=int, default=300, help="windows in the two main sets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transcriber, began = Transcriber(args.model), time.monotonic()
    sets = {}
    print(f"{'set':32} {'audio':>8} {'WER, 30 s padding':>18} {'WER, own length':>16} {'language':>9}")
    for name in SETS:
        row = sets[name] = measure_set(transcriber, name, args.count, args.seed)
        stock, own = row["stock_30_s"]["wer"], row["own_length"]["wer"]
        print(f"{name:32} {row['audio_s']:7.0f}s {stock:17.1%} {own:16.1%} {row['language_accuracy']:9.1%}", flush=True)
    no_speech = measure_no_speech(transcriber, max(8, args.count // 4), args.seed)
    print(f"without speech: {no_speech['empty_text']:.1%} empty, no_speech_prob {no_speech['mean_no_speech_prob']:.3f}")
    lengths = measure_lengths(transcriber, max(8, args.count // 8), args.seed)
    print("WER by window length: " + ", ".join(f"{length} s {wer:.1%}" for length, wer in lengths.items()))
    result = {
        "command": f"python -m benchmarks.stt_wer --count {args.count} --seed {args.seed}",
        "scoring": SCORING_VERSION,
        "sets": sets,
        "no speech": no_speech,
        "wer by length in s": lengths,
    }
    (args.model / "wer.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (args.model / "README.md").write_text(whisper_card.render(args.model, result), encoding="utf-8")
    print(f"{time.monotonic() - began:.0f} s; wrote {args.model / 'wer.json'} and the model card")


if __name__ == "__main__":
    main()
