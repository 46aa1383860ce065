"""What every NLLB engine does alike: sentences, batches by length, limits, guards, lack of memory.

A `Backend` only turns source tokens into target tokens; so CTranslate2 and transformers give the same text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from milo.engines.nllb.checkpoint import Checkpoint
from milo.engines.runtime.loops import find_loop, without_loops
from milo.engines.runtime.memory import BatchLimit
from milo.errors import Invalid
from milo.language import sentences

LENGTH_STEP = 32
"""Limits on new tokens are rounded up to this, so that a sentence's limit depends on its own length only."""
TOKENS_PER_TOKEN, TOKENS_SPARE = 3, 24
"""Most new tokens for a source token, and for a sentence of none. The FLORES languages stay below a ratio of 3."""


class Backend(Protocol):
    """A loaded model."""

    token_budget: int
    """Most padded source tokens in one batch."""
    weights_bytes: int

    def generate(
        self, sources: list[list[int]], target: int, max_tokens: int, beam_size: int, strict: bool
    ) -> list[list[int]]:
        """Target tokens of each source, without the language's token and the end token.

        `target`: token of the target language. `strict`: no sequence of 3 tokens may come twice.
        """
        ...

    def free(self) -> None:
        """Give cached memory back after running out of it."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Item:
    """One sentence to be translated."""

    index: int
    tokens: list[int]

    @property
    def max_tokens(self) -> int:
        return LENGTH_STEP * math.ceil((len(self.tokens) * TOKENS_PER_TOKEN + TOKENS_SPARE) / LENGTH_STEP)


class NllbTranslator:
    """The `Translator` of all NLLB engines (see `milo.protocols`)."""

    def __init__(self, checkpoint: Checkpoint, backend: Backend, beam_size: int = 4) -> None:
        self.checkpoint = checkpoint
        self.backend = backend
        self.beam_size = max(1, beam_size)
        self.name = checkpoint.resolved.label
        self.languages: Sequence[str] = tuple(checkpoint.languages)
        self.size_bytes = backend.weights_bytes
        self._limit = BatchLimit(self.name, backend.token_budget, backend.free)

    def close(self) -> None:
        """Free the model. Nothing may be called afterwards."""
        self.backend.close()

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """The translation of each text, in order. See `Translator.translate`.

        Line breaks, bullets and lines without a word are kept; a sentence that comes twice is translated once.
        """
        from_code, to_code = self.checkpoint.language_of(source), self.checkpoint.language_of(target)
        if from_code == to_code:
            raise Invalid(f"source and target are the same language ({target})", code="same_language")
        self._limit.raise_again()
        plans = [self._plan(text) for text in texts]
        unique = list(dict.fromkeys(part.text for plan in plans for part in plan if part.is_sentence))
        translated = dict(zip(unique, self._sentences(unique, from_code, to_code), strict=True))
        return ["".join(translated[part.text] if part.is_sentence else part.text for part in plan) for plan in plans]

    def _plan(self, text: str) -> list[sentences.Part]:
        """Parts of a text; no sentence is longer than the model takes."""
        waiting, plan = list(reversed(sentences.split(text))), []
        while waiting:
            part = waiting.pop()
            if not part.is_sentence or not self._too_long(part.text):
                plan.append(part)
                continue
            for piece in reversed(sentences.halves(part.text)):
                core = piece.strip()
                blanks = piece[len(piece.rstrip()) :] if core else ""
                waiting += [sentences.Part(blanks, False), sentences.Part(core or piece, sentences.has_words(core))]
        return plan

    def _too_long(self, sentence: str) -> bool:
        if len(sentence) < 2:
            return False
        return len(self.checkpoint.encode([sentence])[0]) > self.checkpoint.max_source_tokens

    def _sentences(self, texts: list[str], source: str, target: str) -> list[str]:
        tokens = self.checkpoint.encode(texts)
        items = [_Item(i, self.checkpoint.source(row, source)) for i, row in enumerate(tokens)]
        target_token = self.checkpoint.token_of[target]
        rows = self._decode(items, target_token, strict=False)
        loops = [item for item in items if find_loop(rows[item.index]) and not find_loop(item.tokens)]
        if loops:
            again = self._decode(loops, target_token, strict=True)
            rows.update({index: without_loops(row) for index, row in again.items()})
        return [self.checkpoint.decode(rows[i]) or text for i, text in enumerate(texts)]

    def _decode(self, items: list[_Item], target: int, strict: bool) -> dict[int, list[int]]:
        """Batches of sentences with the same limit, the longest first."""
        groups: dict[int, list[_Item]] = {}
        for item in sorted(items, key=lambda item: (-len(item.tokens), item.tokens)):
            groups.setdefault(item.max_tokens, []).append(item)
        rows: dict[int, list[int]] = {}
        for group in groups.values():
            while group:
                count = max(1, self._limit.units // len(group[0].tokens))
                rows.update(self._run(group[:count], target, strict))
                group = group[count:]
        return rows

    def _run(self, batch: list[_Item], target: int, strict: bool) -> dict[int, list[int]]:
        """Decode a batch; out of memory, its halves."""
        limit = min(batch[0].max_tokens, self.checkpoint.max_positions - 2)
        rows = self._limit.run(
            batch,
            unit=lambda items: len(items[0].tokens),
            compute=lambda items: self.backend.generate(
                [item.tokens for item in items], target, limit, self.beam_size, strict
            ),
            alone=lambda item: f"one sentence of {len(item.tokens)} tokens",
        )
        return {item.index: row for item, row in zip(batch, rows, strict=True)}
