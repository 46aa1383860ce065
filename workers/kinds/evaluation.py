"""An evaluation as a job: `trainer.evaluation.evaluate` with this worker's engines."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TypeVar

from milo.jobs import Progress
from milo.kinds.training import EvaluationPayload
from milo.settings import Settings
from trainer.evaluation import evaluate as evaluations
from trainer.evaluation.engines import Engines
from workers import engines
from workers.work import Finished, RunningJob

T = TypeVar("T")


def evaluate(running: RunningJob) -> Generator[Progress, None, Finished]:
    """Judge the model of the payload. The result is the report; its rows are in `evaluations/<key>/rows.jsonl`."""
    payload: EvaluationPayload = running.payload
    steps = evaluations.evaluate(
        running.settings,
        payload.model,
        payload.data,
        payload.evaluation,
        task=payload.task,
        engines=worker_engines(running.settings),
    )
    report = yield from keeping(running, steps)
    return Finished(report, audio_s=report.get("audio_s"), models={"evaluated": report["model"]["label"]})


def keeping(running: RunningJob, steps: Generator[Progress, None, T]) -> Generator[Progress, None, T]:
    """The steps of an evaluation. Those that are counted have left rows: after each, lost workers are counted anew."""
    try:
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                report: T = end.value
                return report
            if running.job.attempt > 1 and progress.done:
                running.saved()
            yield progress
    finally:
        steps.close()


def worker_engines(settings: Settings) -> Engines:
    """This worker child's engines, shared with the jobs that serve."""
    return Engines(
        transcriber=partial(engines.transcriber, settings),
        reference=partial(engines.reference, settings),
        translator=partial(engines.translator, settings),
    )
