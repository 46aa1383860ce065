"""The gated way into the registry: judged, tried out, staged, pointed at, and asked again.

    gates            not worse than what serves, on its data and on the guard sets of the name
                     (`trainer.deploy.comparison`); a smoke decode in the engine that serves
    models.deploy    staged copy, sha256 manifest, atomic pointer: killed at any point, `current` still loads
    verification     the name is asked as any job would ask it, and has to answer with these weights

Every step before the pointer leaves things as they were; a verification that fails takes the version back.
"""

from __future__ import annotations

from collections.abc import Generator

from milo.errors import EngineError, MiloError, ModelBroken
from milo.jobs import Progress
from milo.models import registry
from milo.recipes import Task
from milo.settings import Settings
from trainer import tasks
from trainer.deploy.comparison import compare_on_guard, compare_with_serving, grow
from trainer.deploy.smoke import Candidate, Refused, Smoke
from trainer.evaluation.engines import Engines
from trainer.evaluation.plan import Document
from trainer.loop.background import in_background

Steps = Generator[Progress, None, Document]


def gated_deploy(settings: Settings, candidate: Candidate, engines: Engines) -> Steps:
    """Deploy a candidate if every gate lets it pass. Returns `{name, version, before, comparison, guard, …}`.

    Yields between batches of evaluation. Raises `Refused` with the reason; then nothing has changed.
    """
    before = registry.serving(settings, candidate.name)
    trial = smoke_of(candidate.task)
    trial.check_files(settings, candidate)
    comparison = yield from compare_with_serving(settings, candidate, engines)
    guarded = yield from compare_on_guard(settings, candidate, engines, comparison)
    outputs = trial.outputs(settings, candidate, str(candidate.folder), engines)
    version = yield from in_background(lambda _: _stage(settings, candidate), "bytes staged")
    registry.activate(
        settings, candidate.name, version, over=before
    )  # no yield from here to the end: it is not verified
    try:
        _verify(settings, candidate, version, outputs, engines)
    except MiloError as error:
        now = registry.withdraw(settings, candidate.name, version)
        refused = EngineError(
            f"{candidate.name} {version} was deployed, did not answer as it should ({error.detail}), and was taken"
            f" back; {now or 'nothing'} serves",
            code="deploy_not_verified",
        )
        refused.retryable = error.retryable
        raise refused from error
    return {
        "deployed": True,
        "name": candidate.name,
        "version": version,
        "before": before or None,
        "comparison": comparison,
        "guard": guarded | {"added": grow(settings, candidate, version, comparison, guarded) or None},
        "smoke": outputs,
    }


def _stage(settings: Settings, candidate: Candidate) -> str:
    """Copy the folder, and compare the copy with its manifest."""
    version = registry.stage(settings, candidate.name, candidate.folder)
    wrong = registry.verify(registry.resolve(settings, f"{candidate.name}@{version}"))
    if wrong:
        raise Refused(f"the copy of {version} is not as it was written: {'; '.join(wrong)}")
    return version


def smoke_of(task: Task) -> Smoke:
    """How models of a task are tried out."""
    smoke: Smoke = tasks.load(tasks.TASKS[task].smoke)
    return smoke


def _verify(settings: Settings, candidate: Candidate, version: str, outputs: list[str], engines: Engines) -> None:
    """Ask the name, as any job would: the same version, the same answers."""
    resolved = registry.resolve(settings, candidate.name)
    if resolved.version != version:
        raise ModelBroken(f"the name means {resolved.version}")
    again = smoke_of(candidate.task).outputs(settings, candidate, candidate.name, engines)
    if again != outputs:
        raise ModelBroken(f"it says {again} where the folder said {outputs}")


__all__ = ["Candidate", "Refused", "gated_deploy"]
