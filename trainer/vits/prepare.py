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
from typing import Any

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
from trainer.vits.recordings import Recording, levelled, trimmed
from trainer.vits.speakers import CANDIDATES, SAMPLED, Speaker, choose, describe, named, speakers_of, usable

MODEL = "facebook/mms-tts-mlg"
HEARD_MOST = 4
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
class _Found:
    """Clips of the speaker, and why others were left out."""

    clips: list[_Clip] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    strange: Counter[str] = field(default_factory=Counter)
    """Characters outside the model's alphabet, which become the nearest ones when it reads them."""


Told = Callable[[str, int, int], None]


def prepare(settings: Settings, data: Data, out: Path, options: Options, told: Told | None = None) -> dict[str, Any]:
    """Make the clips in `out` and return the report. `told(what, done, total)` hears how far it is.

    Raises `Conflict` when `out` has clips already, `Invalid` for data or options that can't be used.
    """
    if (out / "metadata.jsonl").exists():
        raise Conflict(f"{out} has clips already; choose another folder, or remove it")
    say = told or (lambda what, done, total: None)
    rate_hz, alphabet, warnings = _model(settings, options.model, data.language)
    items = _items(settings, data, say)
    groups = speakers_of(items, options.length_s)
    speakers = _describe(groups, options, say)
    if options.speaker:
        best, why = named(speakers, options.speaker), "chosen by you"
    else:
        best, why = choose(speakers, *options.clips)
    found = _listen(groups[best.id], data.language, alphabet, options, say)
    chosen = _best(found, options.clips[1])
    if not chosen:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.dropped.items())
        raise Invalid(f"no clip of {best.id} can be used: {reasons}", code="no_clips")
    if len(chosen) < options.clips[0]:
        warnings.append(f"only {len(chosen)} clips, where at least {options.clips[0]} were wanted")
    rows = list(_write(out, chosen, best.id, rate_hz))
    report = _report(data, options, speakers, best, why, found, rows, rate_hz, warnings)
    write_durably(out / "report.json", json.dumps(report, ensure_ascii=False, indent=1) + "\n")
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


def _items(settings: Settings, data: Data, say: Told) -> list[Item]:
    """The whole training split: nothing of it is held out here."""
    splits = data.splits.model_copy(update={"validation": data.splits.train})
    whole = data.model_copy(update={"splits": splits})
    return load(settings, whole, "train", lambda done, total: say("lengths", done, total)).items


def _describe(groups: dict[str, list[Item]], options: Options, say: Told) -> list[Speaker]:
    wanted = {options.speaker} if options.speaker else set(list(groups)[:CANDIDATES])
    total = sum(min(SAMPLED, len(usable(groups[name], options.length_s))) for name in wanted & set(groups))
    done = iter(range(1, total + 1))
    return [
        describe(name, items, options.length_s, name in wanted, lambda: say("speakers", next(done), total))
        for name, items in groups.items()
    ]


def _listen(items: Sequence[Item], language: str, alphabet: frozenset[str], options: Options, say: Told) -> _Found:
    found = _Found()
    fits = usable(items, (options.length_s[0], 2 * options.length_s[1]))
    found.dropped["too short or too long"] = len(items) - len(fits)
    for number, item in enumerate(fits[: HEARD_MOST * options.clips[1]]):
        say("clips", number + 1, min(len(fits), HEARD_MOST * options.clips[1]))
        text = normalize(item.text, language, options.number_order).replace("\n", " ")
        strange = {char for char in text.lower() if char not in alphabet and (char.isalnum() or char in ".,;:!?")}
        if not any(char.isalnum() for char in fit(text, alphabet)):
            found.dropped["without a letter that the model knows"] += 1
            continue
        recording = trimmed(item.audio())
        if reason := _fault(recording, options.length_s):
            found.dropped[reason] += 1
            continue
        assert recording is not None
        found.strange.update(strange)
        found.clips.append(_Clip(item, text, recording))
    return found


def _fault(recording: Recording | None, length_s: tuple[float, float]) -> str:
    if recording is None:
        return "without speech"
    if not length_s[0] <= recording.duration_s <= length_s[1]:
        return "too short or too long without its silence"
    return "clipped" if recording.clipped_share > CLIPPED_SHARE else ""


def _best(found: _Found, most: int) -> list[_Clip]:
    """Those spoken at a usual rate with the least noise, at most so many, in the order of the set."""
    if not found.clips:
        return []
    usual = statistics.median(clip.rate for clip in found.clips)
    kept = [clip for clip in found.clips if RATE_RANGE[0] <= clip.rate / usual <= RATE_RANGE[1]]
    found.dropped["far from the usual rate: the text may be another one"] = len(found.clips) - len(kept)
    order = sorted(range(len(kept)), key=lambda n: -(kept[n].recording.snr_db or 0))[:most]
    found.dropped["with more noise than those chosen"] = len(kept) - len(order)
    return [kept[number] for number in sorted(order)]


def _write(out: Path, clips: Sequence[_Clip], speaker: str, rate_hz: int) -> Iterator[dict[str, Any]]:
    (out / "clips").mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(clips):
        name = f"clips/{number:03}.wav"
        audio = resample(levelled(clip.recording), SAMPLE_RATE_HZ, rate_hz)
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
    speakers: list[Speaker],
    best: Speaker,
    why: str,
    found: _Found,
    rows: list[dict[str, Any]],
    rate_hz: int,
    warnings: list[str],
) -> dict[str, Any]:
    seconds = [row["duration_s"] for row in rows]
    heard = [row["snr_db"] for row in rows if row["snr_db"] is not None]
    return {
        "source": data.source,
        "speaker": best.id,
        "why": why,
        "clips": len(rows),
        "minutes": round(sum(seconds) / 60, 2),
        "mean_duration_s": round(statistics.mean(seconds), 2),
        "mean_snr_db": round(statistics.mean(heard), 1) if heard else None,
        "sample_rate_hz": rate_hz,
        "dropped": {reason: count for reason, count in found.dropped.items() if count},
        "outside_alphabet": dict(found.strange.most_common()),
        "warnings": warnings,
        "options": asdict(options),
        "speakers": [speaker.document() for speaker in speakers],
    }
