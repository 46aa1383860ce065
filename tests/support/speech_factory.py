"""Real speech for tests: short Malagasy sentences by eSpeak NG at 16 kHz."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import soxr

from milo.engines.speech import espeak
from milo.protocols import Samples

SENTENCES = ("Manao ahoana tompoko", "roa arivo efatra amby roapolo", "Aiza ny tsena", "Misaotra betsaka", "Veloma")


@lru_cache(maxsize=32)
def spoken(number: int) -> Samples:
    """One sentence, about 1 to 2 s of speech, float32."""
    speech = espeak.synthesize_malagasy(SENTENCES[number % len(SENTENCES)], rate_wpm=140)
    samples = speech.samples.astype(np.float32) / 32768
    return np.asarray(soxr.resample(samples, speech.sample_rate, 16_000), np.float32)
