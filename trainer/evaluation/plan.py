"""One evaluation, all of it known before the first batch, and what the evaluation of a task consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from milo.jobs import Progress
from milo.models.registry import ResolvedModel
from milo.protocols import DecodeOptions
from milo.recipes import Data, Evaluation, Task
from milo.settings import Settings
from milo.training.evaluations import Stored
from trainer.evaluation.engines import Engines
from trainer.loop.background import ReportProgress

Document = dict[str, Any]
"""A report or a row, as JSON has it."""


@dataclass(frozen=True)
class Items:
    """The examples of a split that a model is evaluated on."""

    items: Sequence[Any]
    sha256: str
    why_empty: str = ""
    """Why there are none, where there are none."""


@dataclass(frozen=True)
class Method:
    """How models of one task are evaluated."""

    load: Callable[[Settings, Data, Evaluation, ReportProgress | None], Items]
    decode_settings: Callable[[Settings, Data, Evaluation], Document]
    """All that the output depends on besides model and items: part of the key."""
    decode: Callable[[Plan, Stored, Engines], Iterator[Progress]]
    """Appends a row for each item that has none; yields between batches."""
    summarise: Callable[[Sequence[Document]], Document]
    """The sums of a report, with `status`."""
    add_losses: Callable[[Plan, Stored, Engines], Iterator[Progress]] | None = None
    """Adds the cross-entropy of each reference to its row; None: there is no such measure."""


@dataclass(frozen=True)
class Plan:
    """What is evaluated, on what, and how."""

    settings: Settings
    model: ResolvedModel
    data: Data
    evaluation: Evaluation
    task: Task
    items: Sequence[Any]
    data_sha256: str
    key: str
    decode: Document
    why_empty: str = ""
    """Why there are no items, where there are none."""

    @property
    def pinned(self) -> str:
        """The model by a name that goes on meaning this version, whatever is deployed meanwhile."""
        return str(self.model.path) if self.model.kind == "folder" else self.model.label


def decode_options(data: Data, evaluation: Evaluation) -> DecodeOptions:
    """Temperature 0 alone: what is sampled would come out differently each time."""
    return DecodeOptions(
        language=data.language, word_timestamps=False, beam_size=evaluation.beam_size, temperatures=(0.0,)
    )
