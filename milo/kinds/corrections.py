"""Corrections given to training: transcripts that people have edited and given, as a data set that a recipe reads."""

from __future__ import annotations

from typing import Literal

from milo.jobs import Frozen
from milo.kinds.kind import Kind, Stage

Which = Literal["edited", "all"]


class CorrectionsPayload(Frozen):
    """Whose, and which segments."""

    owner: str | None
    """None: everybody's."""
    segments: Which = "edited"
    """`edited`: those whose text people have changed; `all`: every one of a transcript that was edited."""


CORRECTIONS = Kind("corrections", CorrectionsPayload, (Stage("collect", pool="cpu", sliced=False),))
