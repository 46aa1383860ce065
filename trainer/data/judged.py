"""What a training split shares with the suites that checkpoints are judged by (`milo.training.suites`)."""

from __future__ import annotations

from collections.abc import Iterable

from milo.recipes import Data
from milo.settings import Settings
from milo.training import suites
from milo.training.data.leaks import Leak
from milo.training.suites import Candidate
from trainer.data.load import Item


def suite_leaks(settings: Settings, train: Iterable[Item], data: Data) -> list[Leak]:
    """By audio, text and speaker. Of the suite of the same data only audio counts: its splits are compared anyway."""
    every = suites.every(settings)
    if not every:
        return []
    rows = [candidate_of(item) for item in train]
    own = [suite for suite in every if suite.data == data]
    others = [suite for suite in every if suite.data != data]
    of_own = [leak for leak in suites.leaks(own, rows, data.language) if leak.what == "audio"]
    return of_own + suites.leaks(others, rows, data.language)


def candidate_of(item: Item) -> Candidate:
    return Candidate(
        id=item.id, text=item.text, speaker=item.speaker, audio=(item.sha256, item.recording_sha256 or item.sha256)
    )
