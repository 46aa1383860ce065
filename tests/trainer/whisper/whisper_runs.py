"""Small trainings for tests: a random Whisper, a few seconds of noise that somebody is said to speak."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from milo import recipes
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training import runs
from milo.training.runs import Run

WORDS = "manao ahoana tompoko roa amby folo misaotra betsaka veloma vary iray kilao tsena andro".split()


def make_model(folder: Path, dropout: float = 0.1, **options: Any) -> Path:
    """A random Whisper with dropout, so that the random states matter."""
    from tests.milo.engines.whisper.whisper_models import make_checkpoint

    settings: dict[str, Any] = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
    make_checkpoint(folder, milo={"min_window_s": 1.0, "pack_window_s": 4.0}, **{**settings, **options})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "dropout": dropout}), encoding="utf-8")
    return folder


def make_data(folder: Path, count: int = 24, held_out: int = 2) -> Path:
    """metadata.csv with a split column, wav files of 0.5 to 2 s beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lines = ["file_name,text,speaker,split"]
    for number in range(count + held_out):
        audio = rng.standard_normal(int(rng.uniform(0.5, 2) * 16_000)) * 0.1
        soundfile.write(folder / f"{number:03}.wav", audio, 16_000)
        text = " ".join(rng.choice(WORDS, 3))
        lines.append(f"{number:03}.wav,{text},s{number % 3},{'train' if number < count else 'validation'}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def recipe(model: Path, source: Path, **training: Any) -> Recipe:
    schedule: dict[str, Any] = {"max_steps": 6, "batch_audio_s": 8, "batch_size": 4, "learning_rate": 1e-3}
    schedule |= {"log_steps": 1, "eval_steps": 3, "save_steps": 2, "keep_last": 10}
    document = {"name": "small", "task": "whisper", "model": str(model), "data": {"source": str(source)}}
    return recipes.check({**document, "training": {**schedule, **training}})


def run_in(settings: Settings, name: str) -> Run:
    return runs.folder_for(settings, "small", name, 0)


def losses(run: Run) -> dict[int, float]:
    return {row["step"]: row["train/loss"] for row in run.metrics() if "train/loss" in row}


def main() -> None:
    """`python -m tests.trainer.whisper.whisper_runs HOME RECIPE.json JOB`: train, saying each step on stdout."""
    import torch

    from trainer.whisper.train import train

    torch.set_num_threads(1)
    home, document, name = sys.argv[1:]
    settings = Settings(home=Path(home), device="cpu", _env_file=None)
    made = recipes.check(json.loads(document))
    for step in train(settings, made, run_in(settings, name)):
        sys.stdout.write(f"{step.step}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
