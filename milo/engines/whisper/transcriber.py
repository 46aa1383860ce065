"""What every Whisper engine does alike: batches by length, language, prompt, fallback, guards, words, lack of memory.

A `Backend` only encodes, decodes and aligns; so CTranslate2 and transformers give the same results in the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from milo.engines.runtime.loops import without_loops
from milo.engines.runtime.memory import BatchLimit
from milo.engines.whisper.backend import Backend
from milo.engines.whisper.checkpoint import Checkpoint
from milo.engines.whisper.fallback import Review, best_attempts
from milo.engines.whisper.features import FRAMES_PER_S, HOP, RATE_HZ, batch_features
from milo.engines.whisper.guards import Attempt, is_silence, is_trusted
from milo.engines.whisper.languages import BatchLanguages, Detected
from milo.engines.whisper.words import split_words, time_words
from milo.errors import Invalid
from milo.protocols import DecodeOptions, KeptLanguage, Samples, WindowText, WordTiming

STEPS_S = (1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30)
"""Padded lengths. Each window's depends on its own length only, so its text does not depend on its neighbours."""
SPARE_S = 1.0
"""Silence behind the sound of a window that is shorter than the model was trained for: cut off in the middle of a word
it writes in circles."""
SILENT = 1 / 32768
"""Samples below one step of 16-bit audio: digital silence, nothing to decode."""


_Heard = tuple[WindowText, bool]
"""What was heard in a window, and whether it is trusted (`guards.is_trusted`)."""
_Kept = Sequence[KeptLanguage | None]
"""By window: the language that its recording keeps, which needs no asking."""


@dataclass(frozen=True)
class _Batch:
    indices: list[int]
    frames: int
    """Padded length of every window in it."""


class WhisperTranscriber:
    """The `Transcriber` of all Whisper engines (see `milo.protocols`)."""

    def __init__(
        self, checkpoint: Checkpoint, backend: Backend, batch_windows: int = 16, min_window_s: float = 0
    ) -> None:
        """`min_window_s`: shortest window, padding included, where that is less than the model was trained for; 0: as
        it was trained."""
        self.checkpoint = checkpoint
        self.backend = backend
        self.batch_windows = max(1, batch_windows)
        self.name = checkpoint.resolved.label
        self.languages: Sequence[str] = tuple(checkpoint.languages) or ("en",)
        self.max_window_s = checkpoint.info.max_window_s
        self.pack_window_s = checkpoint.info.pack_window_s
        self.min_window_s = min(checkpoint.info.min_window_s, min_window_s or checkpoint.info.min_window_s)
        self.size_bytes = backend.weights_bytes
        self._limit = BatchLimit(self.name, backend.frame_budget, backend.free)
        self._pool = ThreadPoolExecutor(backend.parallel) if backend.parallel > 1 else None

    def close(self) -> None:
        """Free the model. Nothing may be called afterwards."""
        if self._pool:
            self._pool.shutdown(wait=True)
        self.backend.close()

    def transcribe(
        self, windows: Sequence[Samples], options: DecodeOptions, kept: Sequence[KeptLanguage | None] = ()
    ) -> list[WindowText]:
        """Text of each window, in order. See `Transcriber.transcribe`."""
        self.checkpoint.check(options)
        known = [one if one and one.code in self.languages else None for one in kept] or [None] * len(windows)
        self._limit.raise_again()
        texts: dict[int, WindowText] = {}
        audible = []
        for index, window in enumerate(windows):
            self._check_window(window)
            if np.any(np.abs(window) > SILENT):
                audible.append(index)
            else:
                texts[index] = self._silence(options)
        batches = self._plan([(index, len(windows[index])) for index in audible])
        work = self._pool.map if self._pool and len(batches) > 1 else map
        for finished in work(lambda batch: self._run(batch, windows, options, known), batches):
            texts.update(finished)
        return [texts[index] for index in range(len(windows))]

    def _check_window(self, window: Samples) -> None:
        if window.ndim != 1:
            raise Invalid(f"a window is one channel of samples; this one has the shape {window.shape}")
        if len(window) > self.max_window_s * RATE_HZ + HOP:
            raise Invalid(
                f"a window of {len(window) / RATE_HZ:.2f} s is longer than the {self.max_window_s:g} s that"
                f" {self.name} takes"
            )

    def _silence(self, options: DecodeOptions) -> WindowText:
        language = self.checkpoint.language_of(options.language) if options.language else ""
        return WindowText("", [], 0.0, 1.0, 0.0, 0.0, language, 0.0)

    def padded_frames(self, samples: int) -> int:
        """The length that a window is padded to, in feature frames; even, as the encoder halves it."""
        spare_s = SPARE_S if self.min_window_s < self.checkpoint.info.min_window_s else 0.0
        return self._frames(max(self.min_window_s, samples / RATE_HZ + spare_s))

    def _trained_frames(self, samples: int) -> int:
        """As `padded_frames`, in the length that the model was trained for."""
        return self._frames(max(self.checkpoint.info.min_window_s, samples / RATE_HZ))

    def _frames(self, least_s: float) -> int:
        seconds = next((s for s in STEPS_S if s >= least_s), self.max_window_s)
        return 2 * round(min(seconds, self.max_window_s) * FRAMES_PER_S / 2)

    def _plan(self, lengths: list[tuple[int, int]]) -> list[_Batch]:
        """Batches of (index, samples), each of one padded length, the longest first.

        Stock Whisper was trained on windows padded to 30 s and gets them, unless a shorter `min_window_s` is asked for.
        A model that takes shorter ones gets each window padded to the next of `STEPS_S`, so that a batch costs about
        what its speech is long. All windows of a batch have the same padded length, and which windows share a batch
        never changes a text: padding depends on the window alone, and no attention crosses rows. A batch is bounded
        by the setting, by the frames that fit the memory, and by the share of one replica, so that a small call is
        spread over all of them. The longest come first: a call ends when its last batch does, and a short last
        batch leaves the other replicas idle for less time. `array_split` evens the sizes out (9 windows at most 8
        a batch are 5 and 4, not 8 and 1).
        """
        groups: dict[int, list[int]] = {}
        for index, samples in sorted(lengths, key=lambda item: item[1]):
            groups.setdefault(self.padded_frames(samples), []).append(index)
        share = math.ceil(len(lengths) / self.backend.replicas)
        batches = []
        for frames, indices in sorted(groups.items(), reverse=True):
            most = max(1, min(self.batch_windows, self._limit.units // frames, share))
            count = math.ceil(len(indices) / most)
            batches += [_Batch([int(i) for i in part], frames) for part in np.array_split(indices, count)]
        return batches

    def _run(
        self, batch: _Batch, windows: Sequence[Samples], options: DecodeOptions, kept: _Kept
    ) -> dict[int, WindowText]:
        """Decode a batch. Where its windows are shorter than the model was trained for, those that it is not sure of
        are decoded again in the length that it was trained for, and only those at other temperatures."""
        trained = max(self._trained_frames(len(windows[index])) for index in batch.indices)
        if batch.frames >= trained:
            heard = self._compute(batch, windows, options, kept)
        else:
            heard = self._compute(batch, windows, replace(options, temperatures=options.temperatures[:1]), kept)
            again = [index for index, (_, trusted) in heard.items() if not trusted]
            if again:
                heard |= self._compute(_Batch(again, trained), windows, options, kept)
        return {index: text for index, (text, _) in heard.items()}

    def _compute(
        self, batch: _Batch, windows: Sequence[Samples], options: DecodeOptions, kept: _Kept
    ) -> dict[int, _Heard]:
        """Decode a batch; out of memory, its halves."""
        frames = batch.frames
        heard = self._limit.run(
            batch.indices,
            unit=lambda _: frames,
            compute=lambda indices: self._decode(
                [windows[index] for index in indices], frames, options, [kept[index] for index in indices]
            ),
            alone=lambda _: f"one window of {frames / FRAMES_PER_S:g} s",
        )
        return dict(zip(batch.indices, heard, strict=True))

    def _decode(self, windows: list[Samples], frames: int, options: DecodeOptions, kept: _Kept) -> list[_Heard]:
        encoded = self.backend.encode(batch_features(windows, frames, self.checkpoint.n_mels))
        languages, review = self._languages(encoded, options, kept)
        prompts = [self.checkpoint.prompt(language, options) for language, _ in languages]
        attempts = best_attempts(self.backend, self.checkpoint, encoded, prompts, frames, options, review)
        texts = [_published(attempt, options) for attempt in attempts]
        words = self._words(encoded, windows, texts, languages, options)
        heard = [
            WindowText(
                text=self.checkpoint.decode(tokens).strip(),
                tokens=tokens,
                avg_logprob=attempt.avg_logprob,
                no_speech_prob=attempt.no_speech_prob,
                compression_ratio=attempt.compression_ratio,
                temperature=attempt.temperature,
                language=language,
                language_probability=probability,
                words=timings,
            )
            for attempt, tokens, (language, probability), timings in zip(attempts, texts, languages, words, strict=True)
        ]
        return [(text, is_trusted(attempt, options)) for text, attempt in zip(heard, attempts, strict=True)]

    def _languages(self, encoded: Any, options: DecodeOptions, kept: _Kept) -> tuple[list[Detected], Review]:
        """The language of each row, and what changes it after the first decoding."""
        if options.language is not None or len(self.languages) == 1:
            given = self.checkpoint.language_of(options.language) if options.language else self.languages[0]
            return [(given, 1.0)] * len(kept), lambda _: {}
        languages = BatchLanguages(self.backend, self.languages, encoded, kept)

        def review(first: list[Attempt]) -> dict[int, list[int]]:
            return {
                row: self.checkpoint.prompt(languages.rows[row][0], options) for row in languages.review(first, options)
            }

        return languages.rows, review

    def _words(
        self,
        encoded: Any,
        windows: list[Samples],
        texts: list[list[int]],
        languages: list[tuple[str, float]],
        options: DecodeOptions,
    ) -> list[list[WordTiming]]:
        """Word timings of each row.

        The rows of one language are aligned together: the alignment begins with the language's token, which is the
        same for all rows of a call. Each row's path is searched in its own frames only, not in the padding.
        """
        timings: list[list[WordTiming]] = [[] for _ in windows]
        if not options.word_timestamps:
            return timings
        for language in sorted({code for code, _ in languages}):
            rows = [row for row, (code, _) in enumerate(languages) if code == language and texts[row]]
            if not rows:
                continue
            chosen = encoded if len(rows) == len(windows) else self.backend.select(encoded, rows)
            frames = [max(2, math.ceil(len(windows[row]) / HOP)) for row in rows]
            start = self.checkpoint.start(language, options.task)
            paths = self.backend.align(chosen, start, [texts[row] for row in rows], frames)
            for row, path in zip(rows, paths, strict=True):
                words = split_words(texts[row], self.checkpoint.token_bytes, language)
                timings[row] = time_words(words, path, len(windows[row]) / RATE_HZ)
        return timings


def _published(attempt: Attempt, options: DecodeOptions) -> list[int]:
    """The tokens of the result: none for silence, a loop cut to one unit."""
    return [] if is_silence(attempt, options) else without_loops(attempt.tokens)
