"""Whisper fine-tuning: exact however it is interrupted, and it mends what goes wrong on the way."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from milo.recipes import Recipe
from milo.runs import Run
from milo.settings import Settings
from tests.servers import ROOT, environment
from tests.trainer.whisper_runs import losses, make_data, make_model, recipe, run_in
from trainer.whisper import train

HARD = {"max_steps": 7, "gradient_accumulation": 2, "batch_size": 2, "save_steps": 2, "eval_steps": 3}
AUGMENTED = {"augment": {"spec_augment": True, "speed": [0.9, 1.1], "noise_snr_db": [5, 20]}}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def local(home: Path) -> Settings:
    return Settings(home=home / "home", device="cpu", _env_file=None)


@pytest.fixture(scope="module")
def model(home: Path) -> Path:
    return make_model(home / "model")


@pytest.fixture(scope="module")
def source(home: Path) -> Path:
    return make_data(home / "data")


@pytest.fixture(scope="module")
def hard(model: Path, source: Path) -> Recipe:
    return recipe(model, source, **HARD, **AUGMENTED)


@pytest.fixture(scope="module")
def undisturbed(local: Settings, hard: Recipe) -> Run:
    run = run_in(local, "undisturbed")
    finish(local, hard, run)
    return run


def finish(settings: Settings, made: Recipe, run: Run) -> dict[str, Any]:
    steps = train(settings, made, run)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def until(settings: Settings, made: Recipe, run: Run, step: int) -> None:
    """Train up to a step, and close."""
    steps = train(settings, made, run)
    for said in steps:
        if said.step >= step:
            break
    steps.close()


def judged(run: Run) -> list[tuple[int, float, float]]:
    return [(row["step"], row["eval/loss"], row["eval/wer"]) for row in run.metrics() if "eval/wer" in row]


def test_every_step_is_yielded_and_the_run_folder_holds_what_the_conventions_name(undisturbed: Run) -> None:
    assert list(losses(undisturbed)) == [1, 2, 3, 4, 5, 6, 7]
    names = {item.name for item in undisturbed.path.iterdir()}
    assert {"config.yaml", "cmd.txt", "git.json", "env.txt", "dataset.json", "metrics.jsonl", "summary.json"} <= names
    assert {"best", "last", "curves.png", "README.md", "preds", "tensorboard", "checkpoint-6", "checkpoint-7"} <= names
    row = next(row for row in undisturbed.metrics() if row["step"] == 4)
    assert {"train/loss", "perf/audio_s_per_s", "perf/padding_ratio"} <= set(row)
    summary = undisturbed.summary()
    assert (summary["state"], summary["step"], summary["total_steps"]) == ("done", 7, 7)
    assert summary["best"]["metric"] == "eval/wer" and Path(summary["best"]["path"]).is_dir()
    assert (undisturbed.path / "last").resolve().name == "checkpoint-7"
    assert any((undisturbed.path / "tensorboard").iterdir())
    preds = (undisturbed.path / "preds" / "step-3.jsonl").read_text().splitlines()
    assert {"id", "ref", "hyp"} <= set(json.loads(preds[0])) and len(preds) == 4


def test_a_sliced_training_computes_what_an_undisturbed_one_does(
    local: Settings, hard: Recipe, undisturbed: Run
) -> None:
    run = run_in(local, "sliced")
    for said in train(local, hard, run):  # what other engines do to the process meanwhile
        torch.manual_seed(said.step)
        random.seed(said.step)
        np.random.seed(said.step)
        torch.rand(3), random.random(), np.random.rand()
    assert losses(run) == losses(undisturbed)
    assert judged(run) == judged(undisturbed)


@pytest.mark.parametrize("step", [1, 2, 4, 6])
def test_a_training_closed_at_any_step_goes_on_to_the_same_losses(
    local: Settings, hard: Recipe, undisturbed: Run, step: int
) -> None:
    run = run_in(local, f"closed{step}")
    until(local, hard, run, step)
    assert max(losses(run), default=0) < 7
    finish(local, hard, run)
    assert losses(run) == losses(undisturbed)
    assert judged(run) == judged(undisturbed)


def test_a_training_killed_by_sigkill_goes_on_in_another_process_to_the_same_losses(
    local: Settings, hard: Recipe, undisturbed: Run
) -> None:
    run = run_in(local, "killed")
    command = [sys.executable, "-m", "tests.trainer.whisper_runs", str(local.home), hard.model_dump_json(), "killed"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(local), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 5:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    assert not (run.path / "checkpoint-7").exists()
    finish(local, hard, run)
    assert losses(run) == losses(undisturbed)
    assert judged(run) == judged(undisturbed)
