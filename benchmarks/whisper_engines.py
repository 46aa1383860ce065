"""One Whisper engine in a process of its own: reads a JSON line of WAV files (16 kHz, mono), answers with one.

    python -m benchmarks.whisper_engines milo-short MODEL

The answer: seconds of the clock and of the processor, peak memory, the text of each file. Everything but the loading
of the model counts: reading, finding the speech, decoding. English, greedy, no word times.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Texts = dict[str, str]
Engine = Callable[[list[Path]], Texts]
SHORT_S = 10.0
STEP_WINDOWS = 64
"""Windows that one step of a worker chooses from, as `workers.windows` does."""


def read_wav(path: Path) -> Any:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(1 << 30), "<i2")


def milo(model: str, **settings: Any) -> Engine:
    """The engine as a worker drives it: windows of all files, filled, near lengths together, coverage looked after."""
    from milo.engines.whisper import ct2
    from milo.models import registry
    from milo.protocols import DecodeOptions
    from milo.settings import Settings
    from milo.transcription.coverage import transcribe
    from milo.transcription.decoded_speech import plan_windows, speech_in
    from milo.transcription.word_times import speech_runs

    chosen = Settings(home=Path(os.environ["BENCHMARK_HOME"]), device="cpu", stt_model=model, **settings)
    engine = ct2.load(chosen, registry.resolve(chosen, model))
    options = DecodeOptions(language="en", word_timestamps=False)

    def run(files: list[Path]) -> Texts:
        pack_s, max_s = engine.pack_window_s, engine.max_window_s
        speeches = [speech_in(read_wav(path)) for path in files]
        plans = [plan_windows(one, pack_window_s=pack_s, max_window_s=max_s, filled=True) for one in speeches]
        queue = [(n, window) for n, plan in enumerate(plans) for window in plan]
        heard: dict[int, list[tuple[float, str]]] = {n: [] for n in range(len(files))}
        for start in range(0, len(queue), STEP_WINDOWS):
            step = sorted(queue[start : start + STEP_WINDOWS], key=lambda item: item[1].duration_s)
            windows = [window for _, window in step]
            audio = [window.samples(speeches[n]) for n, window in step]
            runs = [speech_runs(w.start_s, w.end_s, speeches[n].frame_probabilities) for n, w in step]
            for (n, window), text in zip(step, transcribe(engine, windows, audio, runs, options), strict=True):
                heard[n].append((window.start_s, text.text))
        return {path.stem: " ".join(text for _, text in sorted(heard[n])) for n, path in enumerate(files)}

    return run


def faster_whisper(model: str, *, batched: bool) -> Engine:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    loaded = WhisperModel(model, device="cpu", compute_type="float32", cpu_threads=os.cpu_count() or 1)
    options: dict[str, Any] = {"language": "en", "beam_size": 1, "vad_filter": True}
    options |= {"batch_size": 16} if batched else {"condition_on_previous_text": False, "without_timestamps": True}
    pipeline = BatchedInferencePipeline(loaded) if batched else loaded

    def run(files: list[Path]) -> Texts:
        texts = {}
        for path in files:
            segments, _ = pipeline.transcribe(str(path), **options)
            texts[path.stem] = " ".join(segment.text.strip() for segment in segments)
        return texts

    return run


def whisper_cpp(model: str) -> Engine:
    from pywhispercpp.model import Model  # type: ignore[import-not-found, unused-ignore]

    loaded = Model(model, n_threads=os.cpu_count(), print_progress=False, redirect_whispercpp_logs_to=None)

    def run(files: list[Path]) -> Texts:
        texts = {}
        for path in files:
            segments = loaded.transcribe(read_wav(path).astype(np.float32) / 32768, language="en")
            texts[path.stem] = " ".join(str(segment.text).strip() for segment in segments)
        return texts

    return run


def transformers(model: str) -> Engine:
    import torch
    from transformers import (
        AutomaticSpeechRecognitionPipeline,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizerFast,
    )

    torch.set_num_threads(os.cpu_count() or 1)
    loaded = WhisperForConditionalGeneration.from_pretrained(model, dtype=torch.float32)
    tokenizer = WhisperTokenizerFast.from_pretrained(model, pad_token="<|endoftext|>")
    pipeline = AutomaticSpeechRecognitionPipeline(
        loaded,
        tokenizer=tokenizer,
        feature_extractor=WhisperFeatureExtractor(feature_size=loaded.config.num_mel_bins),
        chunk_length_s=30,
        batch_size=8,
    )

    def run(files: list[Path]) -> Texts:
        sounds = [{"raw": read_wav(path).astype(np.float32) / 32768, "sampling_rate": 16_000} for path in files]
        found = [pipeline(sound, generate_kwargs={"language": "en", "task": "transcribe"}) for sound in sounds]
        return {path.stem: one["text"] for path, one in zip(files, found, strict=True)}

    return run


ENGINES: dict[str, Callable[[str], Engine]] = {
    "milo": milo,
    "milo-short": lambda model: milo(model, stt_min_window_s=SHORT_S),
    "milo-short-int8": lambda model: milo(model, stt_min_window_s=SHORT_S, stt_compute_type="int8_float32"),
    "milo-int8": lambda model: milo(model, stt_compute_type="int8_float32"),
    "faster-whisper": lambda model: faster_whisper(model, batched=False),
    "faster-whisper-batched": lambda model: faster_whisper(model, batched=True),
    "whisper.cpp": whisper_cpp,
    "transformers": transformers,
}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    name, model = sys.argv[1:3]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    engine = ENGINES[name](model)
    for line in sys.stdin:
        files = [Path(path) for path in json.loads(line)]
        wall, cpu = time.perf_counter(), _cpu_s()
        texts = engine(files)
        answer = {"wall_s": time.perf_counter() - wall, "cpu_s": _cpu_s() - cpu, "texts": texts}
        answer["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        main()
