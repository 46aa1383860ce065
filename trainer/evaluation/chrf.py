"""chrF, the score of translations."""

from __future__ import annotations

from collections.abc import Sequence


def chrf(candidates: Sequence[str], references: Sequence[str]) -> float:
    """chrF (chrF2: 6 characters, no words), 0 to 100 (Popović 2015), as sacrebleu counts it; higher is better."""
    from sacrebleu.metrics import CHRF

    return float(CHRF().corpus_score(list(candidates), [list(references)]).score)
