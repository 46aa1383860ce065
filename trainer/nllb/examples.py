"""Sentence pairs as NLLB learns from them: token ids of both sides, and batches of them of about equal length."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from milo.engines.nllb.checkpoint import Checkpoint
from milo.training.data.pairs import TextPair


@dataclass(frozen=True)
class Example:
    """Token ids: what the encoder reads, and what the decoder is to write (language, text, end)."""

    source: list[int]
    target: list[int]

    def __len__(self) -> int:
        return len(self.source) + len(self.target)


def encode(checkpoint: Checkpoint, source: tuple[str, str], target: tuple[str, str]) -> Example:
    """From (FLORES code, text) on both sides. Texts beyond the model's positions are cut."""
    source_ids, target_ids = checkpoint.encode([source[1], target[1]])
    longest = int(checkpoint.config.get("max_position_embeddings", 1024)) - 4
    return Example(
        checkpoint.source(source_ids[:longest], source[0]), checkpoint.source(target_ids[:longest], target[0])
    )


def both_directions(pairs: Sequence[TextPair], checkpoint: Checkpoint) -> list[Example]:
    """Every pair as two examples, one each way. `Invalid` names a language that the model does not know."""
    examples = []
    for pair in pairs:
        codes = [checkpoint.language_of(language) for language in pair.languages]
        one, other = zip(codes, pair.texts, strict=True)
        examples += [encode(checkpoint, one, other), encode(checkpoint, other, one)]
    return examples


def endless(examples: list[Example], seed: int) -> Iterator[Example]:
    """All examples in a random order, then in another one, and so on."""
    rng = random.Random(seed)
    while True:
        yield from rng.sample(examples, len(examples))


def batches_of(examples: Iterator[Example], batch_tokens: int, pool: int = 512) -> Iterator[list[Example]]:
    """Batches of about equal length from a stream: `pool` examples at a time are sorted and cut.

    `batch_tokens`: padded tokens of a batch, source and target together.
    """
    while chunk := [item for _, item in zip(range(pool), examples, strict=False)]:
        chunk.sort(key=lambda item: (len(item.source), len(item.target)))
        batches: list[list[Example]] = [[]]
        for item in chunk:
            longest = max(len(other) for other in [*batches[-1], item])
            if batches[-1] and longest * (len(batches[-1]) + 1) > batch_tokens:
                batches.append([])
            batches[-1].append(item)
        random.Random(len(chunk[0])).shuffle(batches)
        yield from batches
