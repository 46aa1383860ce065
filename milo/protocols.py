"""What an engine promises, in the field's terms, and the fake that ships with each seam.

An engine is loaded by `residency.Residency`, lives in the worker child, and is called from one thread at a time.
It knows models and numbers; it knows nothing of jobs, files or HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # processes that hold no engine import this module too, and need no numpy
    import numpy as np
    import numpy.typing as npt

Samples: TypeAlias = "npt.NDArray[np.float32]"
"""Mono audio at 16 kHz, shape (n,), in [-1, 1]."""


@dataclass(frozen=True)
class KeptLanguage:
    """The language of a whole recording, as some of its windows tell."""

    code: str
    """ISO 639-1."""
    probability: float
    """Of the language, in the least sure of those windows."""
    logprob: float
    """`avg_logprob` of the least probable of their texts: a text below it may be in another language."""


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

    def transcribe(
        self, windows: Sequence[Samples], options: DecodeOptions, kept: Sequence[KeptLanguage | None] = ()
    ) -> list[WindowText]:
        """Text of each window, in order. Batches as it sees fit; halves the batch on out-of-memory.

        `kept`: the language that the recording of each window keeps, as far as it is known and `options` name none. A
        window is not asked for its language then, unless its text is doubtful.
        Raises `Invalid` for a language or task the model does not know, `OutOfMemory` when one window alone
        does not fit.
        """
        ...


class Synthesizer(Protocol):
    """Text to speech, one sentence at a time, so that the first audio leaves early."""

    name: str
    sample_rate_hz: int
    languages: Sequence[str]
    voices: Sequence[str]

    def synthesize(self, text: str, *, language: str, voice: str | None = None, speed: float = 1.0) -> Samples:
        """Mono float32 audio at `sample_rate_hz` of a text that is ready to be spoken (numbers in words).

        Raises `Invalid` for a language or voice it does not have.
        """
        ...


class Translator(Protocol):
    """Text to text between languages named by ISO 639-1 codes."""

    name: str
    languages: Sequence[str]

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """The translation of each text, in order. Raises `Invalid` for a language it does not have."""
        ...


@dataclass(frozen=True)
class Message:
    """One turn of a chat; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class ChatEnd:
    """How an answer ended: the value of `reply`'s generator, where the model knows."""

    finish: str
    """`stop`: it was complete. `length`: `max_tokens` or the context ended it."""
    prompt_tokens: int
    reply_tokens: int
    cached_tokens: int = 0
    """Prompt tokens that were still known from an earlier answer."""
    dropped_messages: int = 0
    """The oldest ones, which the context had no room for."""


class ChatModel(Protocol):
    """A language model that answers a conversation, piece by piece."""

    name: str

    def reply(self, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.7) -> Iterator[str]:
        """Pieces of the answer as they are made. Closing the iterator stops the model.

        Empty pieces may come while a long prompt is read: points at which the reader may stop.
        The oldest turns are left out, by tokens, when the conversation does not fit the context.
        A model may also take `top_p`, `json_schema` (JSON text: the answer is JSON of that schema) and `whole` (leave
        out nothing); they are given only where they are asked for.
        Raises, before the first piece, `ModelUnavailable` when the model can't answer at all, and `ContextExceeded`
        when the last turn, or `whole` the conversation, does not fit.
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
        self.asked = 0
        """Windows whose recording did not keep a language."""

    def transcribe(
        self, windows: Sequence[Samples], options: DecodeOptions, kept: Sequence[KeptLanguage | None] = ()
    ) -> list[WindowText]:
        self.calls.append(len(windows))
        self.asked += len(windows) - sum(map(bool, kept))
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
