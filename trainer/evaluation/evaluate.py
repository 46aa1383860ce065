"""Judges a model on a split: decodes it with the engine that serves, a row an utterance, and sums the rows up.

Rows are kept as they are made, so an evaluation that was cut short goes on where it was; a finished one is not made
again while model, data, decode settings and normaliser are the same. Layout: `milo.training.evaluations`. Yields
between batches, so that a job can give way there.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any

from milo.engines.runtime.devices import ct2_device
from milo.errors import Invalid
from milo.jobs import Progress
from milo.language.malagasy import SCORING_VERSION
from milo.models import registry
from milo.models.registry import ResolvedModel
from milo.protocols import DecodeOptions
from milo.recipes import Data, Evaluation, Task
from milo.settings import Settings
from milo.training import evaluations
from milo.training.evaluations import Stored
from trainer.evaluation.engines import Engines, own_engines
from trainer.loop.background import Told, in_background

Steps = Generator[Progress, None, dict[str, Any]]
ROWS_VERSION = 1
"""Raise it when rows made by an older Milo must not be used."""


@dataclass(frozen=True)
class Plan:
    """One evaluation, all of it known before the first batch."""

    settings: Settings
    model: ResolvedModel
    data: Data
    evaluation: Evaluation
    task: Task
    items: list[Any]
    data_sha256: str
    key: str
    decode: dict[str, Any]
    nothing: str = ""
    """Why there are no items, where there are none."""

    @property
    def pinned(self) -> str:
        """The model by a name that goes on meaning this version, whatever is deployed meanwhile."""
        return str(self.model.path) if self.model.kind == "folder" else self.model.label


def evaluate(
    settings: Settings,
    model: str,
    data: Data,
    evaluation: Evaluation | None = None,
    *,
    task: Task = "whisper",
    engines: Engines | None = None,
) -> Steps:
    """Judge `model` (any name of `milo.models.registry`) on a split of `data`. Returns the report.

    `status` of the report is `ok`, or `insufficient_data` when there was nothing to score (then there is no WER). WER
    and CER are fractions; `interval` is the 95 % one, by bootstrap over speakers where they are known, else over
    utterances. Raises `ModelUnavailable`, `Invalid` (task, language), and `EngineError` with code `broken_weights` for
    a model whose numbers are not finite.
    """
    if task == "vits":
        raise Invalid("speech synthesis has no error rate; listen to the samples of its run", code="not_evaluable")
    wanted = evaluation or Evaluation()
    plan = yield from in_background(
        lambda told: make_plan(settings, model, data, wanted, task, told), "recordings measured"
    )
    stored = evaluations.open_or_make(settings, plan.key)
    report = stored.report()
    wants_loss = plan.evaluation.loss and task == "whisper"
    if report is not None and (not wants_loss or report.get("loss") is not None or report["status"] != "ok"):
        return report
    with engines or own_engines(settings) as opened:
        if task == "nllb":
            from trainer.evaluation.text import decode, summarise
        else:
            from trainer.evaluation.speech import decode, summarise
        yield from decode(plan, stored, opened)
        if wants_loss:
            from trainer.evaluation.speech import add_losses

            yield from add_losses(plan, stored, opened)
    return _settle(plan, stored, summarise)


def make_plan(
    settings: Settings, model: str, data: Data, evaluation: Evaluation, task: Task, told: Told | None = None
) -> Plan:
    """What is to be evaluated, and the key under which its rows are kept. Reads weights and audio to hash them, once;
    `told` is called meanwhile."""
    resolved = registry.ensure(settings, model)
    items, sha256, nothing = _items(settings, data, evaluation, task, told)
    if evaluation.max_items is not None and evaluation.max_items < len(items):
        items = sorted(items, key=lambda item: hashlib.sha256(str(item.id).encode()).digest())[: evaluation.max_items]
        sha256 = hashlib.sha256(f"{sha256} {evaluation.max_items}".encode()).hexdigest()
    decode = _decode_settings(settings, data, evaluation, task)
    parts = [ROWS_VERSION, registry.content_sha256(resolved), sha256, task, decode, SCORING_VERSION]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    return Plan(settings, resolved, data, evaluation, task, items, sha256, key, decode, nothing)


def _items(
    settings: Settings, data: Data, evaluation: Evaluation, task: Task, told: Told | None
) -> tuple[list[Any], str, str]:
    """The split's items, their hash, and why there are none where there are none."""
    if task == "nllb":
        from trainer.evaluation.text import load

        sentences = load(settings, data, evaluation.split, told)
        return list(sentences), sentences.sha256, ""
    from trainer.data.load import load_to_judge

    found = load_to_judge(settings, data, evaluation.split, told)
    if not found.items:  # the hash of no items is the same for any data
        return [], hashlib.sha256(f"{data.source}: {found.why_empty}".encode()).hexdigest(), found.why_empty
    return found.items, found.sha256, ""


def _decode_settings(settings: Settings, data: Data, evaluation: Evaluation, task: Task) -> dict[str, Any]:
    device = ct2_device(settings)
    if task == "nllb":
        return {
            "source": data.language,
            "target": data.target_language,
            "beam_size": settings.translate_beam_size,
            "compute_type": settings.translate_compute_type,
            "device": device,
        }
    options = asdict(decode_options(data, evaluation))
    return {
        **options,
        "temperatures": list(options["temperatures"]),
        "engine": settings.stt_engine,
        "compute_type": settings.stt_compute_type,
        "device": device,
    }


def decode_options(data: Data, evaluation: Evaluation) -> DecodeOptions:
    """Temperature 0 alone: what is sampled would come out differently each time."""
    return DecodeOptions(
        language=data.language, word_timestamps=False, beam_size=evaluation.beam_size, temperatures=(0.0,)
    )


def _settle(plan: Plan, stored: Stored, summarise: Any) -> dict[str, Any]:
    known = stored.rows()
    rows = [known[str(item.id)] for item in plan.items if str(item.id) in known]
    compute_s = sum(row.get("latency_s") or 0 for row in rows)
    sums = summarise(rows)
    if not plan.items:
        sums["reason"] = f"no row of the split {plan.evaluation.split} can be used ({plan.nothing})"
    report = {
        "key": plan.key,
        "task": plan.task,
        **sums,
        "model": {
            "name": plan.model.name,
            "label": plan.model.label,
            "sha256": registry.content_sha256(plan.model),
            "path": str(plan.model.path),
        },
        "data": {"source": plan.data.source, "split": plan.evaluation.split, "sha256": plan.data_sha256},
        "decode": plan.decode,
        "normaliser": SCORING_VERSION,
        "compute_s": round(compute_s, 3),
        "created_at": time.time(),
    }
    stored.settle(rows, report)
    return report
