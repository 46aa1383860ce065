"""Samples in, utterances out: when somebody begins to speak, and when what was said is complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from milo.audio.silero import FRAME
from milo.audio.vad import FRAME_S, SAMPLE_RATE_HZ, Segmenter, Vad, VadOptions

PRE_ROLL_S = 0.3
"""Kept before the first frame that counts as speech: a soft consonant begins before the detector hears it."""
TAIL_S = 0.2
"""Kept of the silence that ended the utterance."""
MIN_SPEECH_S = 0.25
"""Less speech than this in a whole utterance is a cough or a click."""
CUT_WITHIN_S = 2.0
"""An utterance that is too long is cut at the least voiced frame of its last two seconds."""
_BYTES_PER_S = SAMPLE_RATE_HZ * 2


@dataclass(frozen=True)
class Began:
    """Somebody speaks."""


@dataclass(frozen=True)
class Utterance:
    """What was said, with pre-roll: int16 LE at 16 kHz."""

    pcm: bytes
    waited_s: float
    """Audio between the last speech and the decision that the utterance is complete."""

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / _BYTES_PER_S


@dataclass(frozen=True)
class Ended:
    """An utterance is complete. None: it was too short to be one. `speaking`: it was cut, and speech goes on."""

    utterance: Utterance | None
    speaking: bool = False


class Endpointer:
    """One microphone. Positions are samples since the last reset."""

    def __init__(self, silence_s: float, most_s: float) -> None:
        self._options = VadOptions(min_silence_s=silence_s)
        self._most_bytes = round(most_s * SAMPLE_RATE_HZ) * 2
        self._keep = round((PRE_ROLL_S + silence_s + 0.5) * SAMPLE_RATE_HZ)
        self._odd = b""
        self._prefix = b""
        self._vad = Vad()
        self._reset()

    def _reset(self) -> None:
        self._vad.reset()
        self._segmenter = Segmenter(self._options)
        self._audio = bytearray()
        self._base = 0
        """Position of the first sample in `_audio`."""
        self._at = 0
        """Position behind the last frame that was judged."""
        self._floor = 0
        self._from: int | None = None
        """Where the utterance that is being spoken begins."""
        self._voiced = self._quiet = 0
        self._recent: list[float] = []
        self.continuing = False
        """Whether the present utterance goes on where a too long one was cut."""

    @property
    def speaking(self) -> bool:
        return self._from is not None

    @property
    def voiced_s(self) -> float:
        """Speech in the present utterance, pauses not counted."""
        return self._voiced * FRAME_S

    def prepend(self, pcm: bytes) -> bool:
        """Let the present utterance begin with an earlier one. False: the two would be longer than one may be."""
        if len(pcm) > self._most_bytes // 2:
            return False
        self._prefix = pcm
        return True

    def so_far(self) -> bytes:
        """The present utterance up to now; empty when nobody speaks."""
        return b"" if self._from is None else self._prefix + self._cut(self._from, self._base + len(self._audio) // 2)

    def feed(self, data: bytes) -> Iterator[Began | Ended]:
        """Take any number of bytes, half samples included; what they bring about, in order."""
        data = self._odd + data
        whole = len(data) - len(data) % 2
        self._odd = data[whole:]
        self._audio += data[:whole]
        for probability in self._vad.feed(np.frombuffer(data[:whole], "<i2")).tolist():
            yield from self._frame(probability)
        keep_from = self._at - self._keep if self._from is None else self._from
        if keep_from > self._base:
            del self._audio[: (keep_from - self._base) * 2]
            self._base = keep_from

    def stop(self) -> Ended:
        """The utterance ends here. Begins anew: what follows has nothing to do with what came before."""
        ended = Ended(self._utterance(self._base + len(self._audio) // 2) if self.speaking else self._leftover())
        self._odd = b""
        self._reset()
        return ended

    def _frame(self, probability: float) -> Iterator[Began | Ended]:
        self._at += FRAME
        voiced = probability >= self._options.release
        self._voiced += voiced
        self._quiet = 0 if voiced else self._quiet + 1
        for kind, sample in self._segmenter.feed([probability]):
            if kind == "start":
                self._from = max(self._floor, sample - round(PRE_ROLL_S * SAMPLE_RATE_HZ), self._base)
                yield Began()
            elif self._from is not None:
                end = min(sample + round(TAIL_S * SAMPLE_RATE_HZ), self._at)
                yield Ended(self._utterance(end))
                self._next(end)
        if self._from is None:
            if self._quiet * FRAME > self._options.min_silence_s * SAMPLE_RATE_HZ:
                self._voiced = 0
        else:
            self._recent = [*self._recent[-round(CUT_WITHIN_S / FRAME_S) :], probability]
            if (self._at - self._from) * 2 + len(self._prefix) >= self._most_bytes:
                yield self._cut_short()

    def _cut_short(self) -> Ended:
        assert self._from is not None
        back = len(self._recent) - int(np.argmin(self._recent)) - 1
        end = max(self._at - back * FRAME, self._from + FRAME)
        ended = Ended(self._utterance(end), speaking=True)
        self._next(end)
        self._from, self.continuing = end, True
        return ended

    def _next(self, end: int) -> None:
        self._floor, self._from, self._voiced, self._recent = end, None, 0, []
        self.continuing = False

    def _utterance(self, end: int) -> Utterance | None:
        assert self._from is not None
        if self.voiced_s < MIN_SPEECH_S:
            return self._leftover()
        pcm = self._prefix + self._cut(self._from, end)
        self._prefix = b""
        return Utterance(pcm, self._quiet * FRAME_S)

    def _leftover(self) -> Utterance | None:
        """The earlier utterance, when what was to continue it was nothing."""
        pcm, self._prefix = self._prefix, b""
        return Utterance(pcm, self._quiet * FRAME_S) if pcm else None

    def _cut(self, start: int, end: int) -> bytes:
        return bytes(self._audio[(start - self._base) * 2 : (end - self._base) * 2])
