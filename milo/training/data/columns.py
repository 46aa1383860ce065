"""Which columns of a table hold what: as the recipe names them, else by the names that well-known sets use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from milo.models.files import near
from milo.recipes import Columns, Data
from milo.training.data.row import text_of, wrong

FILE_NAME = "file_name"
USUAL = {
    "audio": (
        FILE_NAME, "audio_filepath", "audio_path", "audio_file", "path", "file", "filename", "wav", "wav_filename",
        "wav_path", "flac", "mp3",
    ),
    "text": (
        "sentence", "transcription", "transcript", "normalized_text", "raw_transcription", "normalized_transcription",
        "txt",
    ),
    "speaker": ("speaker_id", "client_id", "speaker_name", "spk", "spk_id", "speaker_ids"),
}  # fmt: skip
"""Field of the recipe -> names that stand for it, the likeliest first. Read when the column of the default name is not
there and the recipe names no other."""
_PART = r"(?:segment|seg|audio|utt|utterance|clip)?_?"
_UNIT = r"_?(?:times?|stamp)?_?(s|secs?|seconds|ms|msecs?|samples|frames)?"
_START = re.compile(rf"{_PART}(start|begin|offset|onset|xmin|tmin){_UNIT}", re.IGNORECASE)
_END = re.compile(rf"{_PART}(end|stop|xmax|tmax){_UNIT}", re.IGNORECASE)
_LENGTH = re.compile(rf"{_PART}(duration|dur|length){_UNIT}", re.IGNORECASE)
"""Names of the columns that say where in its file a row lies, with their unit: `offset` and `duration`, `start_ms` …"""
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")


@dataclass(frozen=True)
class Segments:
    """The columns that say which part of its file a row means."""

    start: str
    end: str
    is_length: bool
    """Whether `end` counts from the start of the part, and not of the file."""
    scales: tuple[float, float] = (1.0, 1.0)
    """Seconds in the unit of each."""


@dataclass(frozen=True)
class Roles:
    """The names of the columns of one table."""

    audio: str
    text: str
    speaker: str | None
    segments: Segments | None = None
    guessed: tuple[str, ...] = ()
    """Fields of the recipe that were found by the usual names."""

    def __str__(self) -> str:
        """`audio from path, text from sentence, …`"""
        parts = [f"audio from {self.audio!r}", f"text from {self.text!r}"]
        parts += [f"speaker from {self.speaker!r}"] if self.speaker else []
        parts += [f"segments from {self.segments.start!r} and {self.segments.end!r}"] if self.segments else []
        return ", ".join(parts)


def roles_of(have: Iterable[str], data: Data, where: str, metadata: bool = False) -> Roles:
    """Raises `Invalid` that names the field of the recipe and the columns that there are."""
    names = list(have)
    chosen: dict[str, str | None] = {}
    for field in ("audio", "text", "speaker"):
        wanted = getattr(data.columns, field)
        usual = USUAL[field] if wanted == Columns.model_fields[field].default else ()
        if metadata and field == "audio":
            usual = (FILE_NAME, *usual)
        chosen[field] = wanted if wanted in names else next((name for name in usual if name in names), None)
    need_columns(names, {field: chosen[field] or getattr(data.columns, field) for field in ("audio", "text")}, where)
    guessed = tuple(f for f, name in chosen.items() if name and name != getattr(data.columns, f))
    segments = _segment_columns(names, where) if data.segments else None
    return Roles(str(chosen["audio"]), str(chosen["text"]), chosen["speaker"], segments, guessed)


def _segment_columns(names: list[str], where: str) -> Segments | None:
    start = next((match for name in names if (match := _START.fullmatch(name))), None)
    if start is None:
        return None
    order = (_LENGTH, _END) if start[1].lower() in ("offset", "onset") else (_END, _LENGTH)
    for pattern in order:
        for name in names:
            if match := pattern.fullmatch(name):
                scales = (_scale(start, where), _scale(match, where))
                return Segments(start[0], name, pattern is _LENGTH, scales)
    detail = f"{where} has a column {start[0]!r} and none for where each segment ends, such as `duration` or `end`"
    raise wrong("segments", f"{detail}. Add it, or write `segments: false` to read whole files", "unknown_column")


def _scale(match: re.Match[str], where: str) -> float:
    unit = (match[2] or "s").lower()
    if unit in ("samples", "frames"):
        detail = f"{where} counts its segments in {unit} (column {match[0]!r})"
        raise wrong("segments", f"{detail}; write seconds, or `segments: false` to read whole files", "unknown_column")
    return 0.001 if unit.startswith("ms") else 1.0


def need_columns(have: Iterable[str], wanted: Mapping[str, str], where: str) -> None:
    """Raise `Invalid` unless every wanted column (field of the recipe -> its name) is there."""
    columns = list(have)
    for field, name in wanted.items():
        if name not in columns:
            raise wrong(
                f"columns.{field}",
                f"{where} has no column {name!r}; its columns are {', '.join(columns) or 'none'}.{near(name, columns)}",
                "unknown_column",
            )


def segment_of(row: Mapping[str, Any], columns: Segments | None, where: str) -> tuple[float, float | None]:
    """(start, end) in seconds of the part of the file that a row means; (0, None) is the whole file.

    Raises `Invalid` naming the row (`where`) when its cells are no times, or end before they begin.
    """
    if columns is None:
        return 0.0, None
    cells = [text_of(row.get(name)) for name in (columns.start, columns.end)]
    if not any(cells):
        return 0.0, None
    if columns.is_length and not cells[0]:
        cells[0] = "0"
    start, end = map(seconds_of, cells)
    if start is not None and end is not None:
        start, end = start * columns.scales[0], end * columns.scales[1]
        end = start + end if columns.is_length else end
        if 0 <= start < end:
            return start, end
    detail = f"{where}: {columns.start} {cells[0]!r} and {columns.end} {cells[1]!r} are no part of a recording"
    raise wrong("segments", f"{detail}; write seconds, or `segments: false` to read whole files")


def seconds_of(value: Any) -> float | None:
    """Seconds of 12.5, "12,5" or "1:02:03.5"; None for anything else."""
    text = text_of(value)
    if match := _CLOCK.fullmatch(text):
        return int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3].replace(",", "."))
    try:
        seconds = float(text.replace(",", "."))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None
