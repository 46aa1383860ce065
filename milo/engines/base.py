"""What an engine promises, in the field's terms, and the fake that ships with each seam.

An engine is loaded by `residency.Residency`, lives in the worker child, and is called from one thread at a time.
It knows models and numbers; it knows nothing of jobs, files or HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Mono audio at 16 kHz, shape (n,), in [-1, 1]."""


@dataclass(frozen=True)
class DecodeOptions:
    """How speech is decoded to text. Two windows with equal options may share a batch."""

    language: str | None = None
    """ISO 639-1 code, or None: detect it for each window."""
    task: str = "transcribe"
    """`transcribe`, or `translate` (to English, where the model can)."""
    prompt: str | None = None
    word_timestamps: bool = True
    beam_size: int = 1
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Tried in turn while a guard below rejects the text; a single value turns the fallback off."""
    compression_ratio_threshold: float = 2.4
    logprob_threshold: float = -1.0
    no_speech_threshold: float = 0.6


@dataclass(frozen=True)
class WordTiming:
    """`start_s`, `end_s` relative to the window; `word` keeps its leading space, as Whisper writes it."""

    word: str
    start_s: float
    end_s: float
    probability: float
    tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class WindowText:
    """What was heard in one window."""

    text: str
    tokens: list[int]
    """Text tokens only: no prompt, no special tokens, no timestamps."""
    avg_logprob: float
    """Mean natural-log probability of the tokens (the end token included); confidence is exp of it."""
    no_speech_prob: float
    compression_ratio: float
    temperature: float
    language: str
    language_probability: float
    words: list[WordTiming] = field(default_factory=list)
    """Empty when word timestamps were not asked for."""


class Transcriber(Protocol):
    """Speech to text for windows no longer than `max_window_s`."""

    name: str
    """Model version as reported in results, such as `milo-tiny-mg@1f3a9c2b`."""
    languages: Sequence[str]
    max_window_s: float
    """Longest window the model takes (Whisper: 30)."""
    pack_window_s: float
    """Length up to which short speech spans should be merged into one window for this model."""

    def transcribe(self, windows: Sequence[Samples], options: DecodeOptions) -> list[WindowText]:
        """Text of each window, in order. Batches as it sees fit; halves the batch on out-of-memory.

        Raises `Invalid` for a language or task the model does not know, `OutOfMemory` when one window alone
        does not fit.
        """
        ...


class FakeTranscriber:
    """Says how long each window is. For tests of everything around an engine, and for the no-op benchmark."""

    name = "fake@0"
    languages = ("mg", "fr", "en")
    max_window_s = 30.0
    pack_window_s = 30.0

    def __init__(self) -> None:
        self.calls: list[int] = []

    def transcribe(self, windows: Sequence[Samples], options: DecodeOptions) -> list[WindowText]:
        self.calls.append(len(windows))
        return [
            WindowText(
                text=f"{len(window) / 16000:.2f}",
                tokens=[1, 2, 3],
                avg_logprob=-0.1,
                no_speech_prob=0.0,
                compression_ratio=1.0,
                temperature=0.0,
                language=options.language or "mg",
                language_probability=1.0,
            )
            for window in windows
        ]
