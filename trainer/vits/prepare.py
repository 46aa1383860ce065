"""Recordings for a voice, out of a speech set: one speaker, 80 to 150 good clips, text and audio made ready.

    report = prepare(settings, Data(source="badrex/malagasy-speech-full"), Path("voice/"), Options())

Writes `clips/NNN.wav`, `metadata.jsonl` (which `trainer.data.load` and `datasets` read) and `report.json` into the
folder.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypedDict

from milo.audio.encode import encode
from milo.audio.resample import resample
from milo.audio.vad import SAMPLE_RATE_HZ
from milo.engines.speech.vits_checkpoint import read_tokens
from milo.errors import Conflict, Invalid, ModelUnavailable
from milo.language.malagasy import NumberOrder
from milo.models import registry
from milo.models.files import read_json, write_durably
from milo.recipes import Data
from milo.settings import Settings
from milo.synthesis.normalization import ALPHABETS, fit, normalize
from trainer.data.load import Item, load
from trainer.vits.recordings import Recording, normalise_loudness, trim_silence
from trainer.vits.speakers import CANDIDATES, SAMPLED, SpeakerStatistics, choose, describe, named, speakers_of, usable

MODEL = "facebook/mms-tts-mlg"
MEASURED_FACTOR = 4
"""Times the clips wanted: so many of the speaker's are listened to."""
CLIPPED_SHARE = 0.001
RATE_RANGE = (0.6, 1.6)
"""Characters per second, of the speaker's median: outside, text and audio are likely not the same."""


@dataclass(frozen=True)
class Options:
    model: str | None = None
    """Whose sample rate and alphabet hold. None: MMS-TTS's for Malagasy, if it is on this machine."""
    speaker: str | None = None
    """None: the best one."""
    clips: tuple[int, int] = (80, 150)
    """Fewest and most."""
    length_s: tuple[float, float] = (2.0, 15.0)
    number_order: NumberOrder = "modern"

    def __post_init__(self) -> None:
        for name, (low, high) in (("clips", self.clips), ("length", self.length_s)):
            if not 0 < low <= high:
                raise Invalid(f"{name}: {low:g}-{high:g} is no range; write the smaller one first", code="bad_range")


@dataclass
class _Clip:
    item: Item
    text: str
    recording: Recording

    @property
    def rate(self) -> float:
        return len(self.text) / max(self.recording.speech_s, 0.1)


@dataclass
class _Selection:
    """Clips of the speaker, and why others were left out."""

    clips: list[_Clip] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    strange: Counter[str] = field(default_factory=Counter)
    """Characters outside the model's alphabet, which become the nearest ones when it reads them."""


class Row(TypedDict):
    """A line of metadata.jsonl."""

    file_name: str
    text: str
    speaker: str
    duration_s: float
    snr_db: float | None
    original_text: str
    original_id: str


@dataclass(frozen=True)
class Report:
    """report.json"""

    source: str
    speaker: str
    why: str
    clips: int
    minutes: float
    mean_duration_s: float
    mean_snr_db: float | None
    sample_rate_hz: int
    dropped: dict[str, int]
    """Clips that were left out, by the reason."""
    outside_alphabet: dict[str, int]
    """Clips with a character that the model does not have."""
    warnings: list[str]
    options: Options
    speakers: list[SpeakerStatistics]


Progress = Callable[[str, int, int], None]


def prepare(settings: Settings, data: Data, out: Path, options: Options, progress: Progress | None = None) -> Report:
    """Make the clips in `out` and return the report. `progress(what, done, total)` is called as it goes on.

    Raises `Conflict` when `out` has clips already, `Invalid` for data or options that can't be used.
    """
    if (out / "metadata.jsonl").exists():
        raise Conflict(f"{out} has clips already; choose another folder, or remove it")
    report_progress = progress or (lambda what, done, total: None)
    rate_hz, alphabet, warnings = _model(settings, options.model, data.language)
    items = _items(settings, data, report_progress)
    groups = speakers_of(items, options.length_s)
    speakers = _describe(groups, options, report_progress)
    if options.speaker:
        best, why = named(speakers, options.speaker), "chosen by you"
    else:
        best, why = choose(speakers, *options.clips)
    selection = _select(groups[best.id], data.language, alphabet, options, report_progress)
    chosen = _best(selection, options.clips[1])
    if not chosen:
        reasons = ", ".join(f"{count} {reason}" for reason, count in selection.dropped.items())
        raise Invalid(f"no clip of {best.id} can be used: {reasons}", code="no_clips")
    if len(chosen) < options.clips[0]:
        warnings.append(f"only {len(chosen)} clips, where at least {options.clips[0]} were wanted")
    rows = list(_write(out, chosen, best.id, rate_hz))
    report = _report(data, options, speakers, best, why, selection, rows, rate_hz, warnings)
    write_durably(out / "report.json", json.dumps(asdict(report), ensure_ascii=False, indent=1) + "\n")
    write_durably(out / "metadata.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return report


def _model(settings: Settings, name: str | None, language: str) -> tuple[int, frozenset[str], list[str]]:
    """(sample rate, alphabet, warnings)."""
    try:
        resolved = registry.ensure(settings, name) if name else registry.resolve(settings, MODEL)
    except ModelUnavailable:
        if name:
            raise
        known = ALPHABETS.get(language, ALPHABETS["en"])
        return SAMPLE_RATE_HZ, known, [f"{MODEL} is not here: its alphabet was not compared with the texts"]
    rate_hz = int(read_json(resolved.path / "config.json").get("sampling_rate", SAMPLE_RATE_HZ))
    return rate_hz, read_tokens(settings, resolved)[0].alphabet, []


def _items(settings: Settings, data: Data, report_progress: Progress) -> list[Item]:
    """The whole training split: nothing of it is held out here."""
    splits = data.splits.model_copy(update={"validation": data.splits.train})
    whole = data.model_copy(update={"splits": splits})
    return load(settings, whole, "train", lambda done, total: report_progress("lengths", done, total)).items


def _describe(groups: dict[str, list[Item]], options: Options, report_progress: Progress) -> list[SpeakerStatistics]:
    wanted = {options.speaker} if options.speaker else set(list(groups)[:CANDIDATES])
    total = sum(min(SAMPLED, len(usable(groups[name], options.length_s))) for name in wanted & set(groups))
    done = iter(range(1, total + 1))
    return [
        describe(name, items, options.length_s, name in wanted, lambda: report_progress("speakers", next(done), total))
        for name, items in groups.items()
    ]


def _select(
    items: Sequence[Item], language: str, alphabet: frozenset[str], options: Options, report_progress: Progress
) -> _Selection:
    selection = _Selection()
    fits = usable(items, (options.length_s[0], 2 * options.length_s[1]))
    selection.dropped["too short or too long"] = len(items) - len(fits)
    for number, item in enumerate(fits[: MEASURED_FACTOR * options.clips[1]]):
        report_progress("clips", number + 1, min(len(fits), MEASURED_FACTOR * options.clips[1]))
        text = normalize(item.text, language, options.number_order).replace("\n", " ")
        strange = {char for char in text.lower() if char not in alphabet and (char.isalnum() or char in ".,;:!?")}
        if not any(char.isalnum() for char in fit(text, alphabet)):
            selection.dropped["without a letter that the model knows"] += 1
            continue
        recording = trim_silence(item.audio())
        if reason := _fault(recording, options.length_s):
            selection.dropped[reason] += 1
            continue
        assert recording is not None
        selection.strange.update(strange)
        selection.clips.append(_Clip(item, text, recording))
    return selection


def _fault(recording: Recording | None, length_s: tuple[float, float]) -> str:
    if recording is None:
        return "without speech"
    if not length_s[0] <= recording.duration_s <= length_s[1]:
        return "too short or too long without its silence"
    return "clipped" if recording.clipped_share > CLIPPED_SHARE else ""


def _best(selection: _Selection, most: int) -> list[_Clip]:
    """Those spoken at a usual rate with the least noise, at most so many, in the order of the set."""
    if not selection.clips:
        return []
    usual = statistics.median(clip.rate for clip in selection.clips)
    kept = [clip for clip in selection.clips if RATE_RANGE[0] <= clip.rate / usual <= RATE_RANGE[1]]
    selection.dropped["far from the usual rate: the text may be another one"] = len(selection.clips) - len(kept)
    order = sorted(range(len(kept)), key=lambda n: -(kept[n].recording.snr_db or 0))[:most]
    selection.dropped["with more noise than those chosen"] = len(kept) - len(order)
    return [kept[number] for number in sorted(order)]


def _write(out: Path, clips: Sequence[_Clip], speaker: str, rate_hz: int) -> Iterator[Row]:
    (out / "clips").mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(clips):
        name = f"clips/{number:03}.wav"
        audio = resample(normalise_loudness(clip.recording), SAMPLE_RATE_HZ, rate_hz)
        (out / name).write_bytes(encode(audio, rate_hz, "wav"))
        yield {
            "file_name": name,
            "text": clip.text,
            "speaker": speaker,
            "duration_s": round(len(audio) / rate_hz, 3),
            "snr_db": clip.recording.snr_db,
            "original_text": clip.item.text,
            "original_id": clip.item.id,
        }


def _report(
    data: Data,
    options: Options,
    speakers: list[SpeakerStatistics],
    best: SpeakerStatistics,
    why: str,
    selection: _Selection,
    rows: list[Row],
    rate_hz: int,
    warnings: list[str],
) -> Report:
    seconds = [row["duration_s"] for row in rows]
    snrs_db = [row["snr_db"] for row in rows if row["snr_db"] is not None]
    return Report(
        source=data.source,
        speaker=best.id,
        why=why,
        clips=len(rows),
        minutes=round(sum(seconds) / 60, 2),
        mean_duration_s=round(statistics.mean(seconds), 2),
        mean_snr_db=round(statistics.mean(snrs_db), 1) if snrs_db else None,
        sample_rate_hz=rate_hz,
        dropped={reason: count for reason, count in selection.dropped.items() if count},
        outside_alphabet=dict(selection.strange.most_common()),
        warnings=warnings,
        options=options,
        speakers=speakers,
    )
