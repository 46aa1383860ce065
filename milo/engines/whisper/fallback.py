"""Which decoding of a window is kept: Whisper's fallback over temperatures, for a batch of windows at once.

Source: `decode_with_fallback` in `whisper/transcribe.py` of https://github.com/openai/whisper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from milo.engines.runtime.loops import find_loop
from milo.engines.whisper.backend import Backend, Hypothesis
from milo.engines.whisper.checkpoint import Checkpoint
from milo.engines.whisper.features import FRAMES_PER_S
from milo.engines.whisper.guards import Attempt, compression_ratio, is_doubtful, rank
from milo.protocols import DecodeOptions

Review = Callable[[list[Attempt]], Mapping[int, list[int]]]
TOKENS_PER_S, TOKENS_SPARE = 16, 16
"""First limit on new tokens: twice fast speech. A text that is good so far and runs into it gets Whisper's 224."""


def best_attempts(
    backend: Backend,
    checkpoint: Checkpoint,
    encoded: Any,
    prompts: list[list[int]],
    frames: int,
    options: DecodeOptions,
    review: Review = lambda _: {},
) -> list[Attempt]:
    """The best decoding of each row: the first temperature that no guard rejects, else the least doubtful.

    Every temperature decodes only the rows that are still in doubt, out of the batch that was encoded once. A row is
    first given tokens by its length: a decoder in a loop writes until it is stopped, and would hold its whole batch
    up for 224 steps. A row that is stopped so and is not in doubt was speech faster than the limit allows, and is
    decoded again, at the same temperature, with the full limit; a row in doubt goes on to the next temperature
    anyway.

    `review` sees the first decoding of each row, and gives rows another prompt: they are decoded with that instead.
    """
    prompts = list(prompts)

    def decode(rows: list[int], limit: int, temperature: float) -> list[Attempt]:
        part = encoded if len(rows) == len(prompts) else backend.select(encoded, rows)
        beams = options.beam_size if temperature == 0 else 1
        hypotheses = backend.generate(part, [prompts[row] for row in rows], limit, beams, temperature)
        return [_attempt(checkpoint, hypothesis, temperature) for hypothesis in hypotheses]

    tried: list[list[Attempt]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    longest = checkpoint.max_tokens
    limit = min(longest, TOKENS_SPARE + math.ceil(TOKENS_PER_S * frames / FRAMES_PER_S))
    for number, temperature in enumerate(options.temperatures):
        for row, attempt in zip(rows, decode(rows, limit, temperature), strict=True):
            tried[row].append(attempt)
        if number == 0 and (wrong := review([attempts[0] for attempts in tried])):
            for row, prompt in wrong.items():
                prompts[row] = prompt
            for row, attempt in zip(wrong, decode(list(wrong), limit, temperature), strict=True):
                tried[row][0] = attempt
        cut = [row for row in rows if not tried[row][-1].ended and not is_doubtful(tried[row][-1], options)]
        if cut and limit < longest:
            for row, attempt in zip(cut, decode(cut, longest, temperature), strict=True):
                tried[row][-1] = attempt
        rows = [row for row in rows if is_doubtful(tried[row][-1], options)]
        if not rows:
            break
    return [
        row[-1] if not is_doubtful(row[-1], options) else max(row, key=lambda attempt: rank(attempt, options))
        for row in tried
    ]


def _attempt(checkpoint: Checkpoint, hypothesis: Hypothesis, temperature: float) -> Attempt:
    tokens = checkpoint.text_tokens(hypothesis.tokens)
    text = checkpoint.decode(tokens).strip()
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
