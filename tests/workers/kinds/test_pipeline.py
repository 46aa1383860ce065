"""A pipeline through its stages, in this process: the real trainer, the real engine, the small model that ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from milo import recipes
from milo.jobs import Job, NewJob
from milo.kinds.training import EvaluationPayload
from milo.ledger import Ledger
from milo.models import registry
from milo.settings import Settings
from milo.storage.files import Files
from milo.training import evaluations
from milo.training.runs import Run, find
from workers.runner import Runner

STAGES = ["baseline", "train", "judge", "deploy", "summary"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A slice never ends by the clock, however slow the machine is."""
    return settings.model_copy(update={"device": "cpu", "cpu_threads": 1, "slice_s": 3600})


def recipe(**parts: Any) -> dict[str, Any]:
    """A training of one step so small that the model stays what it is."""
    synthetic = {"seed": 1, "count": {"train": 8, "validation": 2, "test": 20}, "speakers": 8}
    training = {"max_steps": 1, "learning_rate": 1e-6, "batch_audio_s": 6, "batch_size": 2, "log_steps": 1, "replay": 0}
    document = {
        "name": "small",
        "task": "whisper",
        "model": "milo-tiny-mg",
        "data": {"source": "synthetic", "synthetic": synthetic},
        "training": training | {"eval_steps": 1, "save_steps": 1},
        "deploy": {"name": "ours"},
    }
    return recipes.check(document | parts).model_dump(mode="json")


def submit(ledger: Ledger, **parts: Any) -> Job:
    new = NewJob(kind="pipeline", payload={"recipe": recipe(**parts)}, owner="ana", priority="background")
    return ledger.create(new)


def run_of(settings: Settings, job: Job) -> Run:
    found = find(settings, job.id)
    assert found is not None
    return found


def stage_by_stage(settings: Settings, ledger: Ledger, job: Job, until: str = "") -> list[str]:
    """Each wake-up on a worker that knows nothing of the ones before. Returns the stages in their order."""
    seen = []
    while not ledger.get(job.id).final and ledger.get(job.id).stage != until:
        seen.append(ledger.get(job.id).stage)
        Runner(settings, ledger, Files(settings), f"w/{len(seen)}").run(job.id)
        assert len(seen) < 50
    return seen


def test_each_stage_may_run_on_another_worker_and_the_end_is_a_summary(settings: Settings, ledger: Ledger) -> None:
    job = submit(ledger)
    assert stage_by_stage(settings, ledger, job) == STAGES
    done = ledger.get(job.id)
    assert done.state == "succeeded" and done.result, done.error
    result = done.result
    assert result["verdict"] == "no difference" and result["chosen"] == "checkpoint-1"
    assert result["deploy"]["deployed"] and result["deploy"]["before"] is None
    assert registry.serving(settings, "ours") == result["deploy"]["version"]
    assert done.models["deployed"] == registry.resolve(settings, "ours").label
    for line in ("before ", "against base: no difference", f"deployed   ours {result['deploy']['version']}"):
        assert line in result["text"]
    folder = run_of(settings, job).path / "pipeline"
    assert (folder / "report.txt").read_text() == result["text"]
    assert json.loads((folder / "report.json").read_text())["deploy"] == result["deploy"]
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "candidates").exists(), "the copies that were judged are swept up"
    served = evaluations.find(settings, result["checkpoints"][0]["report"]["key"]).report()
    assert served and served["model"]["sha256"] == registry.resolve(settings, "ours").sha256, "judged is what serves"


def test_a_checkpoint_has_one_label_and_is_evaluated_once_before_and_after_it_is_made_whole(
    settings: Settings, ledger: Ledger
) -> None:
    job = submit(ledger, deploy=None)
    stage_by_stage(settings, ledger, job, until="judge")
    (checkpoint,) = run_of(settings, job).checkpoints().values()
    given = recipes.check(recipe(deploy=None))
    payload = EvaluationPayload(model=str(checkpoint), data=given.data, evaluation=given.evaluation)
    new = NewJob(kind="evaluation", payload=payload.model_dump(mode="json"), owner="ana", priority="background")
    alone = ledger.create(new)
    Runner(settings, ledger, Files(settings), "w/0").run(alone.id)
    found = ledger.get(alone.id).result
    assert found and found["model"]["path"] == str(checkpoint) and not list((settings.home / "candidates").iterdir())
    before = [one.key for one in evaluations.all_finished(settings)]
    stage_by_stage(settings, ledger, job)
    result = ledger.get(job.id).result
    assert result and result["checkpoints"][0]["report"]["key"] == found["key"]
    assert result["checkpoints"][0]["report"]["model"] == found["model"]["label"]
    assert [one.key for one in evaluations.all_finished(settings)] == before, "it was evaluated twice"


def test_a_pipeline_that_gives_way_at_every_yield_does_nothing_twice(settings: Settings, ledger: Ledger) -> None:
    job = submit(ledger, deploy=None)
    runner = Runner(settings.model_copy(update={"slice_s": 0, "batch_windows": 2}), ledger, Files(settings), "w/0")
    words = []
    while not ledger.get(job.id).final:
        words.append(runner.run(job.id))
    done = ledger.get(job.id)
    assert done.state == "succeeded" and done.result, done.error
    assert words.count("done") == len(STAGES) and words.count("slice ended") > 6
    for key in (done.result["baseline"]["base"]["key"], done.result["checkpoints"][0]["report"]["key"]):
        lines = (evaluations.find(settings, key).path / "rows.jsonl").read_text().splitlines()
        assert len(lines) == 20
    assert [row["step"] for row in run_of(settings, job).metrics() if "train/loss" in row] == [1]
    assert done.result["deploy"] == {"deployed": False, "reason": "the recipe names no place to deploy to"}


def scramble(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    rng = np.random.default_rng(1)
    mixed = {name: rng.permutation(t.ravel()).reshape(t.shape) if t.ndim > 1 else t for name, t in tensors.items()}
    save_file(mixed, folder / "model.safetensors", metadata={"format": "pt"})


def ruin(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.encoder.layer_norm.weight"][:] = np.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("damage", [scramble, ruin])
def test_a_bad_checkpoint_is_refused_and_the_summary_says_why(settings: Settings, ledger: Ledger, damage: Any) -> None:
    registry.deploy(settings, "ours", registry.resolve(settings, "milo-tiny-mg").path)
    before = registry.serving(settings, "ours")
    job = submit(ledger)
    assert stage_by_stage(settings, ledger, job, until="judge") == STAGES[:2]
    damage(run_of(settings, job).path / "checkpoint-1")
    assert stage_by_stage(settings, ledger, job) == STAGES[2:]
    done = ledger.get(job.id)
    assert done.state == "succeeded" and done.result, done.error
    assert not done.result["deploy"]["deployed"] and registry.serving(settings, "ours") == before
    assert f"deployed   no: {done.result['deploy']['reason']}" in done.result["text"]
    if damage is ruin:
        assert done.result["chosen"] is None and "broken" in done.result["checkpoints"][0]
    else:
        assert done.result["verdict"] == "worse"


def test_a_pipeline_without_a_way_to_judge_fails_before_it_trains(settings: Settings, ledger: Ledger) -> None:
    data = recipe()["data"] | {"min_audio_s": 25}
    job = submit(ledger, data=data)
    assert stage_by_stage(settings, ledger, job) == ["baseline"]
    failed = ledger.get(job.id)
    assert failed.state == "failed" and failed.error and failed.error["code"] == "insufficient_data"
    assert not run_of(settings, job).checkpoints()


def test_an_evaluation_is_a_job_whose_result_is_the_report(settings: Settings, ledger: Ledger) -> None:
    payload = {"model": "milo-tiny-mg", "data": recipe()["data"], "evaluation": {"split": "validation"}}
    job = ledger.create(NewJob(kind="evaluation", payload=payload, owner="ana", priority="background"))
    Runner(settings, ledger, Files(settings), "w/0").run(job.id)
    done = ledger.get(job.id)
    assert done.state == "succeeded" and done.result, done.error
    assert done.result["scored"] == 2 and done.audio_s == done.result["audio_s"] > 0
    assert done.models == {"evaluated": done.result["model"]["label"]}
    assert len(evaluations.find(settings, done.result["key"]).rows()) == 2
