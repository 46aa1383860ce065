"""What a unit of work looks like to the runner. The work of a stage is the function of its name in
`workers.kinds.<kind>`; which kinds and stages there are, `milo.kinds` says.

Work is a generator: between two yields the runner renews leases, publishes progress, stops what was cancelled, and
gives way to work of a higher priority. There are two shapes:

- `single`: `stage(job: RunningJob) -> Generator[Progress, None, Finished | NextStage | RetryLater]`. Its generator
  stays alive in the worker when the job gives way, so going on costs a queue round trip and not a reload.
- `grouped`: `stage(group: Group) -> Iterator[None]` (`workers.group`): several jobs in one engine batch. It finishes
  each by `group.finish(...)`; when it gives way, unfinished jobs go on from what they have saved.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from milo.errors import MiloError
from milo.jobs import Job, Progress
from milo.kinds import KINDS
from milo.ledger import Claim, Ledger
from milo.settings import Settings
from milo.storage.files import Files


@dataclass(frozen=True)
class Finished:
    """The job succeeded. A result with a `file` is already in the store."""

    result: dict[str, Any] | None = None
    file: str | None = None
    audio_s: float | None = None
    models: dict[str, str] = field(default_factory=dict)
    synced: bool = True
    """False: the file still has to be synced. Who waits for the job is told before that."""


@dataclass(frozen=True)
class NextStage:
    """This stage is done; the job goes to the queue of the next one."""

    stage: str
    audio_s: float | None = None


@dataclass(frozen=True)
class RetryLater:
    """Not now: what the job needs is taken. It goes back to its queue and is due again after so many seconds."""

    in_s: float
    why: MiloError | None = None
    """What it waits for, where that is nothing usual: the job carries it meanwhile."""


Outcome = Finished | NextStage | RetryLater
Steps = Generator[Progress, None, Outcome]
"""The work of one job: it stands at a yield between two steps."""


@dataclass
class RunningJob:
    """A job that this worker has claimed: what its work needs, and nothing of Celery."""

    claim: Claim
    settings: Settings
    ledger: Ledger
    files: Files
    progress: Progress | None = None
    cancelled: bool = False
    compute_s: float = 0
    """Engine time spent on this job, its share of shared batches; 0: the time since the claim counts."""
    lets_equals_pass: bool = False
    """Nothing was said yet, and it may take long: after a second it lets pass whoever waits in its own queue."""
    started: float = field(default_factory=time.monotonic)

    def saved(self) -> None:
        """What was done so far is durable: attempts count from here. A job of days may lose more workers than
        `max_attempts`, as long as each of them gets it further."""
        self.claim = self.ledger.saved(self.claim)

    def resume(self, claimed: RunningJob) -> None:
        """Go on under a new claim of the same job: a new slice begins."""
        self.claim, self.started, self.cancelled, self.compute_s = claimed.claim, claimed.started, False, 0.0

    def spent_s(self) -> float:
        return self.compute_s or time.monotonic() - self.started

    @property
    def id(self) -> str:
        return self.claim.job.id

    @property
    def job(self) -> Job:
        return self.claim.job

    @property
    def payload(self) -> Any:
        """The payload as its kind's model."""
        return KINDS[self.job.kind].payload.model_validate(self.job.payload)

    @property
    def work_folder(self) -> Path:
        return self.files.fetch_work(self.id)


@dataclass(frozen=True)
class Work:
    """How one stage of a kind runs. `target` is `module:function`, imported in the worker child on first use."""

    target: str
    grouped: bool = False
    sliced: bool = True

    def load(self) -> Callable[..., Generator[Any, None, Any]]:
        module, name = self.target.split(":")
        function: Callable[..., Generator[Any, None, Any]] = getattr(importlib.import_module(module), name)
        return function


class _Works(dict[tuple[str, str], Work]):
    """The work of (kind, stage): by the table of kinds, unless another was put here."""

    def __missing__(self, kind_and_stage: tuple[str, str]) -> Work:
        kind, name = kind_and_stage
        stage = KINDS[kind].stage(name)
        return Work(f"workers.kinds.{kind}:{name}", stage.grouped, stage.sliced)


WORK = _Works()
