"""A deploy as a job: make the folder whole, then through the gates of `trainer.deploy.gated`."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

from milo.jobs import Progress
from milo.kinds.training import DeployPayload
from milo.training.runs import Run
from trainer.deploy.candidate import make_candidate
from trainer.deploy.gated import Candidate, Refused, gated_deploy
from trainer.loop.background import in_background
from workers.kinds.evaluation import worker_engines
from workers.work import Finished, RunningJob


def deploy(running: RunningJob) -> Generator[Progress, None, Finished]:
    """Deploy the folder of the payload. A gate that is closed fails the job with the reason."""
    payload: DeployPayload = running.payload
    if why := next((why for folder in Path(payload.path).resolve().parents if (why := Run(folder).ended_worse())), ""):
        raise Refused(f"{payload.path} is of a run that can't be deployed: {why}")
    place = running.settings.home / "candidates" / running.id
    try:
        folder = yield from in_background(
            lambda _: make_candidate(running.settings, Path(payload.path), payload.base, place / "model", payload.half),
            "bytes copied",
        )
        language = payload.data.language if payload.data else "mg"
        candidate = Candidate(
            folder,
            payload.model,
            payload.task,
            language,
            payload.data,
            payload.evaluation,
            payload.margin,
            payload.called,
        )
        done = yield from gated_deploy(running.settings, candidate, worker_engines(running.settings))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return Finished(done, models={"deployed": f"{done['name']}@{done['version']}"})
