"""Whisper fine-tuning: what slicing costs, and audio per second against stock Seq2SeqTrainer padding to 30 s.

    python -m benchmarks.training [--steps 40] [--model milo-tiny-mg] [--slice-s 5] [--device cpu]

Same model, same synthetic data, same number of examples in a batch, one process, one after the other. Slicing: the
training as a job through the real runner and ledger (no other work in the queue), in one piece and in slices, in
alternation; judging and saving are left out of both. Times are of training steps alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import machine, save
from milo import recipes
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.models import registry
from milo.queue.celery import configure
from milo.recipes import Recipe
from milo.settings import Settings
from milo.stack.redis_server import find_redis_server
from milo.storage.files import Files
from milo.training import runs

WARM_UP = 3
"""Steps left out of every measure."""


def recipe_of(model: str, steps: int, batch: int) -> Recipe:
    count = {"train": 240, "validation": 2, "test": 2}
    schedule = {"max_steps": steps, "batch_size": batch, "batch_audio_s": 1e6, "log_steps": 1, "learning_rate": 1e-5}
    schedule |= {"eval_steps": 10**6, "save_steps": 10**6}
    data = {"source": "synthetic", "synthetic": {"count": count}}
    return recipes.check({"name": "bench", "task": "whisper", "model": model, "data": data, "training": schedule})


def as_job(settings: Settings, ledger: Ledger, recipe: Recipe, slice_s: float) -> dict[str, float]:
    """One training through the runner: seconds of its steps, what its slices took, how many there were."""
    from workers.runner import Runner

    runner = Runner(settings.model_copy(update={"slice_s": slice_s}), ledger, Files(settings), "bench/0")
    payload = {"recipe": recipe.model_dump(mode="json"), "name": recipe.name}
    job = ledger.create(NewJob(kind="training", payload=payload, owner="bench", priority="background"))
    began = None
    while not ledger.get(job.id).final:
        runner.run(job.id)
    run = runs.find(settings, job.id)
    assert run is not None
    rows = [row for row in run.metrics() if "train/loss" in row and row["step"] > WARM_UP]
    began, ended = rows[0]["time"], rows[-1]["time"]
    spent = sum(row["perf/step_s"] for row in rows[1:])
    return {"wall_s": ended - began, "steps_s": spent, "slices": ledger.get(job.id).slices, **_pace(rows)}


def _pace(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "audio_s_per_s": statistics.median(row["perf/audio_s_per_s"] for row in rows),
        "padding_ratio": statistics.mean(row["perf/padding_ratio"] for row in rows),
    }


def stock(settings: Settings, recipe: Recipe, steps: int) -> dict[str, float]:
    """Seq2SeqTrainer as the usual recipe for Whisper has it: random order, every window padded to 30 s."""
    import numpy as np
    import torch
    from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback, WhisperForConditionalGeneration

    from milo.engines.whisper.checkpoint import load_checkpoint
    from milo.engines.whisper.features import log_mel
    from trainer.data.load import load
    from trainer.whisper.features import Labels, stacked

    base = registry.resolve(settings, recipe.model)
    checkpoint = load_checkpoint(settings, base)
    labels = Labels(checkpoint, recipe.data.language)
    items = load(settings, recipe.data, "train")
    seen: list[float] = []
    ends: list[float] = []

    def collate(rows: list[Any]) -> dict[str, Any]:
        seen.append(sum(row.duration_s for row in rows))
        features = np.stack([log_mel(row.audio(), 3000, checkpoint.n_mels) for row in rows])
        return {"input_features": torch.from_numpy(features), "labels": stacked([labels(row.text) for row in rows])}

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as out:
        arguments = Seq2SeqTrainingArguments(
            output_dir=out,
            max_steps=steps,
            per_device_train_batch_size=recipe.training.batch_size,
            learning_rate=recipe.training.learning_rate,
            save_strategy="no",
            remove_unused_columns=False,
            report_to="none",
            disable_tqdm=True,
            use_cpu=settings.device == "cpu",
        )
        model = WhisperForConditionalGeneration.from_pretrained(str(base.path), dtype=torch.float32)
        trainer = Seq2SeqTrainer(
            model=model, args=arguments, train_dataset=items.items, data_collator=collate, callbacks=[Watch()]
        )
        trainer.train()
    audio_s = sum(seen[WARM_UP : len(ends)])
    padded_s = 30.0 * recipe.training.batch_size * (len(ends) - WARM_UP)
    rate = audio_s / (ends[-1] - ends[WARM_UP - 1])
    return {"audio_s_per_s": rate, "padding_ratio": 1 - audio_s / padded_s}


def measure(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    ledger = Ledger.open(settings)
    recipe = recipe_of(arguments.model, arguments.steps, arguments.batch)
    whole, sliced = [], []
    for _ in range(arguments.rounds):
        whole.append(as_job(settings, ledger, recipe, 1e9))
        sliced.append(as_job(settings, ledger, recipe, arguments.slice_s))
    theirs = stock(settings, recipe, min(arguments.steps, arguments.stock_steps))
    plain = statistics.median(one["wall_s"] for one in whole)
    cut = statistics.median(one["wall_s"] for one in sliced)
    return {
        "slicing_cost_percent": 100 * (cut / plain - 1),
        "slices": sliced[-1]["slices"],
        "whole_s": plain,
        "sliced_s": cut,
        "milo": {name: statistics.median(one[name] for one in whole) for name in ("audio_s_per_s", "padding_ratio")},
        "stock": theirs,
        "ratio": statistics.median(one["audio_s_per_s"] for one in whole) / theirs["audio_s_per_s"],
    }


def main() -> None:
    import subprocess

    from milo.stack.ports import free_port

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--stock-steps", type=int, default=12, help="steps of the stock trainer, which is slower")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--model", default="milo-tiny-mg")
    parser.add_argument("--slice-s", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda", "auto"), default="auto")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [find_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        url = f"redis://127.0.0.1:{port}/0"
        settings = Settings(home=Path(folder) / "home", redis_url=url, device=arguments.device, _env_file=None)
        try:
            configure(settings)
            found = measure(arguments, settings)
        finally:
            redis.terminate()
            redis.wait()
    save("training", {"machine": machine(), "arguments": vars(arguments), **found})
    print(found)


if __name__ == "__main__":
    main()
