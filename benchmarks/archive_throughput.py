"""An archive of mixed lengths: `milo transcribe` against faster-whisper's batched pipeline, same weights, in one run.

    python -m benchmarks.archive_throughput [--files 200] [--words] [--base]

Both read the same FLAC files from disk, decode greedily, filter silence with Silero, know the language, and have their
model loaded before the clock starts. Milo's time is that of the command: every file through the API, the ledger, Redis,
Celery, decoding on the CPU worker, the engine, and its .srt and .json written. faster-whisper's is a loop over the
files in one process, `BatchedInferencePipeline(batch_size=16)`, nothing written. `--words`: word times in both.
`--base`: random weights of whisper-base's size, whose texts mean nothing: no fallback, and as many new tokens in both.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import machine, running_stack, save
from milo.engines.whisper.checkpoint import load_checkpoint
from milo.engines.whisper.convert import converted
from milo.models import registry
from milo.settings import Settings
from milo.stack.up import environment
from milo.training.scoring import normalise_for_scoring

LENGTHS_S = (0.45, 2, 8), (0.35, 8, 40), (0.2, 40, 180)
"""Share of the files, and the range of their lengths."""


def make_archive(folder: Path, count: int) -> tuple[list[Path], dict[str, str], float]:
    """Files, their reference texts, and their seconds together. Held-out sentences of the synthetic corpus."""
    import soundfile

    from trainer.corpus import corpus, effects

    rng = random.Random("archive")
    files, texts, total_s = [], {}, 0.0
    for share, low, high in LENGTHS_S:
        for _ in range(round(share * count)):
            pieces, segments = corpus.dry_stream(rng, rng.uniform(low, high), "mg", "heldout")
            audio = effects.simulate_recording(np.concatenate(pieces), np.random.default_rng(rng.getrandbits(64)))
            path = folder / f"{len(files):04}.flac"
            soundfile.write(path, audio, effects.RATE_HZ)
            files.append(path)
            texts[path.stem] = " ".join(segment.text for segment in segments)
            total_s += len(audio) / effects.RATE_HZ
    return files, texts, total_s


def random_base(folder: Path) -> Path:
    """A checkpoint of whisper-base's dimensions with random weights and our small vocabulary."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration, set_seed

    ours = registry.resolve(Settings(home=folder), "milo-tiny-mg").path
    path = folder / "random-base"
    shutil.copytree(ours, path, ignore=shutil.ignore_patterns("*.safetensors", "ct2-*", "*.md"))
    config = WhisperConfig.from_pretrained(ours)
    sizes = {"d_model": 512, "encoder_layers": 6, "decoder_layers": 6}
    heads = {f"{part}_attention_heads": 8 for part in ("encoder", "decoder")}
    for name, value in (sizes | heads | {"encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048}).items():
        setattr(config, name, value)
    set_seed(0)
    WhisperForConditionalGeneration(config).save_pretrained(path)
    shutil.copy(ours / "generation_config.json", path)
    return path


class _Multilingual:
    """faster-whisper asks CTranslate2 whether a model is multilingual, which says no for small vocabularies."""

    is_multilingual = True

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def run_faster_whisper(
    settings: Settings, files: list[Path], *, words: bool, base: bool
) -> tuple[float, dict[str, str]]:
    """Seconds for all files, and their texts."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    checkpoint = load_checkpoint(settings, registry.resolve(settings, settings.stt_model))
    with converted(settings, checkpoint) as folder, tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        (Path(copy) / "tokenizer.json").write_text(checkpoint.tokenizer.to_str(), encoding="utf-8")
        model = WhisperModel(copy, device="cpu", compute_type="float32", cpu_threads=machine()["cores"])
    model.model = _Multilingual(model.model)
    pipeline = BatchedInferencePipeline(model)
    texts = {}
    started = 0.0
    for path in [files[0], *files]:  # the first once more, to warm up
        limit = token_limit(path) if base else None
        segments, _ = pipeline.transcribe(
            str(path),
            language="mg",
            beam_size=1,
            batch_size=16,
            temperature=0,
            word_timestamps=words,
            max_new_tokens=limit,
        )
        texts[path.stem] = " ".join(segment.text.strip() for segment in segments)
        started = started or time.perf_counter()
    return time.perf_counter() - started, texts


def token_limit(path: Path) -> int:
    """What Milo lets a window of this file have: 16 tokens a second, 224 at most."""
    import soundfile

    return min(224, 16 + math.ceil(16 * min(30.0, soundfile.info(path).duration)))


def run_milo(settings: Settings, folder: Path, out: Path, *, words: bool, base: bool) -> tuple[float, dict[str, str]]:
    """Seconds of the command `milo transcribe`, and the texts."""
    command = [sys.executable, "-m", "milo.cli", "transcribe", str(folder), "--out", str(out), "--language", "mg"]
    command += ["--format", "srt,json", "--force", "--json"] + ([] if words else ["--no-word-timestamps"])
    command += ["--temperature", "0"] if base else []
    env = {"PATH": "/usr/bin:/bin"} | environment(settings)
    started = time.perf_counter()
    subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)
    took_s = time.perf_counter() - started
    return took_s, {path.stem: json.loads(path.read_text())["text"] for path in out.glob("[!.]*.json")}


def word_error_rate(texts: dict[str, str], references: dict[str, str]) -> float:
    import jiwer

    names = sorted(references)
    said = [normalise_for_scoring(references[name]) for name in names]
    return round(float(jiwer.wer(said, [normalise_for_scoring(texts[name]) for name in names])), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--words", action="store_true")
    parser.add_argument("--base", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        archive = home / "archive"
        archive.mkdir()
        files, references, total_s = make_archive(archive, arguments.files)
        model = str(random_base(home)) if arguments.base else "milo-tiny-mg"
        options = {"words": arguments.words, "base": arguments.base}
        with running_stack(home / "milo", [archive], stt_model=model) as settings:
            one = home / "one"
            one.mkdir()
            shutil.copy(files[0], one)
            run_milo(settings, one, home / "warm", **options)
            milo_s, milo_texts = run_milo(settings, archive, home / "out", **options)
        theirs_s, their_texts = run_faster_whisper(settings, files, **options)
        report = {
            "machine": machine(),
            "model": "random weights, whisper-base's size" if arguments.base else "milo-tiny-mg",
            "files": len(files),
            "audio_s": round(total_s),
            "word_timestamps": arguments.words,
            "milo_s": round(milo_s, 1),
            "faster_whisper_s": round(theirs_s, 1),
            "milo_x_realtime": round(total_s / milo_s, 1),
            "faster_whisper_x_realtime": round(total_s / theirs_s, 1),
            "ratio": round(theirs_s / milo_s, 2),
        }
        if not arguments.base:
            report["milo_wer"] = word_error_rate(milo_texts, references)
            report["faster_whisper_wer"] = word_error_rate(their_texts, references)
        print(json.dumps({name: value for name, value in report.items() if name != "machine"}, indent=2))
        suffix = ("_base" if arguments.base else "") + ("_words" if arguments.words else "")
        save(f"archive_throughput{suffix}", report)


if __name__ == "__main__":
    main()
