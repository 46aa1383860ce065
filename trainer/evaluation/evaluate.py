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

from milo.errors import Invalid
from milo.jobs import Progress
from milo.models import registry
from milo.models.configuration import require_transformers
from milo.models.registry import ResolvedModel
from milo.recipes import TASKS, Data, Evaluation, Task
from milo.settings import Settings
from milo.training import evaluations
from milo.training.evaluations import Stored
from milo.training.scoring import SCORING_VERSION
from trainer import tasks
from trainer.evaluation.engines import Engines, own_engines
from trainer.evaluation.plan import Document, Method, Plan
from trainer.loop.background import ReportProgress, in_background

Steps = Generator[Progress, None, Document]
ROWS_VERSION = 1
"""Raise it when rows made by an older Milo must not be used."""


def evaluate(
    settings: Settings,
    model: str,
    data: Data,
    evaluation: Evaluation | None = None,
    *,
    task: Task = "whisper",
    engines: Engines | None = None,
    of: str | None = None,
) -> Steps:
    """Judge `model` (any name of `milo.models.registry`) on a split of `data`. Returns the report.

    `status` of the report is `ok`, or `insufficient_data` when there was nothing to score (then there is no WER). WER
    and CER are fractions; `interval` is the 95 % one, over speakers where they are known, else over utterances, and
    None below six of them. `of`: the checkpoint that the folder `model` was made of, for the report.

    Raises `ModelUnavailable`, `Invalid` (task, language), and `EngineError` with code `broken_weights` for a model
    whose numbers are not finite.
    """
    method = method_of(task)
    wanted = evaluation or Evaluation()
    plan = yield from in_background(
        lambda report: make_plan(settings, model, data, wanted, task, method, report), "recordings measured"
    )
    stored = evaluations.open_or_make(settings, plan.key)
    report = stored.report()
    add_losses = method.add_losses if plan.evaluation.loss else None
    if add_losses is not None:
        require_transformers(plan.model.path, plan.model.name, "the loss of a text needs")
    if report is not None and (add_losses is None or report.get("loss") is not None or report["status"] != "ok"):
        return report
    with engines or own_engines(settings) as opened:
        yield from method.decode(plan, stored, opened)
        if add_losses is not None:
            yield from add_losses(plan, stored, opened)
    return _settle(plan, stored, method, of)


def method_of(task: Task) -> Method:
    """How models of a task are evaluated. Raises `Invalid` for a task without an error rate."""
    place = tasks.TASKS[task].evaluate
    if place is None:
        raise Invalid(f"{TASKS[task].no_error_rate}; listen to the samples of its run", code="not_evaluable")
    method: Method = tasks.load(place)
    return method


def make_plan(
    settings: Settings,
    model: str,
    data: Data,
    evaluation: Evaluation,
    task: Task,
    method: Method,
    report: ReportProgress | None = None,
) -> Plan:
    """What is to be evaluated, and the key under which its rows are kept. Reads weights and audio to hash them, once;
    `report` is called meanwhile."""
    resolved = registry.ensure(settings, model)
    split = method.load(settings, data, evaluation, report)
    items, sha256 = split.items, split.sha256
    if evaluation.max_items is not None and evaluation.max_items < len(items):
        items = sorted(items, key=lambda item: hashlib.sha256(str(item.id).encode()).digest())[: evaluation.max_items]
        sha256 = hashlib.sha256(f"{sha256} {evaluation.max_items}".encode()).hexdigest()
    decode = method.decode_settings(settings, data, evaluation)
    parts = [ROWS_VERSION, registry.content_sha256(resolved), sha256, task, decode, SCORING_VERSION]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    return Plan(settings, resolved, data, evaluation, task, items, sha256, key, decode, split.why_empty)


def _label(model: ResolvedModel) -> str:
    """A folder by its content: a copy of it elsewhere, or made again, has the same label."""
    return f"{model.name}@{registry.content_sha256(model)[:12]}" if model.kind == "folder" else model.label


def _settle(plan: Plan, stored: Stored, method: Method, of: str | None) -> Document:
    decoded = stored.rows()
    rows = [decoded[str(item.id)] for item in plan.items if str(item.id) in decoded]
    compute_s = sum(row.get("latency_s") or 0 for row in rows)
    sums = method.summarise(rows)
    if not plan.items:
        sums["reason"] = f"no row of the split {plan.evaluation.split} can be used ({plan.why_empty})"
    report = {
        "key": plan.key,
        "task": plan.task,
        **sums,
        "model": {
            "name": plan.model.name,
            "label": _label(plan.model),
            "sha256": registry.content_sha256(plan.model),
            "path": of or str(plan.model.path),
        },
        "data": {"source": plan.data.source, "split": plan.evaluation.split, "sha256": plan.data_sha256},
        "decode": plan.decode,
        "normaliser": SCORING_VERSION,
        "compute_s": round(compute_s, 3),
        "created_at": time.time(),
    }
    stored.settle(rows, report)
    return report
