"""Trainings and what belongs to them: evaluations, pipelines and deploys."""

from __future__ import annotations

from milo.jobs import Frozen
from milo.kinds.kind import Kind, Stage
from milo.recipes import Data, Evaluation, Recipe, Task


class TrainingPayload(Frozen):
    """One training, by its recipe."""

    recipe: Recipe
    name: str | None = None
    """What people call it: the recipe's name."""
    data_read_as: str | None = None
    """What its data was taken for when it was submitted: from which columns, and what is checked only later."""


class EvaluationPayload(Frozen):
    """One model judged on one split of one data set."""

    model: str
    data: Data
    task: Task = "whisper"
    evaluation: Evaluation = Evaluation()
    name: str | None = None


class PipelinePayload(Frozen):
    """Baseline, training, evaluation of the best checkpoint, comparison, gated deploy, summary."""

    recipe: Recipe
    name: str | None = None
    data_read_as: str | None = None


class DeployPayload(Frozen):
    """A folder that shall serve under a name, if the gates let it pass (`trainer.deploy.gated`)."""

    model: str
    """Name in the registry."""
    path: str
    """A checkpoint, or any model folder."""
    base: str | None = None
    """The model it was trained from: what the folder lacks comes from there."""
    task: Task = "whisper"
    data: Data | None = None
    """What it is judged on against what serves. None: it is only tried out."""
    evaluation: Evaluation = Evaluation()
    half: bool = False
    """Store the weights in float16."""
    margin: float | None = None
    """How much worse than what serves it may be; None: MILO_DEPLOY_MARGIN."""
    called: str = ""
    """What its data is called in the guard of `model`; empty: after the source."""
    name: str | None = None


class SystemPayload(Frozen):
    """One look of one of the systems that watch trainings."""

    system: str
    name: str | None = None


TRAINING = Kind("training", TrainingPayload, (Stage("train"),))
EVALUATION = Kind("evaluation", EvaluationPayload, (Stage("evaluate"),))
PIPELINE = Kind(
    "pipeline",
    PipelinePayload,
    (Stage("baseline"), Stage("train"), Stage("judge"), Stage("deploy"), Stage("summary", pool="cpu")),
)
DEPLOY = Kind("deploy", DeployPayload, (Stage("deploy"),))
SYSTEM = Kind("system", SystemPayload, (Stage("look", pool="cpu"),))
