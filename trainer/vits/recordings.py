"""One recording on its way to become a clip that a voice learns from: trimmed, measured, brought to one loudness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from milo.audio.encode import to_int16
from milo.audio.vad import SAMPLE_RATE_HZ, VadOptions, find_speech
from trainer.data.measure import Audio
from trainer.evaluation.score import snr_db

MARGIN_S = 0.1
"""Kept before the first and after the last speech."""
SPEECH_DBFS, PEAK_DBFS = -20.0, -1.0
"""Loudness of the speech in a clip (RMS), unless its peaks would be above the other one."""
CLIPPED = 0.999
VAD = VadOptions(pad_s=0.0)


@dataclass(frozen=True)
class Recording:
    """A recording without the silence at its ends."""

    audio: Audio
    """(n,) at 16 kHz, as loud as it was"""
    speech_s: float
    snr_db: float | None
    clipped_share: float
    """Of samples at full scale."""
    speech_rms: float

    @property
    def duration_s(self) -> float:
        return len(self.audio) / SAMPLE_RATE_HZ


def trim_silence(audio: Audio) -> Recording | None:
    """Silence at both ends away, by Silero, but for a margin. None when nobody speaks."""
    spans = find_speech(to_int16(audio), VAD)
    if not spans:
        return None
    margin = round(MARGIN_S * SAMPLE_RATE_HZ)
    kept = audio[max(0, spans[0][0] - margin) : spans[-1][1] + margin]
    speech = np.concatenate([audio[start:end] for start, end in spans]).astype(np.float64)
    return Recording(
        kept,
        len(speech) / SAMPLE_RATE_HZ,
        snr_db(audio),
        float((np.abs(kept) >= CLIPPED).mean()),
        float(np.sqrt((speech**2).mean())),
    )


def normalise_loudness(recording: Recording) -> Audio:
    """Its audio with the speech at -20 dBFS, or as near as its peaks allow."""
    peak = float(np.abs(recording.audio).max(initial=0))
    gain = 10 ** (SPEECH_DBFS / 20) / max(recording.speech_rms, 1e-6)
    return (recording.audio * min(gain, 10 ** (PEAK_DBFS / 20) / max(peak, 1e-6))).astype(np.float32)
