"""Speech for a text: clean it up, cut it into sentences, speak each, and join them without clicks.

Knows no model: it is given a `Synthesizer`. Knows no file formats: `milo.audio.encode` writes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from milo.audio.resample import resample
from milo.errors import Invalid, ModelBroken
from milo.language.malagasy import NumberOrder
from milo.protocols import Samples, Synthesizer
from milo.synthesis.normalization import can_be_spoken, check_text, normalize, sentences

SPEEDS = (0.25, 4.0)
SAMPLE_RATES_HZ = (8000, 48000)
MAX_CHARS = 500
SENTENCE_CHARS, FIRST_SENTENCE_CHARS = 200, 80
PEAK = 10 ** (-1 / 20)
"""Peaks are brought to -1 dBFS: as loud as a codec takes without clipping."""
MAX_GAIN = 20.0
FADE_S, MARGIN_S = 0.005, 0.03
SILENT = 0.003
"""Samples below this share of a sentence's peak (-50 dB) at its ends are silence, which the pauses replace."""
_PAUSES_S = {".": 0.35, "!": 0.35, "?": 0.35, ",": 0.15, ";": 0.25, ":": 0.25}
_NO_MARK_S = 0.1


def synthesize(
    synth: Synthesizer,
    text: str,
    *,
    language: str = "mg",
    voice: str | None = None,
    speed: float = 1.0,
    sample_rate_hz: int | None = None,
    max_chars: int = MAX_CHARS,
    order: NumberOrder = "modern",
) -> Iterator[Samples]:
    """Audio of `text`, sentence by sentence: float32 mono in [-1, 1] at `sample_rate_hz` (None: the engine's own).

    Each chunk ends with its pause, so that the chunks are joined by writing one after the other. The first sentence
    sets the loudness; a later one only lowers it, if it would clip. Closing the iterator stops after a sentence.
    Raises at once, before the first chunk: `Invalid` with the code empty_text, nothing_to_speak, text_too_long,
    unknown_language, unknown_voice, bad_speed or bad_sample_rate. While iterating: `ModelBroken`; nothing_to_speak
    too, when the engine has no sound for any of it.
    """
    check_text(text, max_chars)
    rate_hz = sample_rate_hz or synth.sample_rate_hz
    _check(synth, language, voice, speed, rate_hz)
    ready = normalize(text, language, order)
    if not can_be_spoken(ready):
        raise Invalid("the text has no word that can be spoken: only signs, emoji or markup", code="nothing_to_speak")
    pieces = sentences(ready, SENTENCE_CHARS, FIRST_SENTENCE_CHARS)
    return _speak_pieces(synth, pieces, language, voice, speed, rate_hz)


def speak(
    synth: Synthesizer,
    text: str,
    *,
    language: str = "mg",
    voice: str | None = None,
    speed: float = 1.0,
    sample_rate_hz: int | None = None,
    max_chars: int = MAX_CHARS,
    order: NumberOrder = "modern",
) -> Samples:
    """The whole of `synthesize` in one array."""
    chunks = synthesize(
        synth,
        text,
        language=language,
        voice=voice,
        speed=speed,
        sample_rate_hz=sample_rate_hz,
        max_chars=max_chars,
        order=order,
    )
    return np.concatenate(list(chunks))


def _check(synth: Synthesizer, language: str, voice: str | None, speed: float, rate_hz: int) -> None:
    if language not in synth.languages:
        raise Invalid(
            f"{synth.name} does not speak {language!r}; it speaks {', '.join(synth.languages)}",
            code="unknown_language",
        )
    if voice is not None and voice not in synth.voices:
        raise Invalid(f"{synth.name} has no voice {voice!r}; it has {', '.join(synth.voices)}", code="unknown_voice")
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise Invalid(f"the speed is {speed}; it must be {SPEEDS[0]} to {SPEEDS[1]}", code="bad_speed")
    low, high = SAMPLE_RATES_HZ
    if not low <= rate_hz <= high:
        raise Invalid(f"the sample rate is {rate_hz} Hz; it must be {low} to {high}", code="bad_sample_rate")


def _speak_pieces(
    synth: Synthesizer, pieces: list[str], language: str, voice: str | None, speed: float, rate_hz: int
) -> Iterator[Samples]:
    gain, silent = math.inf, True
    for index, piece in enumerate(pieces):
        samples = synth.synthesize(piece, language=language, voice=voice, speed=speed)
        if not np.isfinite(samples).all():
            raise ModelBroken(f"{synth.name} gave no audio for {piece[:60]!r}", code="no_audio")
        samples = resample(_trim(samples, synth.sample_rate_hz), synth.sample_rate_hz, rate_hz)
        if not len(samples):
            continue
        silent = False
        gain = min(gain, MAX_GAIN, PEAK / max(float(np.abs(samples).max()), 1e-9))
        last = index == len(pieces) - 1
        pause_s = 0.0 if last else _PAUSES_S.get(piece[-1], _NO_MARK_S) / speed
        yield np.concatenate(
            [_fade(samples * np.float32(gain), rate_hz), np.zeros(round(pause_s * rate_hz), np.float32)]
        )
    if silent:
        raise Invalid(f"{synth.name} knows no sound for this text", code="nothing_to_speak")


def _trim(samples: Samples, rate_hz: int) -> Samples:
    """Without the silence at both ends, but for a margin. Silence alone becomes empty."""
    level = np.abs(samples)
    loud = np.flatnonzero(level > SILENT * level.max()) if len(samples) else np.zeros(0, np.intp)
    if not len(loud):
        return samples[:0]
    margin = round(MARGIN_S * rate_hz)
    return samples[max(0, int(loud[0]) - margin) : int(loud[-1]) + 1 + margin]


def _fade(samples: Samples, rate_hz: int) -> Samples:
    """From and to zero in 5 ms at both ends, so that nothing clicks."""
    length = min(round(FADE_S * rate_hz), len(samples) // 2)
    if length:
        ramp = (0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)).astype(np.float32)
        samples[:length] *= ramp
        samples[len(samples) - length :] *= ramp[::-1]
    return samples
