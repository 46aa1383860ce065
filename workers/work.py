"""What a unit of work looks like to the runner, and the table of them.

Work is a generator: between two yields the runner renews leases, publishes progress, stops what was cancelled, and
gives way to work of a higher priority. There are two shapes:

- `single`: `run(job: RunningJob) -> Generator[Progress, None, Finished | NextStage | RetryLater]`. Its generator stays
  alive in the worker when the job gives way, so going on costs a queue round trip and not a reload.
- `grouped`: `run(group: Group) -> Iterator[None]` (`workers.group`): several jobs in one engine batch. It finishes
  each by `group.finish(...)`; when it gives way, unfinished jobs go on from what they have saved.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from milo.jobs import KINDS, Job, Progress
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


@dataclass(frozen=True)
class NextStage:
    """This stage is done; the job goes to the queue of the next one."""

    stage: str
    audio_s: float | None = None


@dataclass(frozen=True)
class RetryLater:
    """Not now: what the job needs is taken. It goes back to its queue and is due again after so many seconds."""

    in_s: float


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
    """False for work that is bounded and gains nothing from being cut up (decoding one file)."""

    def load(self) -> Callable[..., Generator[Any, None, Any]]:
        module, name = self.target.split(":")
        function: Callable[..., Generator[Any, None, Any]] = getattr(importlib.import_module(module), name)
        return function


WORK: dict[tuple[str, str], Work] = {
    ("stt", "decode"): Work("workers.kinds.decode:run", sliced=False),
    ("stt", "transcribe"): Work("workers.kinds.transcribe:run", grouped=True),
    ("tts", "speak"): Work("workers.kinds.speak:run"),
    ("translate", "translate"): Work("workers.kinds.translate:run", grouped=True),
    ("chat", "chat"): Work("workers.kinds.chat:run"),
    ("converse", "converse"): Work("workers.kinds.converse:run"),
    ("training", "train"): Work("workers.kinds.train:run"),
    ("evaluation", "evaluate"): Work("workers.kinds.evaluate:run"),
    ("pipeline", "baseline"): Work("workers.kinds.pipeline:baseline"),
    ("pipeline", "train"): Work("workers.kinds.pipeline:train"),
    ("pipeline", "judge"): Work("workers.kinds.pipeline:judge"),
    ("pipeline", "deploy"): Work("workers.kinds.pipeline:deploy"),
    ("pipeline", "summary"): Work("workers.kinds.pipeline:summary"),
    ("deploy", "deploy"): Work("workers.kinds.deploy:run"),
    ("ping", "ping"): Work("workers.kinds.ping:run", grouped=True),
}
