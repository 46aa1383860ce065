"""Kaldi's data folders: wav.scp, text, and where they are there segments and utt2spk. https://kaldi-asr.org/doc/data_prep.html"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from milo.recipes import Data
from milo.storage.opening import Places
from milo.training.data.columns import Segments, segment_of
from milo.training.data.row import ALL, Row, Splits, file_state, sentence_of, wrong
from milo.training.data.table_rows import AudioFinder

_SEGMENTS = Segments("start", "end", is_length=False)


def folders_of(folder: Path, places: Places) -> dict[str, Path]:
    """The Kaldi folders here, by split: this one, or those below that have a wav.scp."""
    if places.has(folder / "wav.scp"):
        return {ALL: folder}
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/wav.scp")) if places.has(path)}


def read(folder: Path, places: Places, data: Data) -> tuple[Splits, str]:
    """Rows by split, and how they were read. Raises `Invalid` with the line that can't be used."""
    folders = folders_of(folder, places)
    splits = {name: _rows(place, places, data) for name, place in folders.items()}
    said = "audio from wav.scp, text from text, speaker from utt2spk"
    cut = any(places.has(place / "segments") for place in folders.values())
    return splits, said + (", cut by segments" if cut else "")


def _table(path: Path, places: Places, cells: int) -> dict[str, tuple[int, list[str]]]:
    """First word -> (line, the others), the last of which may hold spaces."""
    found: dict[str, tuple[int, list[str]]] = {}
    try:
        lines = places.read_text(path).split("\n")
    except UnicodeDecodeError:
        raise wrong("source", f"{path} is not UTF-8. Save the file as UTF-8") from None
    for number, line in enumerate(lines, 1):
        words = line.split(maxsplit=cells - 1)
        if words:
            found[words[0]] = (number, words[1:])
    return found


def _rows(folder: Path, places: Places, data: Data) -> list[Row]:
    if not places.has(folder / "text"):
        raise wrong("source", f"{folder} has a wav.scp and no file `text`: a training needs the transcripts")
    find = AudioFinder([folder, folder.parent, folder.parent.parent], places)
    files = {name: (number, " ".join(rest)) for name, (number, rest) in _table(folder / "wav.scp", places, 2).items()}
    for number, written in files.values():
        if written.rstrip().endswith("|"):
            detail = f"{folder / 'wav.scp'}, line {number}, is a command ({written[:60]!r}), which Milo does not run"
            raise wrong("source", f"{detail}. Write the audio into files, and their paths there")
    speakers = _table(folder / "utt2spk", places, 2) if places.has(folder / "utt2spk") else {}
    parts = _table(folder / "segments", places, 4) if places.has(folder / "segments") and data.segments else {}
    paths: dict[str, Path] = {}
    rows = []
    for name, (number, words) in _table(folder / "text", places, 2).items():
        line, (recording, *times) = parts.get(name, (0, [name]))
        where = f"{folder / 'segments'}, line {line}"
        start_s, end_s = 0.0, None
        if line:
            start_s, end_s = segment_of(dict(zip(("start", "end"), times, strict=False)), _SEGMENTS, where)
        elif parts:
            raise wrong("source", f"{folder / 'text'}, line {number}: {name} is not in `segments`")
        if recording not in files:
            raise wrong("source", f"{folder / 'text'}, line {number}: {recording} is not in wav.scp")
        audio = paths.setdefault(recording, find(files[recording][1]))
        state = file_state(audio, places)
        speaker = " ".join(speakers.get(name, (0, []))[1]) or None
        text = sentence_of(" ".join(words))
        opener = partial(places.open, audio)
        rows.append(Row(name, text, speaker, None, opener, state, None, start_s, end_s, audio))
    return rows
