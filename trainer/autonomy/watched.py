"""What is watched: the newest training for speech, which of its models are evaluated, and the jobs that do it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from milo import recipes
from milo.errors import MiloError
from milo.jobs import OPERATOR
from milo.ledger.database import reading
from milo.ledger.schema import jobs
from milo.models import registry
from milo.recipes import Recipe
from milo.settings import Settings
from milo.storage.json_lines import Row
from milo.training import runs
from milo.training.runs import Run

PREFIX = "suite:"
"""How the idempotency keys of the evaluations begin that beat queues for the systems."""


@dataclass(frozen=True)
class Wanted:
    """A model that has to be evaluated on the data of the suite."""

    name: str
    """`checkpoint-200`, or the label of what serves."""
    model: str
    """By what it is evaluated: a folder, or a name of the registry."""
    key: str
    """The idempotency key of its job."""


@dataclass(frozen=True)
class Watched:
    """The training that is watched."""

    run: Run
    recipe: Recipe

    def checkpoints(self) -> list[Wanted]:
        """By step."""
        return [Wanted(path.name, str(path), self._key(path.name)) for path in self.run.checkpoints().values()]

    def serving(self, settings: Settings) -> Wanted:
        """What serves under the name that is deployed to, else the base model."""
        deploy = self.recipe.deploy
        name = deploy.name if deploy and registry.serving(settings, deploy.name) else self.recipe.model
        version = registry.serving(settings, name)
        label = f"{name}@{version}" if version else name
        return Wanted(label, name, self._key(label))

    def _key(self, name: str) -> str:
        return f"{PREFIX}{self.run.id}:{name}"[:255]


def watched(settings: Settings) -> Watched | None:
    """The newest training for speech that has a checkpoint."""
    for run in reversed(runs.all_runs(settings)):
        try:
            recipe = recipes.read(run.path / "config.yaml")
        except MiloError:
            continue
        if recipe.task == "whisper" and run.checkpoints():
            return Watched(run, recipe)
    return None


def jobs_of(engine: Engine, keys: Sequence[str]) -> dict[str, Row]:
    """Idempotency key -> state, result and error of the job."""
    query = select(jobs.c.idempotency_key, jobs.c.state, jobs.c.result, jobs.c.error)
    mine = query.where(jobs.c.owner == OPERATOR, jobs.c.idempotency_key.in_(keys)).order_by(jobs.c.id)
    with reading(engine) as connection:
        return {row.idempotency_key: dict(row._mapping) for row in connection.execute(mine)}


def deploys(engine: Engine) -> list[Row]:
    """What deploys and pipelines have come to, oldest first."""
    columns = (jobs.c.id, jobs.c.kind, jobs.c.state, jobs.c.finished_at, jobs.c.payload, jobs.c.result, jobs.c.error)
    query = select(*columns).where(jobs.c.kind.in_(("deploy", "pipeline")), jobs.c.finished_at.is_not(None))
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(jobs.c.finished_at.desc()).limit(50)).all()
    return [dict(row._mapping) for row in reversed(rows)]


def marker(settings: Settings, engine: Engine, found: Watched) -> str:
    """A hash of all that a look depends on. Cheap: nothing of rows and audio is read."""
    wanted = [*found.checkpoints(), found.serving(settings)]
    states = {key: job["state"] for key, job in jobs_of(engine, [one.key for one in wanted]).items()}
    parts: list[Any] = [found.run.id, [one.key for one in wanted], sorted(states.items())]
    parts.append([job["id"] for job in deploys(engine)])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
