"""Which of the words that a model wrote are right, and with what confidence it wrote them.

The confidence is what Milo serves: exp of the mean log-probability of the tokens of an utterance, the same for all of
its words. A word is right if the best alignment with the reference leaves it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import jiwer
import numpy as np

from milo.storage.json_lines import Row
from milo.training.statistics import Units, units_of


def words_of(rows: Mapping[str, Row]) -> tuple[list[float], list[bool], Units]:
    """(confidence, whether it is right) of every word that was written, and its cluster."""
    heard = [row for row in rows.values() if row.get("hyp_scored") and row.get("mean_logprob") is not None]
    said: list[float] = []
    right: list[bool] = []
    owners: list[int] = []
    units = units_of(heard)
    for row, owner in zip(heard, units.index.tolist(), strict=True):
        marks = right_words(row["ref_scored"], row["hyp_scored"])
        said += [math.exp(min(0.0, row["mean_logprob"]))] * len(marks)
        right += marks
        owners += [owner] * len(marks)
    return said, right, Units(units.over, np.array(owners, np.intp), units.count)


def right_words(reference: str, text: str) -> list[bool]:
    """For each word of `text`, whether it is right."""
    marks = [False] * len(text.split())
    if reference == text:
        return [True] * len(marks)
    for chunk in jiwer.process_words(reference, text).alignments[0]:
        if chunk.type == "equal":
            marks[chunk.hyp_start_idx : chunk.hyp_end_idx] = [True] * (chunk.hyp_end_idx - chunk.hyp_start_idx)
    return marks
