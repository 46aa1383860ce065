"""Speech by eSpeak NG: small, at once, in many languages; Malagasy by the rules of `milo.language.malagasy`.

The embedded default: library and voices come in a wheel, nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

import numpy as np

from milo.audio.resample import change_tempo
from milo.engines.speech import espeak
from milo.errors import Invalid
from milo.protocols import Samples
from milo.settings import Settings
from milo.synthesis.voices import ESPEAK_BASES, ESPEAK_VOICES, espeak_languages

WORDS_PER_MINUTE = 160
"""eSpeak's rate at speed 1."""
SPEEDS = (0.25, 4.0)


class EspeakSynthesizer:
    """A `Synthesizer`; see `milo.protocols`. Calls are serialised by eSpeak's own lock."""

    size_bytes = 20_000_000
    """Resident memory that the library and one voice take, about."""

    def __init__(self) -> None:
        self.languages: Sequence[str] = espeak_languages(frozenset(espeak.voices()))
        self._bases = {code: ESPEAK_BASES.get(code, code) for code in self.languages}
        self.voices: Sequence[str] = tuple(voice for voice in ESPEAK_VOICES if voice in espeak.variants())
        self.sample_rate_hz = espeak.synthesize("", voice=self._bases[self.languages[0]]).sample_rate
        self.name = f"espeak-ng@{metadata.version('espeakng-loader')}"

    def synthesize(self, text: str, *, language: str, voice: str | None = None, speed: float = 1.0) -> Samples:
        """See `Synthesizer.synthesize`. Empty for text without a letter. The same arguments, the same samples.

        Rates that eSpeak does not have are reached by changing the tempo of the nearest one.
        """
        if language not in self._bases:
            raise Invalid(
                f"{self.name} does not speak {language!r}; it speaks {', '.join(self.languages)}",
                code="unknown_language",
            )
        if voice is not None and voice not in self.voices:
            raise Invalid(f"{self.name} has no voice {voice!r}; it has {', '.join(self.voices)}", code="unknown_voice")
        low, high = SPEEDS
        if not low <= speed <= high:
            raise Invalid(f"the speed is {speed}; it must be {low} to {high}", code="bad_speed")
        wanted_wpm = WORDS_PER_MINUTE * speed
        rate_wpm = round(min(max(wanted_wpm, espeak.RATE_WPM[0]), espeak.RATE_WPM[1]))
        base = self._bases[language]
        if language == "mg":
            speech = espeak.synthesize_malagasy(text, voice=base, variant=voice, rate_wpm=rate_wpm, fresh=True)
        else:
            speech = espeak.synthesize(text, voice=base, variant=voice, rate_wpm=rate_wpm, fresh=True)
        samples = speech.samples.astype(np.float32) / np.float32(32768)
        return change_tempo(samples, speech.sample_rate, wanted_wpm / rate_wpm)

    def close(self) -> None:
        """Nothing to free: eSpeak's data stays for the process."""


def load(settings: Settings, model: object = None) -> EspeakSynthesizer:
    """The embedded voice, which needs no model. Raises `ModelUnavailable` without eSpeak NG."""
    return EspeakSynthesizer()
