"""What a training looks at on the way: at a step, what was heard of sentences it does not learn from, or what it says.

`preds/step-N.jsonl` are rows of `ref` and `hyp` (`source` of a translation), `samples/step-N.wav` a spoken sentence.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from milo.errors import NotFound
from milo.storage import json_lines
from milo.training.runs import Run
from milo.training.scoring import scored_pair

STEP = re.compile(r"^step-(\d{1,12})\.(jsonl|wav)$")
ROWS = 12
"""Shown of a step; rates are of all rows."""


class Between(BaseModel):
    """Where a rate lies: fractions, at a level, by so many units."""

    low: float
    high: float
    level: float
    over: str
    units: int


class PreviewRow(BaseModel):
    """A sentence: what was wanted, and what came."""

    ref: str
    hyp: str
    source: str | None = None


class Preview(BaseModel):
    """What is there of one step."""

    step: int
    rows: list[PreviewRow]
    """The first ones; none where the training speaks."""
    count: int
    """Of all rows."""
    wer: float | None = None
    """Of all rows, a fraction; null for what is no transcript."""
    interval: Between | None = None
    """Where the error rate lies with 95 %; null below six speakers or utterances."""
    spoken: bool
    """Whether there is a sample to be heard."""


def steps(run: Run) -> list[int]:
    """Those of which there is something, first to last."""
    names = [path.name for part in ("preds", "samples") for path in (run.path / part).glob("step-*")]
    return sorted({int(match[1]) for match in map(STEP.match, names) if match})


def preview(run: Run, step: int, language: str) -> Preview:
    """Of one of `steps`."""
    rows = [
        row
        for row in json_lines.read(run.path / "preds" / f"step-{step}.jsonl")
        if isinstance(row.get("ref"), str) and isinstance(row.get("hyp"), str)
    ]
    shown = [
        PreviewRow.model_validate({name: row.get(name) for name in ("ref", "hyp", "source")}) for row in rows[:ROWS]
    ]
    found = Preview(step=step, rows=shown, count=len(rows), spoken=_sample(run, step).is_file())
    if rows and not any("source" in row for row in rows):
        counted = [{**row, **_counts(row["ref"], row["hyp"], language)} for row in rows]
        words = sum(row["words"] for row in counted)
        if words:
            from milo.training.statistics import ratio_interval  # numpy, which the API's process does not hold

            found.wer = sum(row["errors"] for row in counted) / words
            between = ratio_interval(counted, "errors", "words")
            found.interval = Between.model_validate(between) if between else None
    return found


def sample(run: Run, step: int) -> bytes:
    """The wav file of a step. Raises `NotFound`."""
    try:
        return _sample(run, step).read_bytes()
    except OSError:
        raise NotFound(f"the training spoke nothing at step {step}", code="unknown_sample") from None


def _sample(run: Run, step: int) -> Path:
    return run.path / "samples" / f"step-{step}.wav"


def _counts(reference: str, text: str, language: str) -> dict[str, int]:
    import jiwer  # by who asks for previews only

    wanted, given = scored_pair(reference, text, language)
    if not wanted:
        return {"errors": len(given.split()), "words": 0}
    words = jiwer.process_words(wanted, given)
    errors = words.substitutions + words.deletions + words.insertions
    return {"errors": errors, "words": words.hits + words.substitutions + words.deletions}
