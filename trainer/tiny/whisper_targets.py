"""What the decoder of `milo-tiny-mg` is to write for a window: tokens, labels, and where each label is spoken."""

from __future__ import annotations

import itertools
import random
from typing import Any

from trainer.corpus import phrasebook
from trainer.corpus.corpus import Segment, Window

FRAME_S = 0.02
Frames = tuple[int, int]
UNKNOWN: Frames = (-1, -1)
Spoken = list[tuple[int, Frames]]
"""Tokens, each with the encoder frames in which it is spoken."""
IGNORE = -100
TIMESTAMPS_SHARE = 0.2
"""of the windows"""
CTC_LETTERS = "abcdefghijklmnopqrstuvwxyz' éèêàçûôîâù"


class Targets:
    """Turns a window into decoder tokens and labels."""

    def __init__(self, tokenizer: Any) -> None:
        self.encode = lambda text: tokenizer(text, add_special_tokens=False).input_ids
        names = ("endoftext", "startoftranscript", "transcribe", "startofprev", "nospeech", "notimestamps")
        self.end, self.start, self.task, self.prompt, self.no_speech, self.no_times = (
            tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in names
        )
        self.languages = {code: tokenizer.convert_tokens_to_ids(f"<|{code}|>") for code in phrasebook.LANGUAGES}
        self.first_time = self.no_times + 1

    def _time(self, seconds: float) -> Spoken:
        frame = min(1500, max(0, round(seconds / FRAME_S)))
        return [(self.first_time + frame, (frame, frame))]

    def _sentence(self, segment: Segment) -> Spoken:
        """The tokens of a sentence, each with the frames of its word."""
        pieces = segment.text.split()
        starts = [start_s for _, start_s in segment.words]
        parts = [piece.count("-") + 1 for piece in pieces]
        if sum(parts) != len(starts):
            return [(token, UNKNOWN) for token in self.encode(f" {segment.text}")]
        firsts = [starts[at] for at in itertools.accumulate([0, *parts[:-1]])]
        spoken: Spoken = []
        for piece, start_s, end_s in zip(pieces, firsts, [*firsts[1:], segment.end_s], strict=True):
            frames = (round(start_s / FRAME_S), round(end_s / FRAME_S))
            spoken += [(token, frames) for token in self.encode(f" {piece}")]
        return spoken

    def _plain(self, window: Window) -> Spoken:
        segments = window.segments + ([window.cut] if window.cut and window.cut.text else [])
        return [token for segment in segments for token in self._sentence(segment)]

    def _timed(self, window: Window) -> Spoken:
        if not window.segments:
            return self._time(0)
        spoken: Spoken = []
        for segment in window.segments:
            spoken += [*self._time(segment.start_s), *self._sentence(segment), *self._time(segment.end_s)]
        return spoken + (self._time(window.cut.start_s) if window.cut else [])

    def __call__(self, window: Window, rng: random.Random, prompted: bool) -> tuple[list[int], list[int], list[Frames]]:
        """(decoder input, labels, frames of the labels), equally long. prompted: earlier text comes first.

        Nothing is learnt about that text, nor about the choice between timestamps and none.
        """
        timed = rng.random() < TIMESTAMPS_SHARE
        spoken = self._timed(window) if timed else [(self.no_times, UNKNOWN), *self._plain(window)]
        tokens = [self.start, self.languages[window.language], self.task, *(token for token, _ in spoken)]
        labels = tokens[1:] + [self.end]
        spans = [UNKNOWN, UNKNOWN, *(frames for _, frames in spoken), UNKNOWN]
        if not window.segments:
            labels[0] = self.no_speech
        if not timed:
            labels[2] = IGNORE
        if prompted:
            text = " ".join(phrasebook.sentence(rng, window.language).text for _ in range(rng.randint(1, 16)))
            prompt = [self.prompt, *self.encode(f" {text}")[-rng.randint(4, 222) :]]
            tokens, labels = prompt + tokens, [IGNORE] * len(prompt) + labels
            spans = [UNKNOWN] * len(prompt) + spans
        return tokens, labels, spans


def letters_of(text: str) -> list[int]:
    """CTC target of `text`: 1 + index into CTC_LETTERS."""
    return [at + 1 for at in (CTC_LETTERS.find(c) for c in text.lower()) if at >= 0]
