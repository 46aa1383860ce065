"""Where speech is: frame probabilities from Silero, and spans from probabilities. Numbers in, sample positions out.

`Vad` and `Segmenter` are streaming and independent of each other; `StreamingVad` is both, for a live microphone.
All positions are samples at 16 kHz since the first sample fed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from milo.audio.silero import CONTEXT, FRAME, Array, Silero, load_silero, zero_state

SAMPLE_RATE_HZ = 16_000
FRAME_S = FRAME / SAMPLE_RATE_HZ
_SETTLED_FRAMES = 8192
"""After so many frames of exact zeros (4 minutes) the state of the network no longer changes (by more than 1e-5)."""

Span = tuple[int, int]
"""First sample, and the one behind the last."""


@dataclass(frozen=True)
class VadOptions:
    """When a stretch counts as speech. The names are Silero's; the defaults suit transcription."""

    threshold: float = 0.5
    """Speech starts at a frame of at least this probability."""
    neg_threshold: float | None = None
    """It may end at a frame below this one; None: `threshold` - 0.15."""
    min_speech_s: float = 0.1
    """Shorter spans are dropped."""
    min_silence_s: float = 0.3
    """Shorter pauses do not end a span."""
    pad_s: float = 0.2
    """Added at both ends of a span, at most to the middle of the pause between two."""

    @property
    def release(self) -> float:
        return max(self.threshold - 0.15, 0.01) if self.neg_threshold is None else self.neg_threshold


class Event(NamedTuple):
    """Speech began or ended at `sample`. A start is told once it has lasted `min_speech_s`."""

    kind: Literal["start", "end"]
    sample: int


class Vad:
    """Speech probability of each 512-sample frame of one stream."""

    def __init__(self, model: Silero | None = None) -> None:
        self._model = model or load_silero()
        self.reset()

    def reset(self) -> None:
        """Forgets the stream, for another one."""
        self._state = zero_state()
        self._context = np.zeros(CONTEXT, np.float32)
        self._rest = np.zeros(0, np.int16)
        self._zero_run = 0
        self._last = np.float32(0)

    def feed(self, pcm: npt.NDArray[np.int16]) -> Array:
        """Takes any number of int16 samples; gives the probabilities, shape (n,), of the frames that are complete."""
        pcm = np.concatenate([self._rest, pcm]) if len(self._rest) else pcm
        count = len(pcm) // FRAME
        self._rest = pcm[count * FRAME :].copy()
        if not count:
            return np.zeros(0, np.float32)
        body = pcm[: count * FRAME].reshape(count, FRAME)
        awake = self._awake(body)
        frames = np.empty((count, CONTEXT + FRAME), np.float32)
        np.multiply(body, np.float32(1 / 32768), out=frames[:, CONTEXT:])
        frames[0, :CONTEXT] = self._context
        frames[1:, :CONTEXT] = frames[:-1, -CONTEXT:]
        self._context = frames[-1, -CONTEXT:].copy()
        computed, self._state = self._model(frames if awake.all() else frames[awake], self._state)
        known = np.concatenate([[self._last], computed])
        probabilities: Array = known[np.cumsum(awake)].astype(np.float32)
        self._last = probabilities[-1]
        return probabilities

    def finish(self) -> Array:
        """The probability of the last, incomplete frame (as if silence followed): shape (0,) or (1,)."""
        return self.feed(np.zeros(FRAME - len(self._rest), np.int16)) if len(self._rest) else np.zeros(0, np.float32)

    def _awake(self, body: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
        """Which frames have to be computed: all but those deep in a run of digital silence."""
        index = np.arange(len(body))
        last_sound = np.maximum.accumulate(np.where(body.any(axis=1), index, -1 - self._zero_run))
        self._zero_run = int(index[-1] - last_sound[-1])
        awake: npt.NDArray[np.bool_] = index - last_sound <= _SETTLED_FRAMES
        return awake


class Segmenter:
    """Hysteresis over frame probabilities, as Silero's `get_speech_timestamps`, one frame at a time."""

    def __init__(self, options: VadOptions | None = None) -> None:
        self.options = options or VadOptions()
        self.spans: list[Span] = []
        """Finished spans, without padding."""
        self._frame = 0
        self._start: int | None = None
        self._quiet_at: int | None = None
        self._told = False

    @property
    def speaking(self) -> bool:
        """Whether a span is open that was told by a start event."""
        return self._told

    def feed(self, probabilities: Iterable[float]) -> list[Event]:
        """Takes the next frames; gives what began and ended in them."""
        options = self.options
        threshold, release = options.threshold, options.release
        min_silence = options.min_silence_s * SAMPLE_RATE_HZ
        events: list[Event] = []
        for probability in probabilities:
            at = self._frame * FRAME
            self._frame += 1
            if probability >= threshold:
                self._quiet_at = None
                if self._start is None:
                    self._start = at
            elif self._start is None:
                continue
            elif probability < release:
                if self._quiet_at is None:
                    self._quiet_at = at
                if at - self._quiet_at >= min_silence:
                    self._close(self._quiet_at, events)
                    continue
            if self._quiet_at is None:
                self._tell(at + FRAME, events)
        return events

    def finish(self, samples: int | None = None) -> list[Event]:
        """Ends the stream after `samples` (None: after the last whole frame) and closes an open span there."""
        events: list[Event] = []
        if self._start is not None:
            self._close(self._frame * FRAME if samples is None else samples, events)
        return events

    def _tell(self, reached: int, events: list[Event]) -> None:
        if not self._told and self._start is not None:
            if reached - self._start > self.options.min_speech_s * SAMPLE_RATE_HZ:
                self._told = True
                events.append(Event("start", self._start))

    def _close(self, end: int, events: list[Event]) -> None:
        self._tell(end, events)
        if self._told and self._start is not None:
            self.spans.append((self._start, end))
            events.append(Event("end", end))
        self._start, self._quiet_at, self._told = None, None, False


class StreamingVad:
    """Start and end events of a live stream, fed with pieces of any size."""

    def __init__(self, options: VadOptions | None = None, model: Silero | None = None) -> None:
        self._vad = Vad(model)
        self._segmenter = Segmenter(options)
        self._samples = 0
        self.probability = 0.0
        """Of the last whole frame."""

    @property
    def speaking(self) -> bool:
        return self._segmenter.speaking

    def feed(self, pcm: npt.NDArray[np.int16]) -> list[Event]:
        """Takes int16 samples at 16 kHz; a start is known some 0.1 s after it, an end `min_silence_s` after it."""
        self._samples += len(pcm)
        probabilities = self._vad.feed(pcm)
        if len(probabilities):
            self.probability = float(probabilities[-1])
        return self._segmenter.feed(probabilities.tolist())

    def finish(self) -> list[Event]:
        """Ends the stream: what the last samples still bring."""
        return self._segmenter.feed(self._vad.finish().tolist()) + self._segmenter.finish(self._samples)


def pad_spans(spans: list[Span], pad: int, samples: int) -> list[Span]:
    """Spans widened by `pad` samples within [0, samples]; neighbours share a pause shorter than two pads."""
    starts = [max(0, start - pad) for start, _ in spans]
    ends = [min(samples, end + pad) for _, end in spans]
    for n in range(len(spans) - 1):
        if ends[n] > starts[n + 1]:
            ends[n] = starts[n + 1] = (spans[n][1] + spans[n + 1][0]) // 2
    return list(zip(starts, ends, strict=True))


def find_speech(pcm: npt.NDArray[np.int16], options: VadOptions | None = None) -> list[Span]:
    """Padded speech spans of a whole int16 recording at 16 kHz."""
    vad, segmenter = Vad(), Segmenter(options)
    segmenter.feed(vad.feed(pcm).tolist() + vad.finish().tolist())
    segmenter.finish(len(pcm))
    return pad_spans(segmenter.spans, round(segmenter.options.pad_s * SAMPLE_RATE_HZ), len(pcm))
