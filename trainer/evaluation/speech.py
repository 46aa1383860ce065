"""The rows of a speech evaluation: decode in large batches of near lengths, then the teacher-forced loss if wanted."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from milo.engines.runtime.devices import ct2_device
from milo.errors import EngineError, MiloError
from milo.jobs import Progress
from milo.protocols import Samples, WindowText
from milo.recipes import Data, Evaluation
from milo.settings import Settings
from milo.training.evaluations import Stored
from trainer.data.load import load_to_judge
from trainer.evaluation.engines import Engines
from trainer.evaluation.plan import Document, Items, Method, Plan, decode_options
from trainer.evaluation.score import snr_db, totals, word_counts
from trainer.evaluation.teacher_forcing import cross_entropies
from trainer.loop.background import ReportProgress

RATE_HZ = 16_000
STEP_S = 1.5
"""Engine time between two yields that the size of a batch is steered to: how long a person may have to wait."""
WIDEST = 16
"""Most times `batch_windows` in one step: the engine sorts its windows by length, so more of them pad less."""
LOSSES = "losses.jsonl"


class BrokenWeights(EngineError):
    """The model computes, and what comes out is no number: trying again would change nothing."""

    code, title, retryable = "broken_weights", "The weights of the model are broken", False


def load(settings: Settings, data: Data, evaluation: Evaluation, report: ReportProgress | None) -> Items:
    """The utterances of the split. What can't be read belongs to them: the report counts it."""
    dataset = load_to_judge(settings, data, evaluation.split, report)
    if not dataset.items:  # the hash of no items is the same for any data
        named = f"{data.source}: {dataset.why_empty}"
        return Items([], hashlib.sha256(named.encode()).hexdigest(), dataset.why_empty)
    return Items(dataset.items, dataset.sha256)


def decode_settings(settings: Settings, data: Data, evaluation: Evaluation) -> Document:
    options = asdict(decode_options(data, evaluation))
    return {
        **options,
        "temperatures": list(options["temperatures"]),
        "engine": settings.stt_engine,
        "compute_type": settings.stt_compute_type,
        "device": ct2_device(settings),
    }


def decode(plan: Plan, stored: Stored, engines: Engines) -> Iterator[Progress]:
    """Append a row for each item that has none."""
    decoded = stored.rows()
    options = decode_options(plan.data, plan.evaluation)

    def work(items: list[Any], audio: list[Samples | MiloError]) -> float:
        with engines.transcriber(plan.pinned) as engine:
            longest_s = engine.max_window_s
            heard = [_too_long(one, longest_s) or one for one in audio]
            windows = [one for one in heard if not isinstance(one, MiloError)]
            started = time.monotonic()
            texts = iter(_wide(engine, windows, options))
            took_s = time.monotonic() - started
        share = took_s / max(1, sum(map(len, windows)))
        rows = [
            _failed(item, one)
            if isinstance(one, MiloError)
            else _row(item, one, next(texts), share * len(one), plan.data.language)
            for item, one in zip(items, heard, strict=True)
        ]
        stored.append(rows)
        return took_s

    todo = [item for item in plan.items if str(item.id) not in decoded]
    for done in batches(todo, plan.settings.batch_windows, work):
        yield Progress(done=len(plan.items) - len(todo) + done, total=len(plan.items), unit="items")


def _wide(engine: Any, windows: list[Samples], options: Any) -> list[WindowText]:
    """Nobody waits for one window here, so a batch may hold as many as the engine's memory budget allows."""
    usual = getattr(engine, "batch_windows", None)
    if usual is not None:
        engine.batch_windows = max(usual, len(windows))
    try:
        return list(engine.transcribe(windows, options)) if windows else []
    finally:
        if usual is not None:
            engine.batch_windows = usual


def batches(
    items: Sequence[Any], size: int, work: Callable[[list[Any], list[Samples | MiloError]], float]
) -> Iterator[int]:
    """Call `work` on items of near lengths, the longest first; yields how many are done. It returns its seconds,
    by which the next batch is made larger or smaller. Audio of the next batch is read while this one is computed.
    """
    waiting = sorted(items, key=lambda item: (-(item.duration_s or 0), str(item.id)))
    most, done = size * WIDEST, 0
    with ThreadPoolExecutor(1, "read") as pool:
        chosen, waiting = waiting[:size], waiting[size:]
        reading = pool.submit(_read, chosen)
        while chosen:
            audio = reading.result()
            following, waiting = waiting[:size], waiting[size:]
            reading = pool.submit(_read, following)
            took_s = work(chosen, audio)
            done += len(chosen)
            if took_s > 2 * STEP_S:
                size = max(1, int(len(chosen) * STEP_S / took_s))
            elif took_s < STEP_S / 2 and len(chosen) >= size:
                size = min(most, size * 2)
            chosen = following
            yield done


def _read(items: Sequence[Any]) -> list[Samples | MiloError]:
    audio: list[Samples | MiloError] = []
    for item in items:
        try:
            audio.append(item.audio())
        except MiloError as error:
            audio.append(error)
    return audio


def _too_long(audio: Samples | MiloError, longest_s: float) -> MiloError | None:
    if isinstance(audio, MiloError) or len(audio) <= longest_s * RATE_HZ:
        return None
    return MiloError(f"{len(audio) / RATE_HZ:.1f} s is longer than the {longest_s:g} s that the model takes")


def _failed(item: Any, error: MiloError) -> Document:
    return {
        "id": str(item.id),
        "speaker": item.speaker,
        "duration_s": item.duration_s,
        "ref": item.text,
        "error": error.detail,
    }


def _row(item: Any, audio: Samples, text: WindowText, latency_s: float, language: str) -> Document:
    if not math.isfinite(text.avg_logprob):
        raise BrokenWeights(f"the model returned {text.avg_logprob} for {item.id}: its weights are broken")
    counts = word_counts(item.text, text.text, language)
    duration_s = len(audio) / RATE_HZ
    return {
        "id": str(item.id),
        "speaker": item.speaker,
        "duration_s": round(duration_s, 3),
        "snr_db": snr_db(audio),
        "rate": round(counts["ref_words"] / duration_s, 3) if duration_s else None,
        "ref": item.text,
        "hyp": text.text,
        **counts,
        "cross_entropy": None,
        "tokens": None,
        "mean_logprob": text.avg_logprob,
        "no_speech_prob": text.no_speech_prob,
        "compression_ratio": text.compression_ratio,
        "latency_s": round(latency_s, 6),
    }


def add_losses(plan: Plan, stored: Stored, engines: Engines) -> Iterator[Progress]:
    """The cross-entropy of each row's reference. Kept apart until it is whole, then written into the rows."""
    rows = stored.rows()
    measured = stored.rows(LOSSES)

    def work(items: list[Any], audio: list[Samples | MiloError]) -> float:
        started = time.monotonic()
        heard = [(item, one) for item, one in zip(items, audio, strict=True) if not isinstance(one, MiloError)]
        with engines.reference(plan.pinned) as engine:
            texts = [item.text for item, _ in heard]
            sums = cross_entropies(engine, [one for _, one in heard], texts, plan.data.language)
        made = zip((str(item.id) for item, _ in heard), sums, strict=True)
        stored.append([{"id": name, "cross_entropy": total, "tokens": count} for name, (total, count) in made], LOSSES)
        return time.monotonic() - started

    todo = [i for i in plan.items if str(i.id) not in measured and "error" not in rows.get(str(i.id), {"error": ""})]
    for done in batches(todo, plan.settings.batch_windows, work):
        yield Progress(done=len(plan.items) - len(todo) + done, total=len(plan.items), unit="losses")
    losses = stored.rows(LOSSES)
    if any(not math.isfinite(row["cross_entropy"]) for row in losses.values()):
        raise BrokenWeights(f"the loss of {plan.model.label} is not finite: its weights are broken")
    stored.append([rows[name] | loss for name, loss in losses.items() if name in rows])
    (stored.path / LOSSES).unlink(missing_ok=True)


METHOD = Method(load, decode_settings, decode, totals, add_losses)
