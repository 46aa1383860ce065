"""What every Whisper engine does alike: batches by length, language, prompt, fallback, guards, words, lack of memory.

A `Backend` only encodes, decodes and aligns; so CTranslate2 and transformers give the same results in the same shape.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from milo.engines.whisper.checkpoint import Checkpoint
from milo.engines.whisper.features import FRAMES_PER_S, HOP, RATE_HZ, batch_features
from milo.engines.whisper.guards import Attempt, compression_ratio, cut_loop, find_loop, is_doubtful, is_silence, rank
from milo.engines.whisper.words import Alignment, split_words, time_words
from milo.errors import EngineError, Invalid, MiloError, OutOfMemory
from milo.protocols import DecodeOptions, Samples, WindowText

STEPS_S = (1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30)
"""Padded lengths. Each window's depends on its own length only, so its text does not depend on its neighbours."""
SILENT = 1 / 32768
"""Samples below one step of 16-bit audio: digital silence, nothing to decode."""
TOKENS_PER_S, TOKENS_SPARE = 16, 16
"""First limit on new tokens: twice fast speech. A text that is good so far and runs into it gets Whisper's 224."""
OUT_OF_MEMORY = ("out of memory", "bad_alloc", "alloc_failed", "failed to allocate", "can't allocate memory")


@dataclass(frozen=True)
class Hypothesis:
    """One decoded sequence. `tokens` without the end token; `logprob` is the sum over tokens and the end token."""

    tokens: list[int]
    logprob: float
    no_speech_prob: float
    ended: bool


class Backend(Protocol):
    """A loaded Whisper. `encoded` is opaque: whatever `encode` returns, one row a window."""

    parallel: int
    """Threads that may call at once; one prepares its batch while another's is computed."""
    replicas: int
    """Batches that are truly computed side by side; a small call is shared out among them."""
    frame_budget: int
    """Most padded feature frames (10 ms each) in one batch."""
    weights_bytes: int

    def encode(self, features: npt.NDArray[np.float32]) -> Any: ...

    def select(self, encoded: Any, rows: list[int]) -> Any: ...

    def language_probabilities(self, encoded: Any) -> npt.NDArray[np.float32]:
        """(rows, languages), in the order of `Checkpoint.languages`."""
        ...

    def generate(
        self, encoded: Any, prompts: list[list[int]], max_tokens: int, beam_size: int, temperature: float
    ) -> list[Hypothesis]: ...

    def align(self, encoded: Any, start: list[int], texts: list[list[int]], frames: list[int]) -> list[Alignment]: ...

    def free(self) -> None:
        """Give cached memory back after running out of it."""
        ...

    def close(self) -> None: ...


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA, cuBLAS, C++ and Python say it in different ways."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in text for phrase in OUT_OF_MEMORY)


@dataclass(frozen=True)
class _Batch:
    indices: list[int]
    frames: int
    """Padded length of every window in it."""


class WhisperTranscriber:
    """The `Transcriber` of all Whisper engines (see `milo.protocols`)."""

    def __init__(self, checkpoint: Checkpoint, backend: Backend, batch_windows: int = 16) -> None:
        self.checkpoint = checkpoint
        self.backend = backend
        self.batch_windows = max(1, batch_windows)
        self.name = checkpoint.resolved.label
        self.languages: Sequence[str] = tuple(checkpoint.languages) or ("en",)
        self.max_window_s = checkpoint.info.max_window_s
        self.pack_window_s = checkpoint.info.pack_window_s
        self.size_bytes = backend.weights_bytes
        self._frame_limit = backend.frame_budget
        self._pool = ThreadPoolExecutor(backend.parallel) if backend.parallel > 1 else None

    def close(self) -> None:
        """Free the model. Nothing may be called afterwards."""
        if self._pool:
            self._pool.shutdown(wait=True)
        self.backend.close()

    def transcribe(self, windows: Sequence[Samples], options: DecodeOptions) -> list[WindowText]:
        """Text of each window, in order. See `Transcriber.transcribe`."""
        self.checkpoint.check(options)
        self._frame_limit = min(self.backend.frame_budget, self._frame_limit * 2)
        found: dict[int, WindowText] = {}
        audible = []
        for index, window in enumerate(windows):
            self._check_window(window)
            if np.any(np.abs(window) > SILENT):
                audible.append(index)
            else:
                found[index] = self._silence(options)
        batches = self._plan([(index, len(windows[index])) for index in audible])
        work = self._pool.map if self._pool and len(batches) > 1 else map
        for done in work(lambda batch: self._run(batch, windows, options), batches):
            found.update(done)
        return [found[index] for index in range(len(windows))]

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
        longest = self.max_window_s
        shortest = self.checkpoint.info.min_window_s
        seconds = next((s for s in STEPS_S if s >= max(shortest, samples / RATE_HZ)), longest)
        return 2 * round(min(seconds, longest) * FRAMES_PER_S / 2)

    def _plan(self, lengths: list[tuple[int, int]]) -> list[_Batch]:
        """Batches of equal padded length, the longest first, small enough that every replica gets some."""
        groups: dict[int, list[int]] = {}
        for index, samples in sorted(lengths, key=lambda item: item[1]):
            groups.setdefault(self.padded_frames(samples), []).append(index)
        share = math.ceil(len(lengths) / self.backend.replicas)
        batches = []
        for frames, indices in sorted(groups.items(), reverse=True):
            most = max(1, min(self.batch_windows, self._frame_limit // frames, share))
            count = math.ceil(len(indices) / most)
            batches += [_Batch([int(i) for i in part], frames) for part in np.array_split(indices, count)]
        return batches

    def _run(self, batch: _Batch, windows: Sequence[Samples], options: DecodeOptions) -> dict[int, WindowText]:
        """Decode a batch; out of memory, decode its halves. What was finished is kept."""
        count = len(batch.indices)
        if count == 1 or count * batch.frames <= self._frame_limit:
            try:
                texts = self._decode([windows[index] for index in batch.indices], batch.frames, options)
                return dict(zip(batch.indices, texts, strict=True))
            except MiloError:
                raise
            except Exception as error:
                if not is_out_of_memory(error):
                    raise EngineError(f"{self.name} failed: {error}") from error
            self.backend.free()  # outside of `except`, whose traceback holds on to the tensors
            if count == 1:
                raise OutOfMemory(
                    f"{self.name} has not enough memory for one window of {batch.frames / FRAMES_PER_S:g} s;"
                    " free some, or use a smaller model"
                )
            self._frame_limit = max(batch.frames, count // 2 * batch.frames)
        half = count // 2
        first = self._run(_Batch(batch.indices[:half], batch.frames), windows, options)
        return {**first, **self._run(_Batch(batch.indices[half:], batch.frames), windows, options)}

    def _decode(self, windows: list[Samples], frames: int, options: DecodeOptions) -> list[WindowText]:
        encoded = self.backend.encode(batch_features(windows, frames, self.checkpoint.n_mels))
        languages = self._languages(encoded, len(windows), options)
        prompts = [self.checkpoint.prompt(language, options) for language, _ in languages]
        attempts = self._attempts(encoded, prompts, frames, options)
        texts = [self._final(attempt, options) for attempt in attempts]
        words = self._words(encoded, windows, texts, languages, options)
        return [
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

    def _languages(self, encoded: Any, rows: int, options: DecodeOptions) -> list[tuple[str, float]]:
        if options.language is not None:
            return [(self.checkpoint.language_of(options.language), 1.0)] * rows
        if len(self.languages) == 1:
            return [(self.languages[0], 1.0)] * rows
        probabilities = self.backend.language_probabilities(encoded)
        best = probabilities.argmax(axis=1)
        return [(self.languages[int(b)], float(row[b])) for b, row in zip(best, probabilities, strict=True)]

    def _attempts(self, encoded: Any, prompts: list[list[int]], frames: int, options: DecodeOptions) -> list[Attempt]:
        """The best decoding of each row: the first temperature that no guard rejects, else the least bad."""
        tried: list[list[Attempt]] = [[] for _ in prompts]
        rows = list(range(len(prompts)))
        limit = self.checkpoint.max_tokens
        cap = min(limit, TOKENS_SPARE + math.ceil(TOKENS_PER_S * frames / FRAMES_PER_S))
        for temperature in options.temperatures:
            for row, attempt in zip(rows, self._try(encoded, prompts, rows, cap, temperature, options), strict=True):
                tried[row].append(attempt)
            cut = [row for row in rows if not tried[row][-1].ended and not is_doubtful(tried[row][-1], options)]
            if cut and cap < limit:
                for row, attempt in zip(
                    cut, self._try(encoded, prompts, cut, limit, temperature, options), strict=True
                ):
                    tried[row][-1] = attempt
            rows = [row for row in rows if is_doubtful(tried[row][-1], options)]
            if not rows:
                break
        return [
            row[-1] if not is_doubtful(row[-1], options) else max(row, key=lambda attempt: rank(attempt, options))
            for row in tried
        ]

    def _try(
        self,
        encoded: Any,
        prompts: list[list[int]],
        rows: list[int],
        cap: int,
        temperature: float,
        options: DecodeOptions,
    ) -> list[Attempt]:
        chosen = encoded if len(rows) == len(prompts) else self.backend.select(encoded, rows)
        beams = options.beam_size if temperature == 0 else 1
        found = self.backend.generate(chosen, [prompts[row] for row in rows], cap, beams, temperature)
        return [self._judge(hypothesis, temperature) for hypothesis in found]

    def _judge(self, hypothesis: Hypothesis, temperature: float) -> Attempt:
        tokens = self.checkpoint.text_tokens(hypothesis.tokens)
        text = self.checkpoint.decode(tokens).strip()
        steps = len(hypothesis.tokens) + hypothesis.ended
        return Attempt(
            tokens=tokens,
            text=text,
            avg_logprob=hypothesis.logprob / max(1, steps),
            no_speech_prob=hypothesis.no_speech_prob,
            temperature=temperature,
            ended=hypothesis.ended,
            compression_ratio=compression_ratio(text),
            loop=find_loop(tokens),
        )

    def _final(self, attempt: Attempt, options: DecodeOptions) -> list[int]:
        """The tokens to publish: none for silence, a loop said once."""
        if is_silence(attempt, options):
            return []
        tokens = attempt.tokens
        while (loop := find_loop(tokens)) is not None:
            tokens = cut_loop(tokens, loop)
        return tokens

    def _words(
        self,
        encoded: Any,
        windows: list[Samples],
        texts: list[list[int]],
        languages: list[tuple[str, float]],
        options: DecodeOptions,
    ) -> list[list[Any]]:
        """Word timings of each row. The rows of one language are aligned together."""
        found: list[list[Any]] = [[] for _ in windows]
        if not options.word_timestamps:
            return found
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
                found[row] = time_words(words, path, len(windows[row]) / RATE_HZ)
        return found


def cores(cpu_threads: int) -> int:
    """Threads for an engine on the CPU: the setting, else the cores that this process may use."""
    if cpu_threads > 0:
        return cpu_threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
