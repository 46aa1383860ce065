"""Evaluation against a plain transformers `pipeline` loop: the same model, the same utterances, the same machine.

    python -m benchmarks.evaluation [--count 200] [--model milo-tiny-mg] [--random-base] [--batch 16]

Both decode greedily, time their second pass over warm engines, and score with the same normaliser. The pipeline pads
each utterance to 30 s, as stock Whisper does; Milo pads it to what the model's configuration allows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer

from benchmarks.archive_throughput import random_base
from benchmarks.common import machine, save
from milo.models import registry
from milo.recipes import Data
from milo.settings import Settings
from milo.training.scoring import normalise_for_scoring
from trainer.data.load import load
from trainer.evaluation.engines import own_engines
from trainer.evaluation.evaluate import evaluate

WARM = 4
"""Utterances of the first pass, which is not timed."""


def data_of(count: int) -> Data:
    return Data(source="synthetic", synthetic={"seed": 3, "count": {"train": 1, "test": count}})


@dataclass(frozen=True)
class Took:
    """Seconds of the clock, and of all cores of this process: what others do on the machine is not in those."""

    wall_s: float
    cpu_s: float


@contextmanager
def timed() -> Iterator[list[Took]]:
    found: list[Took] = []
    wall, cpu = time.perf_counter(), time.process_time()
    yield found
    found.append(Took(time.perf_counter() - wall, time.process_time() - cpu))


def run_milo(settings: Settings, model: str, data: Data) -> tuple[Took, dict[str, Any]]:
    """From the call to the report, the engine loaded before."""
    with own_engines(settings) as engines:
        _report(evaluate(settings, model, data.model_copy(update={"limit": WARM}), engines=engines))
        with timed() as took:
            report = _report(evaluate(settings, model, data, engines=engines))
        return took[0], report


def _report(steps: Any) -> dict[str, Any]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: dict[str, Any] = end.value
            return found


def run_pipeline(settings: Settings, model: str, data: Data, batch: int, tokens: int) -> tuple[Took, float]:
    """Time and WER of the loop that one writes first: read, decode, score."""
    import torch
    from transformers import pipeline

    folder = str(registry.resolve(settings, model).path)
    half = torch.cuda.is_available()
    device = 0 if half else "cpu"
    heard = pipeline(
        "automatic-speech-recognition", model=folder, device=device, dtype=torch.float16 if half else torch.float32
    )
    options = {"language": "mg", "task": "transcribe", "num_beams": 1, "do_sample": False, "max_new_tokens": tokens}
    items = list(load(settings, data, "test"))
    heard([items[0].audio()], generate_kwargs=options)
    with timed() as took:
        sounds = ({"raw": item.audio(), "sampling_rate": 16_000} for item in items)
        texts = [one["text"] for one in heard(sounds, batch_size=batch, generate_kwargs=options)]
        wanted = [normalise_for_scoring(item.text) for item in items]
        wer = jiwer.wer(wanted, [normalise_for_scoring(text) for text in texts])
    return took[0], float(wer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--model", default="milo-tiny-mg")
    parser.add_argument("--random-base", action="store_true", help="whisper-base's dimensions, random weights")
    parser.add_argument("--batch", type=int, default=16, help="batch size of the pipeline")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(home=Path(name), _env_file=None)
        model = str(random_base(Path(name))) if args.random_base else args.model
        data = data_of(args.count)
        audio_s = load(settings, data, "test").seconds
        ours, report = run_milo(settings, model, data)
        theirs, wer = run_pipeline(settings, model, data, args.batch, tokens=48)
        found = {
            "machine": machine(),
            "model": "random weights, whisper-base's size" if args.random_base else args.model,
            "items": args.count,
            "audio_s": round(audio_s, 1),
            "milo_s": round(ours.wall_s, 2),
            "pipeline_s": round(theirs.wall_s, 2),
            "ratio": round(theirs.wall_s / ours.wall_s, 2),
            "milo_cpu_s": round(ours.cpu_s, 2),
            "pipeline_cpu_s": round(theirs.cpu_s, 2),
            "cpu_ratio": round(theirs.cpu_s / ours.cpu_s, 2),
            "milo_x_realtime": round(audio_s / ours.wall_s, 1),
            "pipeline_x_realtime": round(audio_s / theirs.wall_s, 1),
            "milo_wer": report["wer"],
            "pipeline_wer": wer,
        }
    print(json.dumps({name: value for name, value in found.items() if name != "machine"}, indent=2))
    save("evaluation" + ("_base" if args.random_base else ""), found)


if __name__ == "__main__":
    main()
