"""The gated way into the registry: judged, tried out, staged, pointed at, and asked again.

    gates            not worse than what serves (`milo.training.compare`); a smoke decode in the engine that serves
    models.deploy    staged copy, sha256 manifest, atomic pointer: killed at any point, `current` still loads
    verification     the name is asked as any job would ask it, and has to answer with these weights

Every step before the pointer leaves things as they were; a verification that fails takes the version back.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milo.errors import EngineError, MiloError, ModelUnavailable
from milo.jobs import Progress
from milo.models import registry
from milo.recipes import Data, Evaluation, Task
from milo.settings import Settings
from milo.training import evaluations
from milo.training.compare import compare
from trainer.deploy.smoke import Refused, Sample, smoke_speech, smoke_translation, smoke_voice, spoken_samples
from trainer.evaluation.engines import Engines
from trainer.evaluation.evaluate import evaluate
from trainer.loop.background import in_background

SAMPLES = 8
LONGEST_S = 15.0
"""Samples of the smoke decode are shorter than this."""
Steps = Generator[Progress, None, dict[str, Any]]


@dataclass(frozen=True)
class Candidate:
    """A folder that wants to serve, and what it is judged on."""

    folder: Path
    name: str
    """In the registry."""
    task: Task
    language: str = "mg"
    data: Data | None = None
    """None: it is tried out and not judged."""
    evaluation: Evaluation = Evaluation()


def gated_deploy(settings: Settings, candidate: Candidate, engines: Engines) -> Steps:
    """Deploy a candidate if every gate lets it pass. Returns `{name, version, before, comparison, …}`.

    Yields between batches of evaluation. Raises `Refused` with the reason; then nothing has changed.
    """
    before = registry.serving(settings, candidate.name)
    if candidate.task == "whisper":
        _check_files(settings, candidate)
    comparison = yield from judge(settings, candidate, engines)
    said = smoke(settings, candidate, str(candidate.folder), engines)
    version = yield from in_background(lambda _: _stage(settings, candidate), "bytes staged")
    registry.activate(
        settings, candidate.name, version, over=before
    )  # no yield from here to the end: it is not verified
    try:
        _ask(settings, candidate, version, said, engines)
    except MiloError as error:
        now = registry.withdraw(settings, candidate.name, version)
        raise EngineError(
            f"{candidate.name} {version} was deployed, did not answer as it should ({error.detail}), and was taken"
            f" back; {now or 'nothing'} serves",
            code="deploy_not_verified",
        ) from error
    return {
        "deployed": True,
        "name": candidate.name,
        "version": version,
        "before": before or None,
        "comparison": comparison,
        "smoke": said,
    }


def _stage(settings: Settings, candidate: Candidate) -> str:
    """Copy the folder, and compare the copy with its manifest."""
    version = registry.stage(settings, candidate.name, candidate.folder)
    wrong = registry.verify(registry.resolve(settings, f"{candidate.name}@{version}"))
    if wrong:
        raise Refused(f"the copy of {version} is not as it was written: {'; '.join(wrong)}")
    return version


def judge(settings: Settings, candidate: Candidate, engines: Engines) -> Steps:
    """Compare the candidate with what serves under its name, on the same data. Raises `Refused`.

    Evaluations that were made before are read, not made again.
    """
    data = candidate.data
    if data is None or candidate.task == "vits" or not registry.serving(settings, candidate.name):
        return {"verdict": "not compared", "reason": _why_not(settings, candidate)}
    reports = []
    for model in (candidate.name, str(candidate.folder)):
        try:
            made = yield from evaluate(
                settings, model, data, candidate.evaluation, task=candidate.task, engines=engines
            )
        except ModelUnavailable as error:
            if model == candidate.name:
                return {"verdict": "not compared", "reason": f"what serves can't be loaded: {error.detail}"}
            raise Refused(f"it can't be evaluated: {error.detail}") from error
        except EngineError as error:
            if error.retryable or model == candidate.name:
                raise
            raise Refused(error.detail, code=error.code) from error
        reports.append(made)
    rows = [evaluations.find(settings, report["key"]).rows() for report in reports]
    found = compare(reports[0], rows[0], reports[1], rows[1])
    check_verdict(found, candidate.name)
    return found


def check_verdict(found: dict[str, Any], name: str) -> None:
    """Raises `Refused` unless the comparison says better, or no difference."""
    if found["verdict"] == evaluations.INSUFFICIENT:
        raise Refused(f"there is too little data to tell whether it is worse than {name}: {found['reason']}")
    if found["verdict"] == "worse":
        low, high = found["interval"]["low"], found["interval"]["high"]
        raise Refused(
            f"it is worse than what {name} serves: {found['difference']:+.1%} errors"
            f" (95 % interval {low:+.1%} to {high:+.1%}, {found['items']} items)"
        )


def _why_not(settings: Settings, candidate: Candidate) -> str:
    if not registry.serving(settings, candidate.name):
        return f"nothing serves under the name {candidate.name} yet"
    return "speech synthesis has no error rate" if candidate.task == "vits" else "no data to judge it on was named"


def smoke(settings: Settings, candidate: Candidate, model: str, engines: Engines) -> list[str]:
    """Try the model out on known samples. Returns what it said. Raises `Refused`."""
    if candidate.task == "vits":
        smoke_voice(settings, model if Path(model).is_dir() else registry.resolve(settings, model).path, "mg")
        return []
    if candidate.task == "nllb":
        data = candidate.data or Data(source="none")
        return smoke_translation(engines, model, _texts(settings, candidate), data.language, data.target_language)
    return smoke_speech(engines, model, _samples(settings, candidate), candidate.language)


def _samples(settings: Settings, candidate: Candidate) -> Sequence[Sample]:
    """Short items of the data with their references, always the same ones; without data, eSpeak's voice."""
    if candidate.data is None:
        return spoken_samples(candidate.language)
    from trainer.data.load import load

    items = [item for item in load(settings, candidate.data, candidate.evaluation.split) if item.duration_s < LONGEST_S]
    chosen = items[:: max(1, len(items) // SAMPLES)][:SAMPLES]
    return [Sample(item.audio(), item.text) for item in chosen] or spoken_samples(candidate.language)


def _texts(settings: Settings, candidate: Candidate) -> list[str]:
    if candidate.data is None:
        return ["Manao ahoana tompoko."]
    from trainer.evaluation.text import load

    return [pair.source for pair in list(load(settings, candidate.data, candidate.evaluation.split))[:SAMPLES]]


def _check_files(settings: Settings, candidate: Candidate) -> None:
    from milo.engines.whisper.checkpoint import load_checkpoint

    try:
        load_checkpoint(settings, registry.resolve(settings, str(candidate.folder)))
    except MiloError as error:
        raise Refused(f"its files are not complete: {error.detail}") from error


def _ask(settings: Settings, candidate: Candidate, version: str, said: list[str], engines: Engines) -> None:
    """Ask the name, as any job would: the same version, the same answers."""
    resolved = registry.resolve(settings, candidate.name)
    if resolved.version != version:
        raise EngineError(f"the name means {resolved.version}")
    again = smoke(settings, candidate, candidate.name, engines)
    if again != said:
        raise EngineError(f"it says {again} where the folder said {said}")
