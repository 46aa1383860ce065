"""A tokenizer out of a list of tokens alone: what a CTranslate2 folder has that was converted without tokenizer.json.

Byte pair encoding learns its tokens one by one, each out of two that are there already; so the order of the tokens
tells the merges: of each token the two parts that the merges before it leave of its characters. Text then becomes the
same tokens as with OpenAI's own tokenizer; transformers reads tiktoken's files in this way (`TikTokenConverter`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from milo.errors import ModelUnavailable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_TOKEN_CHARS = 256
SPECIAL = re.compile(r"<\|.*\|>")


def tokenizer_of(names: Sequence[str]) -> Tokenizer:
    """The byte-level tokenizer of tokens in the order of their numbers. Raises `ModelUnavailable` for what is none."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    first = next((number for number, name in enumerate(names) if SPECIAL.fullmatch(name)), len(names))
    if first == len(names) or max(map(len, names)) > MAX_TOKEN_CHARS or len(set(names)) < len(names):
        raise ModelUnavailable("the vocabulary is none of Whisper: it has no special tokens, or one twice")
    ranks = {name: number for number, name in enumerate(names[:first])}
    tokenizer = Tokenizer(BPE(vocab=ranks, merges=merges_of(ranks)))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names[first:]])
    return tokenizer


def merges_of(ranks: dict[str, int]) -> list[tuple[str, str]]:
    """The pairs that were joined, in the order in which they were learned."""
    merges = []
    for name, rank in ranks.items():
        parts = list(name)
        while len(parts) > 2:
            pairs = [ranks.get(one + other, rank) for one, other in zip(parts, parts[1:], strict=False)]
            at = min(range(len(pairs)), key=pairs.__getitem__)
            if pairs[at] >= rank:
                break  # nothing that is older joins any two of them
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2 and all(part in ranks for part in parts):
            merges.append((parts[0], parts[1]))
    return merges
