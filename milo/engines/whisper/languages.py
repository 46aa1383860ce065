"""The language of each window of a batch: the one that was asked for, the one its recording keeps, or what is heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from milo.engines.whisper.backend import Backend
from milo.engines.whisper.guards import Attempt, is_doubtful
from milo.protocols import DecodeOptions, KeptLanguage

Detected = tuple[str, float]
"""A language and its probability."""
UNSURE_LOGPROB = -0.5
"""A text that is less probable (mean of its tokens) may be in a wrong language: docs/recordings.md has the figures."""


class BatchLanguages:
    """`rows` has a language for each row of `encoded`. `kept`: those that need not be asked for; the others are."""

    def __init__(
        self, backend: Backend, codes: Sequence[str], encoded: Any, kept: Sequence[KeptLanguage | None]
    ) -> None:
        self._backend = backend
        self._codes = codes
        self._encoded = encoded
        self._kept = {row: one for row, one in enumerate(kept) if one}
        self.rows: list[Detected] = [(one.code, one.probability) if one else ("", 0.0) for one in kept]
        self._ask([row for row in range(len(kept)) if row not in self._kept])

    def _ask(self, rows: list[int]) -> None:
        if not rows:
            return
        chosen = self._encoded if len(rows) == len(self.rows) else self._backend.select(self._encoded, rows)
        probabilities = self._backend.language_probabilities(chosen)
        for row, found in zip(rows, probabilities, strict=True):
            best = int(found.argmax())
            self.rows[row] = (self._codes[best], float(found[best]))

    def review(self, first: Sequence[Attempt], options: DecodeOptions) -> list[int]:
        """Ask for the languages of rows that were kept and sound wrong; returns those that turned out to be others."""
        unsure = [
            row
            for row, kept in self._kept.items()
            if first[row].avg_logprob < max(UNSURE_LOGPROB, kept.logprob) or is_doubtful(first[row], options)
        ]
        self._ask(unsure)
        return [row for row in unsure if self.rows[row][0] != self._kept[row].code]
