"""Whisper fine-tuning: exact however it is interrupted, and it mends what goes wrong on the way."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from milo.errors import Invalid, MiloError, ModelUnavailable
from milo.models.registry import deploy
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training.runs import Run
from tests.support.servers import ROOT, environment
from tests.trainer.whisper.whisper_runs import losses, make_data, make_model, recipe, run_in
from trainer.loop import parking
from trainer.loop.guards import Fixes, LossGuard, RollBack
from trainer.whisper import hf_trainer
from trainer.whisper.train import train

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
    assert {"id", "ref", "hyp"} <= set(json.loads(preds[0])) and len(preds) == 2


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


@pytest.mark.parametrize("step", [1, 5])
def test_a_training_closed_at_any_step_goes_on_to_the_same_losses(
    local: Settings, hard: Recipe, undisturbed: Run, step: int
) -> None:
    run = run_in(local, f"closed{step}")
    until(local, hard, run, step)
    assert max(losses(run), default=0) < 7
    saved = list(run.checkpoints())
    assert saved == ([2, 3, 4] if step == 5 else [])
    said = [each.step for each in train(local, hard, run) if each.step]
    assert min(said) == max(saved, default=1), "it begins where its checkpoint is and not before"
    assert losses(run) == losses(undisturbed)
    assert judged(run) == judged(undisturbed)


@pytest.mark.timeout(600)
def test_a_training_killed_by_sigkill_goes_on_in_another_process_to_the_same_losses(
    local: Settings, hard: Recipe, undisturbed: Run
) -> None:
    run = run_in(local, "killed")
    command = [
        sys.executable,
        "-m",
        "tests.trainer.whisper.whisper_runs",
        str(local.home),
        hard.model_dump_json(),
        "killed",
    ]
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


@pytest.mark.parametrize("damage", ["weights cut", "optimizer changed"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(
    local: Settings, hard: Recipe, undisturbed: Run, damage: str
) -> None:
    run = run_in(local, f"damaged-{damage.replace(' ', '-')}")
    shutil.copytree(undisturbed.path, run.path, symlinks=True, dirs_exist_ok=True)
    for step in (6, 7):
        shutil.rmtree(run.path / f"checkpoint-{step}")
    file = run.path / "checkpoint-4" / ("model.safetensors" if damage == "weights cut" else "optimizer.pt")

    if damage == "optimizer changed":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 255
        file.write_bytes(content)
    else:
        file.write_bytes(file.read_bytes()[:-1000])
    finish(local, hard, run)
    assert losses(run) == losses(undisturbed)
    alert = next(alert for alert in run.alerts() if alert["kind"] == "corrupt_checkpoint")
    assert "checkpoint-4" in alert["seen"] and "the one before is used" in alert["done"]
    assert (run.path / "broken-checkpoint-4").is_dir() and (run.path / "checkpoint-4" / "model.safetensors").is_file()


def test_a_checkpoint_of_stock_seq2seqtrainer_resumes_at_its_step(
    local: Settings, model: Path, source: Path, home: Path
) -> None:
    checkpoint = stock_checkpoint(local, model, source, home / "elsewhere")
    made = recipe(model, source, max_steps=6).model_copy(update={"resume": str(checkpoint)})
    run = run_in(local, "from-stock")
    finish(local, made, run)
    assert list(losses(run)) == [4, 5, 6]
    state = json.loads((run.path / "checkpoint-6" / "trainer_state.json").read_text())
    assert state["global_step"] == 6 and state["log_history"][0]["step"] == 1
    optimizer = torch.load(run.path / "checkpoint-6" / "optimizer.pt", weights_only=True)
    assert {int(one["step"]) for one in optimizer["state"].values()} == {6}
    assert run.summary()["best"]["value"] > 0.05  # the stock run's own `eval_wer` was another measure


def test_a_checkpoint_written_here_resumes_in_stock_seq2seqtrainer(
    local: Settings, model: Path, source: Path, home: Path, undisturbed: Run
) -> None:
    trainer = stock_trainer(local, model, source, home / "there", max_steps=9)
    trainer.args.ignore_data_skip = True
    trainer.train(resume_from_checkpoint=str(undisturbed.path / "checkpoint-7"))
    assert trainer.state.global_step == 9


def stock_trainer(settings: Settings, model: Path, source: Path, out: Path, max_steps: int) -> Any:
    """Seq2SeqTrainer as the usual recipe for Whisper has it: 30 s windows, labels padded."""
    from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, WhisperForConditionalGeneration

    from milo.engines.whisper.checkpoint import load_checkpoint
    from milo.engines.whisper.features import log_mel
    from milo.models.registry import resolve
    from milo.recipes import Data
    from trainer.data.load import load
    from trainer.whisper.features import Labels, stacked

    labels = Labels(load_checkpoint(settings, resolve(settings, str(model))), "mg")
    items = load(settings, Data(source=str(source)), "train")

    def collate(rows: list[Any]) -> dict[str, torch.Tensor]:
        features = np.stack([log_mel(row.audio(), 3000, 80) for row in rows])
        return {"input_features": torch.from_numpy(features), "labels": stacked([labels(row.text) for row in rows])}

    return Seq2SeqTrainer(
        model=WhisperForConditionalGeneration.from_pretrained(model),
        args=Seq2SeqTrainingArguments(
            output_dir=str(out),
            max_steps=max_steps,
            save_steps=3,
            logging_steps=1,
            per_device_train_batch_size=2,
            remove_unused_columns=False,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=items.items,
        data_collator=collate,
    )


def stock_checkpoint(settings: Settings, model: Path, source: Path, out: Path) -> Path:
    """checkpoint-3 of a training that Milo had no part in, which was judged by a measure of its own."""
    trainer = stock_trainer(settings, model, source, out, 3)
    trainer.train()
    path = out / "checkpoint-3" / "trainer_state.json"
    state = json.loads(path.read_text())
    state["log_history"].append({"step": 3, "eval_wer": 0.001})
    state |= {"best_metric": 0.001, "best_global_step": 3, "save_steps": 1000, "eval_steps": 1000}
    path.write_text(json.dumps(state))
    return out / "checkpoint-3"


def test_resuming_from_what_is_no_checkpoint_says_what_is_missing(local: Settings, model: Path, source: Path) -> None:
    made = recipe(model, source).model_copy(update={"resume": str(model)})
    run = run_in(local, "no-checkpoint")
    with pytest.raises(Invalid, match=r"resume: .* trainer_state.json is missing"):
        finish(local, made, run)
    assert run.summary()["state"] == "failed" and "resume" in run.summary()["error"]


# --- what is mended ---


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
    """Let the loss of each micro-batch pass through `change(trainer, loss)`."""
    stock = hf_trainer.WhisperTrainer.compute_loss

    def compute(self: Any, *args: Any, **kwargs: Any) -> Any:
        return change(self, stock(self, *args, **kwargs))

    monkeypatch.setattr(hf_trainer.WhisperTrainer, "compute_loss", compute)


def test_a_batch_whose_loss_is_no_number_is_skipped_and_named(
    local: Settings, model: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda trainer, loss: loss * float("nan") if trainer.state.global_step == 2 else loss)
    run = run_in(local, "one-nan")
    finish(local, recipe(model, source), run)
    (alert,) = run.alerts()
    assert (alert["kind"], alert["step"]) == ("nan", 3) and all(name.endswith(".wav") for name in alert["ids"])
    assert run.summary()["state"] == "done" and 3 not in {s for s in losses(run) if not np.isfinite(losses(run)[s])}
    before, after = (load_file(run.path / f"checkpoint-{step}" / "model.safetensors") for step in (2, 3))
    assert all(torch.equal(before[name], after[name]) for name in before), "the skipped step changed the weights"


def test_three_losses_in_a_row_that_are_no_numbers_go_back_with_half_the_learning_rate(
    local: Settings, model: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def change(trainer: Any, loss: torch.Tensor) -> torch.Tensor:
        step = trainer.state.global_step + 1
        seen.append(step)
        return loss * float("nan") if step in (3, 4, 5) and seen.count(step) == 1 else loss

    spoil(monkeypatch, change)
    run = run_in(local, "three-nan")
    finish(local, recipe(model, source, scheduler="constant", eval_steps=6), run)
    back = next(alert for alert in run.alerts() if alert["kind"] == "nan_rollback")
    assert "back to step 4" in back["done"] and len(back["ids"]) >= 3
    rates = {row["step"]: row["train/learning_rate"] for row in run.metrics() if "train/learning_rate" in row}
    assert rates[4] == 1e-3 and rates[5] == rates[6] == 5e-4
    assert seen.count(5) == 2 and run.summary()["state"] == "done"


def test_a_loss_that_never_becomes_a_number_fails_after_three_fixes_with_a_sentence(
    local: Settings, model: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda trainer, loss: loss * float("nan"))
    run = run_in(local, "always-nan")
    with pytest.raises(MiloError, match=r"mended 3 times already; .*lower the learning rate") as caught:
        finish(local, recipe(model, source, save_steps=100, eval_steps=100), run)
    assert caught.value.code == "training_nan" and not caught.value.retryable
    assert [alert["kind"] for alert in run.alerts()].count("nan_rollback") == 3


def test_a_spike_of_three_steps_goes_back_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    guard = LossGuard(Fixes.of(run), [1.0] * 30, good_step=20)
    for step, loss in enumerate([6.0, 7.0, 1.1, 6.0, 6.0], 31):
        guard.check(step, loss, [f"{step}.wav"])
    with pytest.raises(RollBack, match="over 5 times its median of 1 for 3 steps up to 36"):
        guard.check(36, 6.0, ["36.wav"])
    assert Fixes.of(run).halved_at == [20] and Fixes.of(run).rate(19) == 1 and Fixes.of(run).rate(20) == 0.5
    (alert,) = run.alerts()
    assert alert["kind"] == "spike_rollback" and alert["ids"] == ["34.wav", "35.wav", "36.wav"]


def test_out_of_memory_halves_the_micro_batch_and_the_update_stays_the_same(
    local: Settings, home: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = make_model(home / "calm", dropout=0.0)
    plain, small = run_in(local, "roomy"), run_in(local, "cramped")
    options = {"gradient_accumulation": 2, "batch_size": 4, "max_steps": 4}
    finish(local, recipe(calm, source, **options), plain)
    stock = hf_trainer.WhisperTrainer.compute_loss

    def compute(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if len(inputs["labels"]) > 2 and self.state.global_step >= 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return stock(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(hf_trainer.WhisperTrainer, "compute_loss", compute)
    finish(local, recipe(calm, source, **options), small)
    (alert,) = small.alerts()
    assert alert["kind"] == "out_of_memory" and "in 2 parts" in alert["done"]
    assert losses(small) == pytest.approx(losses(plain), rel=1e-4)


def test_memory_that_is_never_enough_fails_with_a_sentence(
    local: Settings, model: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(trainer: Any, loss: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    spoil(monkeypatch, full)
    with pytest.raises(MiloError, match="out of memory at step 1, and that was mended 3 times already"):
        finish(local, recipe(model, source), run_in(local, "full"))


# --- options ---


def test_lora_trains_adapters_alone_and_leaves_a_whole_model(local: Settings, model: Path, source: Path) -> None:
    run = run_in(local, "lora")
    options: dict[str, Any] = {"lora": {"rank": 2}, "gradient_checkpointing": True, "max_steps": 3}
    until(local, recipe(model, source, **options), run, 2)
    finish(local, recipe(model, source, **options), run)
    best = Path(run.summary()["best"]["path"])
    assert best.name.startswith("merged-") and (best / "tokenizer.json").is_file()
    base, made = load_file(model / "model.safetensors"), load_file(best / "model.safetensors")
    changed = {name for name in base if name in made and not torch.equal(base[name], made[name])}
    assert changed and all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in changed)
    assert (run.path / "checkpoint-3" / "adapter_model.safetensors").is_file()


def test_a_frozen_encoder_stays_as_it_was(local: Settings, model: Path, source: Path) -> None:
    run = run_in(local, "frozen")
    finish(local, recipe(model, source, freeze_encoder=True, max_steps=2, precision="bf16", pack=True), run)
    base, made = load_file(model / "model.safetensors"), load_file(run.path / "last" / "model.safetensors")
    assert all(torch.equal(base[name], made[name]) for name in base if ".encoder." in name)
    assert any(not torch.equal(base[name], made[name]) for name in base if ".decoder." in name)


def test_early_stop_ends_a_training_that_gets_no_better(local: Settings, model: Path, source: Path) -> None:
    run = run_in(local, "early")
    options = {"max_steps": 30, "eval_steps": 1, "early_stop": 2, "learning_rate": 1e-8, "save_steps": 100}
    finish(local, recipe(model, source, **options, keep_last=1), run)
    summary = run.summary()
    assert summary["step"] == 3 and summary["best"]["step"] == 1 and summary["last"]["step"] == 3
    assert list(run.checkpoints()) == [1, 3]


def test_old_checkpoints_go_and_the_best_and_the_last_ones_stay(local: Settings, model: Path, source: Path) -> None:
    run = run_in(local, "pruned")
    finish(local, recipe(model, source, max_steps=6, save_steps=1, eval_steps=2, keep_best=1, keep_last=2), run)
    best = run.summary()["best"]["step"]
    assert list(run.checkpoints()) == sorted({best, 5, 6})


def test_a_tracker_that_fails_stops_nothing(
    local: Settings, model: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", broken)
    run = run_in(local, "trackerless")
    finish(local, recipe(model, source, max_steps=2), run)
    (alert,) = run.alerts()
    assert alert["kind"] == "tracker" and "no space left" in alert["seen"]
    assert list(losses(run)) == [1, 2]


def test_an_undisturbed_step_equals_stock_seq2seqtrainer_where_windows_are_30_s(
    local: Settings, home: Path, source: Path
) -> None:
    stock = home / "stock"
    make_model(stock, dropout=0.0)
    config = json.loads((stock / "config.json").read_text())
    del config["milo"]
    (stock / "config.json").write_text(json.dumps(config))
    made = recipe(stock, source, batch_size=24, batch_audio_s=10_000, max_steps=2, eval_steps=2)
    run = run_in(local, "thirty")
    finish(local, made, run)
    trainer = stock_trainer(local, stock, source, home / "theirs", max_steps=2)
    trainer.args.per_device_train_batch_size = trainer._train_batch_size = 24
    trainer.args.learning_rate = 1e-3
    trainer.train()
    theirs = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert list(losses(run).values()) == pytest.approx(theirs, rel=1e-4)
    assert next(row for row in run.metrics())["perf/padding_ratio"] > 0.9


def test_a_training_that_leaves_the_card_at_every_step_computes_the_same(
    local: Settings, hard: Recipe, undisturbed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a card both places are RAM; what is tested is that nothing is lost on the way there and back."""
    moved: list[str] = []
    stock = parking.move

    def move(model: Any, optimizer: Any, device: Any) -> None:
        moved.append(str(device))
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        for state in optimizer.state.values():
            state.update({name: value.clone() for name, value in state.items() if torch.is_tensor(value)})
        stock(model, optimizer, device)

    def offload(self: Any) -> bool:
        move(self.model, self.optimizer, "cpu")
        self.away = True
        return True

    monkeypatch.setattr(parking, "move", move)
    monkeypatch.setattr(hf_trainer.WhisperTrainer, "offload", offload)
    run = run_in(local, "moved")
    for said in train(local, hard, run):
        if said.step:
            assert parking.offload() or said.step == 7
            assert parking.away() or said.step == 7
    assert losses(run) == losses(undisturbed) and len(moved) > 14


def test_out_of_memory_asks_the_neighbours_before_it_cuts_the_batch(
    local: Settings, model: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowded = [True]

    def full(trainer: Any, loss: torch.Tensor) -> torch.Tensor:
        if crowded[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return loss

    def give_back() -> bool:
        crowded[0] = False
        return True

    spoil(monkeypatch, full)
    run = run_in(local, "crowded")
    with parking.beside(give_back):
        finish(local, recipe(model, source, max_steps=2), run)
    assert run.alerts() == [] and list(losses(run)) == [1, 2]


def test_a_run_keeps_the_version_of_its_base_it_began_with(local: Settings, home: Path, source: Path) -> None:
    deploy(local, "speech", make_model(home / "one", seed=1))
    made = recipe(Path("speech"), source, max_steps=3, save_steps=1)
    whole, cut = run_in(local, "kept-whole"), run_in(local, "kept-cut")
    finish(local, made, whole)
    until(local, made, cut, 1)
    deploy(local, "speech", make_model(home / "two", seed=2))
    shutil.rmtree(cut.path / "checkpoint-1")
    finish(local, made, cut)
    assert losses(cut) == losses(whole)
    changed = run_in(local, "changed")
    folder = recipe(make_model(home / "three"), source, max_steps=3)
    until(local, folder, changed, 1)
    make_model(home / "three", seed=5)
    with pytest.raises(ModelUnavailable, match="its files have been changed; begin a new run"):
        finish(local, folder, changed)
