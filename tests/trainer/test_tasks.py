"""The table of the ways of training: its rows lead somewhere, and one more is a row and a package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from milo import recipes
from milo.errors import Invalid
from milo.recipes import TaskRules
from milo.settings import Settings
from milo.training import runs
from trainer import tasks
from trainer.deploy.gated import smoke_of
from trainer.deploy.smoke import Smoke
from trainer.evaluation.evaluate import method_of
from trainer.evaluation.plan import Method
from trainer.tasks import TaskParts

ECHO = """
from pathlib import Path

from trainer.deploy.smoke import Smoke
from trainer.loop.step import Step


def train(settings, recipe, run):
    for step in range(1, recipe.training.max_steps + 1):
        run.log(step, **{"train/loss": 1 / step})
        yield Step(step, recipe.training.max_steps)
    run.summarise(state="done", step=step)
    return run.summary()


SMOKE = Smoke(lambda settings, candidate, model, engines: [model])
"""


def document(task: str) -> dict[str, object]:
    return {
        "name": "one",
        "task": task,
        "model": "base",
        "data": {"source": "synthetic"},
        "training": {"max_steps": 3},
    }


@pytest.mark.parametrize("task", tasks.TASKS)
def test_every_row_leads_to_parts_of_the_right_kind(task: str) -> None:
    assert callable(tasks.trainer_of(task)) and isinstance(smoke_of(task), Smoke)
    if recipes.TASKS[task].no_error_rate:
        with pytest.raises(Invalid, match=recipes.TASKS[task].no_error_rate):
            method_of(task)
    else:
        assert isinstance(method_of(task), Method)


def test_recipes_and_trainers_know_the_same_tasks() -> None:
    assert recipes.TASKS.keys() == tasks.TASKS.keys()
    for task, parts in tasks.TASKS.items():
        assert bool(parts.evaluate) != bool(recipes.TASKS[task].no_error_rate), task


def test_an_unknown_task_is_named_with_those_there_are() -> None:
    with pytest.raises(Invalid, match="task: Input should be 'whisper', 'vits' or 'nllb', not 'echo'"):
        recipes.check(document("echo"))


def test_a_way_of_training_is_a_package_and_its_rows(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "echo_training").mkdir()
    (tmp_path / "echo_training" / "__init__.py").write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(tasks.TASKS, "echo", TaskParts("echo_training:train", "echo_training:SMOKE", None))
    monkeypatch.setitem(recipes.TASKS, "echo", TaskRules("echo", no_error_rate="an echo has no errors"))
    recipe = recipes.check(document("echo"))
    run = runs.folder_for(settings, recipe.name, "job_1", 0)
    try:
        steps = tasks.trainer_of(recipe.task)(settings, recipe, run)
        assert [step.step for step in steps] == [1, 2, 3]
        assert run.summary()["state"] == "done" and len(run.metrics()) == 3
        assert isinstance(smoke_of("echo"), Smoke)
        with pytest.raises(Invalid, match="an echo has no errors"):
            method_of("echo")
    finally:
        sys.modules.pop("echo_training", None)
