"""Which speaker of a set a voice should be made of: statistics, a rule, and a sentence that says why.

The rule, in this order: a speaker has enough clips; less noise (differences under 3 dB do not count); more speech.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from milo.errors import Invalid, MiloError
from milo.models.files import near
from trainer.data.load import Item
from trainer.vits.recordings import trim_silence

UNKNOWN = "unknown"
"""What a speaker is called when the set names none."""
CANDIDATES, SAMPLED = 8, 24
"""Speakers that are listened to, those with the most clips of a usable length, and clips of each."""
STEP_DB = 3.0
EDGES_S = (0, 2, 4, 6, 8, 10, 12, 15)


@dataclass(frozen=True)
class SpeakerStatistics:
    """What is known of one speaker. SNR and rate are means over the clips listened to; None: not listened to."""

    id: str
    clips: int
    minutes: float
    usable_clips: int
    """Of a length that suits."""
    usable_minutes: float
    duration_histogram: dict[str, int]
    """Clips by their length in seconds."""
    listened_clips: int = 0
    snr_db: float | None = None
    rate_chars_per_s: float | None = None
    """Characters of text per second of speech."""


def speakers_of(items: Sequence[Item], length_s: tuple[float, float]) -> dict[str, list[Item]]:
    """Clips by speaker, the speakers with the most usable clips first."""
    by_speaker: dict[str, list[Item]] = {}
    for item in items:
        by_speaker.setdefault(item.speaker or UNKNOWN, []).append(item)
    return dict(sorted(by_speaker.items(), key=lambda pair: (-len(usable(pair[1], length_s)), pair[0])))


def usable(items: Sequence[Item], length_s: tuple[float, float]) -> list[Item]:
    return [item for item in items if length_s[0] <= item.duration_s <= length_s[1]]


def describe(
    name: str, items: Sequence[Item], length_s: tuple[float, float], listen: bool, progress: Callable[[], None]
) -> SpeakerStatistics:
    """Statistics of one speaker. `listen`: a sample of the usable clips is decoded, `progress()` called before each."""
    fits = usable(items, length_s)
    snrs_db, rates = [], []
    sample = [fits[round(at)] for at in np.linspace(0, len(fits) - 1, min(SAMPLED, len(fits)))] if listen else []
    for item in sample:
        progress()
        try:
            recording = trim_silence(item.audio())
        except MiloError:
            continue
        if recording and recording.snr_db is not None:
            snrs_db.append(recording.snr_db)
            rates.append(len(item.text) / max(recording.speech_s, 0.1))
    return SpeakerStatistics(
        name,
        len(items),
        _minutes(items),
        len(fits),
        _minutes(fits),
        _histogram([item.duration_s for item in items]),
        len(snrs_db),
        round(float(np.mean(snrs_db)), 1) if snrs_db else None,
        round(float(np.mean(rates)), 1) if rates else None,
    )


def _minutes(items: Sequence[Item]) -> float:
    return round(sum(item.duration_s for item in items) / 60, 2)


def _histogram(durations_s: Sequence[float]) -> dict[str, int]:
    counts, _ = np.histogram(durations_s, [*EDGES_S, math.inf])
    names = [f"{low}-{high}" for low, high in zip(EDGES_S, EDGES_S[1:], strict=False)] + [f"over {EDGES_S[-1]}"]
    return dict(zip(names, map(int, counts), strict=True))


def choose(speakers: Sequence[SpeakerStatistics], fewest: int, most: int) -> tuple[SpeakerStatistics, str]:
    """(the best speaker, why). Raises `Invalid` when nobody has a usable clip."""
    measured = [speaker for speaker in speakers if speaker.snr_db is not None]
    if not measured:
        raise Invalid("no speaker has a clip of a usable length in which somebody speaks", code="no_speaker")

    def rank(speaker: SpeakerStatistics) -> tuple[bool, int, float]:
        enough = speaker.usable_clips >= fewest
        steps = round((speaker.snr_db or 0) / STEP_DB)
        return (enough, steps if enough else 0, min(speaker.usable_clips, most) if enough else speaker.usable_clips)

    ordered = sorted(measured, key=lambda speaker: (rank(speaker), speaker.usable_minutes), reverse=True)
    best = ordered[0]
    reason = f"{best.id} has {best.usable_clips} usable clips ({best.usable_minutes:g} min) at {best.snr_db:g} dB SNR"
    if best.usable_clips < fewest:
        reason += f": fewer than the {fewest} wanted, but more than any other speaker"
    if len(ordered) > 1:
        next_one = ordered[1]
        reason += f"; next is {next_one.id} with {next_one.usable_clips} ({next_one.usable_minutes:g} min)"
        reason += f" at {next_one.snr_db:g} dB"
    return best, reason


def named(speakers: Sequence[SpeakerStatistics], name: str) -> SpeakerStatistics:
    """The speaker of this id. Raises `Invalid` with the ids that are near."""
    for speaker in speakers:
        if speaker.id == name:
            return speaker
    raise Invalid(
        f"the set has no speaker {name!r}.{near(name, [speaker.id for speaker in speakers])}", code="no_speaker"
    )
