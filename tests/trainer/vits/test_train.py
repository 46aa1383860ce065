"""A tiny VITS learns from a few clips, speaks through the serving engine, and goes on exactly where it was stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from milo.engines.speech.vits import load
from milo.errors import Invalid, MiloError
from milo.models.registry import resolve
from milo.recipes import Recipe, check
from milo.settings import Settings
from milo.training.runs import Run
from tests.milo.engines.speech.vits_models import write_vits
from tests.trainer.vits.voices import SHORT, Speaker, write_voices
from trainer.loop import parking
from trainer.loop.loop import Loop
from trainer.vits import train
from trainer.vits.gan import Diverged, Gan

LOSS = "tts/loss_mel"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voice")
    write_vits(folder / "base", bins=513, resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3, 5]])
    write_voices(folder / "clips", (Speaker("naivo", None, SHORT),))
    return folder


def settings_of(place: Path) -> Settings:
    return Settings(_env_file=None, home=place / "home", device="cpu", offline=True, cpu_threads=1)


def recipe_of(place: Path, **training: Any) -> Recipe:
    options = {"max_steps": 6, "batch_size": 2, "learning_rate": 2e-3, "log_steps": 1, "eval_steps": 4, "save_steps": 2}
    return check(
        {
            "name": "tiny-voice",
            "task": "vits",
            "model": str(place / "base"),
            "data": {"source": str(place / "clips"), "validation_share": 0.2},
            "training": options | training,
        }
    )


def steps_of(place: Path, run: Run, **training: Any) -> Iterator[Any]:
    run.path.mkdir(parents=True, exist_ok=True)
    return train.train(settings_of(place), recipe_of(place, **training), run)


def losses(run: Run) -> list[tuple[int, dict[str, float]]]:
    """Every logged number but times and speeds."""
    return [
        (row["step"], {name: value for name, value in row.items() if name.startswith(("tts/", "eval/", "train/"))})
        for row in run.metrics()
    ]


@pytest.fixture(scope="module")
def whole(place: Path) -> Run:
    """A run that nobody disturbed."""
    run = Run(place / "whole")
    seen = [step.step for step in steps_of(place, run)]
    assert sorted(set(seen)) == list(range(7))
    return run


def test_the_mel_loss_falls_and_the_voice_speaks_through_the_serving_engine(place: Path) -> None:
    run = Run(place / "long")
    for _ in steps_of(place, run, max_steps=18, eval_steps=18, save_steps=18, batch_size=5):
        pass
    mel = [row[LOSS] for step, row in losses(run) if step]
    assert np.mean(mel[-3:]) < 0.87 * np.mean(mel[:3])
    folder = run.path / "last"
    synth = load(settings_of(place), resolve(settings_of(place), str(folder.resolve())))
    # durations of a model this raw can be anything, so the decoder is asked: it must not be silent
    samples = synth.synthesize("misaotra", language="mg")
    assert np.abs(samples).max() > 1e-3


def test_the_result_is_a_stock_folder_with_no_trace_of_training(place: Path, whole: Run) -> None:
    from transformers import VitsModel

    folder = (whole.path / "best").resolve()
    _, info = VitsModel.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    base = {file.name for file in (place / "base").iterdir()}
    assert {file.name for file in folder.iterdir() if file.is_file()} >= base
    assert {file.name for file in (folder / "training").iterdir()} == {
        "generator.safetensors",
        "discriminators.safetensors",
    }
    assert not [file for file in whole.path.rglob("*") if file.suffix in (".pt", ".bin", ".pth", ".pkl")]


def test_a_run_directory_holds_what_it_should(whole: Run) -> None:
    names = {item.name for item in whole.path.iterdir()}
    assert names >= {"config.yaml", "cmd.txt", "git.json", "env.txt", "dataset.json", "metrics.jsonl", "curves.png"}
    assert (whole.path / "samples" / "step-0.wav").stat().st_size > 1000
    assert list(whole.path.glob("tensorboard/events.out.tfevents*"))
    row = whole.metrics()[1]
    assert {f"tts/loss_{name}" for name in ("mel", "kl", "duration", "gen", "disc", "fmaps")} <= set(row)
    summary = whole.summary()
    assert (summary["state"], summary["step"], summary["total_steps"], summary["task"]) == ("done", 6, 6, "vits")
    assert summary["epoch"] == 2 and summary["speed_s_per_step"] > 0 and summary["eta_s"] == 0
    assert summary["best"]["metric"] == "eval/loss_mel"
    assert Path(summary["best"]["path"]).is_dir() and summary["last"]["step"] == 6
    assert set(whole.checkpoints()) == {summary["best"]["step"], 4, 6}


def test_sliced_moved_and_closed_between_any_steps_it_gives_the_same_losses(
    place: Path, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a card both places are RAM; nothing may be lost on the way there and back."""
    moved: list[str] = []

    def move(module: Any, optimizer: Any, device: Any) -> None:
        moved.append(str(device))
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()
        for state in optimizer.state.values():
            state.update({name: value.clone() for name, value in state.items()})

    def offload(self: Loop) -> bool:
        self._move("card")
        self.away = True
        return True

    monkeypatch.setattr(parking, "move", move)
    monkeypatch.setattr(Loop, "offload", offload)
    run = Run(place / "sliced")
    stops = (1, 3, 2)
    for stop in stops:
        steps = steps_of(place, run)
        for _ in range(stop + 1):  # the first is of the base model, or of an evaluation
            next(steps)
            assert parking.offload() and parking.away()
            torch.manual_seed(7)  # other work of the process draws random numbers, too
            np.random.rand(3)
        steps.close()
    for _ in steps_of(place, run):
        pass
    assert losses(run) == losses(whole)
    assert moved.count("card") == 2 * (2 + 4 + 3) and moved.count("cpu") > 6


def test_killed_with_sigkill_it_goes_on_to_the_same_losses(place: Path, whole: Run) -> None:
    run = Run(place / "killed")
    code = (
        "import torch, sys; torch.set_num_threads(1)\n"
        "from pathlib import Path; from milo.training.runs import Run\n"
        "from tests.trainer.vits.test_train import steps_of\n"
        f"for step in steps_of(Path({str(place)!r}), Run(Path({str(run.path)!r}))):\n"
        "    print(step.step, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for line in child.stdout:
            if int(line) == 3:
                child.send_signal(signal.SIGKILL)
                break
    assert child.returncode == -signal.SIGKILL
    assert max(run.checkpoints()) in (2, 4)
    for _ in steps_of(place, run):
        pass
    assert losses(run) == losses(whole)


def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_it_serves(place: Path, whole: Run) -> None:
    run = Run(place / "damaged")
    steps = steps_of(place, run)
    for step in steps:
        if step.step == 5:
            break
    assert max(run.checkpoints()) == 4
    steps.close()
    weights = run.path / "checkpoint-4" / "training" / "generator.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    for _ in steps_of(place, run):
        pass
    assert losses(run) == losses(whole)
    assert [alert["kind"] for alert in run.alerts()] == ["corrupt_checkpoint"]
    assert (run.path / "broken-checkpoint-4").is_dir()


def test_losses_that_are_no_numbers_are_skipped_and_three_in_a_row_go_back_at_half_the_rate(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Gan.step, []

    def step(self: Gan, batches: Any, seed: str, rate: float) -> dict[str, float]:
        calls.append((seed, rate))
        if len(calls) in (2, 4, 5, 6):
            raise Diverged("the loss mel is not a number")
        return real(self, batches, seed, rate)

    monkeypatch.setattr(Gan, "step", step)
    run = Run(place / "bad")
    for _ in steps_of(place, run, eval_steps=100):
        pass
    assert [alert["kind"] for alert in run.alerts()] == ["nan", "nan", "nan", "nan", "nan_rollback"]
    assert "back to step 4" in run.alerts()[-1]["done"] and "wav" in run.alerts()[-1]["ids"][0]
    assert calls[6][1] == pytest.approx(calls[0][1] / 2, rel=1e-3)
    assert run.summary()["step"] == 6


def test_a_micro_batch_that_does_not_fit_the_memory_is_cut_in_two(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, sizes = Gan.step, []

    def step(self: Gan, batches: Any, seed: str, rate: float) -> dict[str, float]:
        sizes.append([len(batch.ids) for batch in batches])
        if max(sizes[-1]) > 1:
            raise torch.cuda.OutOfMemoryError("no memory for 2 clips")
        return real(self, batches, seed, rate)

    monkeypatch.setattr(Gan, "step", step)
    run = Run(place / "full")
    for _ in steps_of(place, run, max_steps=2):
        pass
    assert [2] in sizes and [1, 1] in sizes and run.summary()["step"] == 2
    assert [alert["kind"] for alert in run.alerts()] == ["out_of_memory"]


def test_a_training_that_gives_no_numbers_whatever_is_tried_ends_with_a_reason(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: Gan, batches: Any, seed: str, rate: float) -> dict[str, float]:
        raise Diverged("the loss kl is not a number")

    monkeypatch.setattr(Gan, "step", step)
    with pytest.raises(MiloError, match="learning rate") as caught:
        list(steps_of(place, Run(place / "hopeless"), max_steps=50))
    assert caught.value.code == "training_nan"


def test_what_a_voice_has_no_use_for_is_refused_before_it_is_queued(place: Path) -> None:
    with pytest.raises(Invalid, match="training.lora does nothing for task vits"):
        recipe_of(place, lora={"rank": 4})


def test_many_speakers_are_refused_for_a_model_with_one_voice(place: Path, tmp_path: Path) -> None:
    two = (Speaker("naivo", None, SHORT[:3]), Speaker("lala", "f2", SHORT[3:]))
    data = {"source": str(write_voices(tmp_path / "two", two))}
    recipe = recipe_of(place).model_dump(mode="json") | {"data": data}
    with pytest.raises(Invalid, match="tts-data"):
        next(train.train(settings_of(place), check(recipe), Run(tmp_path / "run")))


def test_mixed_precision_and_several_voices_train_too(place: Path, tmp_path: Path) -> None:
    base = write_vits(tmp_path / "two-voices", bins=513, speakers=2, use_stochastic_duration_prediction=False)
    two = (Speaker("naivo", None, SHORT[:3]), Speaker("lala", "f2", SHORT[3:]))
    recipe = recipe_of(place, precision="bf16", max_steps=2, gradient_accumulation=2).model_dump(mode="json")
    recipe |= {"model": str(base), "data": {"source": str(write_voices(tmp_path / "two", two))}}
    run = Run(tmp_path / "run")
    for _ in train.train(settings_of(place), check(recipe), run):
        pass
    assert all(np.isfinite(row[LOSS]) for step, row in losses(run) if step) and len(losses(run)) == 3
    state = json.loads((run.path / "last" / "trainer_state.json").read_text())
    assert state["global_step"] == 2
