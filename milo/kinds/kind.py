"""What one row of the table of kinds says. It knows nothing of HTTP, of Celery, or of what the work is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from milo.cue_rules import CueRules
from milo.models.engines import Use

Document = dict[str, Any]
"""The JSON of a result as it stands in the ledger: its shape is that of its kind."""
AUDIO = "audio"
"""The format of audio as it was made, whatever its file format."""


@dataclass(frozen=True)
class Stage:
    """One step of the way. Its work is the function of this name in `workers.kinds.<kind>`."""

    name: str
    pool: Literal["cpu", "gpu"] = "gpu"
    """The workers that it runs on."""
    grouped: bool = False
    """Several jobs share one engine batch (`workers.work.Group`)."""
    sliced: bool = True
    """False for work that is bounded and gains nothing from being cut up (decoding one file)."""


@dataclass(frozen=True)
class ModelUse:
    """What a kind needs a model for."""

    name: Use
    """As the registry says it of a model."""
    setting: str
    """The field of `Settings` that names the one for requests that name none."""
    aliases: re.Pattern[str] | None = None
    """OpenAI's names that stand for the configured one."""
    listed_alias: str | None = None
    """The alias that /v1/models lists."""
    configured_only: bool = False
    """A request can't choose another one."""


@dataclass(frozen=True)
class Rendered:
    """A result as a document. `extension` is that of a file with it, without the dot."""

    content: str | bytes
    media_type: str
    extension: str

    @property
    def is_json(self) -> bool:
        return self.media_type == "application/json"


def as_json(document: Document, format: str = "json") -> Rendered:
    """The result as it is stored."""
    return Rendered(json.dumps(document, ensure_ascii=False), "application/json", "json")


def as_text(text: str) -> Rendered:
    return Rendered(text, "text/plain; charset=utf-8", "txt")


@dataclass(frozen=True)
class Results:
    """What results come as."""

    formats: tuple[str, ...] = ("json",)
    default: str = "json"
    render: Callable[[Document, str], Rendered] = as_json
    """A stored result in one of the formats, those of `audio` and `subtitles` excepted."""
    subtitles: Callable[[Document, str, CueRules], Rendered] | None = None
    """A stored result in one of `SUBTITLES`, by rules of who asks."""
    audio: Callable[[Document], Document | None] | None = None
    """Where a result tells `{format, sample_rate_hz, duration_s}` of the audio file that was made."""
    zipped: tuple[str, ...] = ("json",)
    """What a batch's zip holds when nothing is said."""


@dataclass(frozen=True)
class Batches:
    """How many jobs of a kind are submitted at once."""

    options: type[BaseModel]
    """What all of a batch share. With the fields of an item, it is a `Kind.request`."""
    items: Literal["recordings", "texts"]


@dataclass(frozen=True)
class Kind:
    """One kind of job."""

    name: str
    payload: type[BaseModel]
    """What stands in the row and the worker reads."""
    stages: tuple[Stage, ...]
    request: type[BaseModel] | None = None
    """What a client may send as the payload of POST /jobs; None: only a route of its own makes such jobs."""
    inputs: tuple[str, ...] = ()
    """Fields of the payload that differ between jobs which may still share an engine batch."""
    model: ModelUse | None = None
    results: Results = field(default_factory=Results)
    batches: Batches | None = None

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)
