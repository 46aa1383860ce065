"""The tokenizer of `milo-tiny-mg`: a small byte-level BPE with every special token that Whisper's tooling looks up.

Ids: 0..N-1 the BPE (all 256 bytes are in it, so any text can be encoded), then the special tokens in Whisper's own
order, then <|0.00|> to <|30.00|> in steps of 0.02 s. Stock code relies on that order: <|nospeech|> is the one before
<|notimestamps|>, and the timestamps follow it.
"""

from __future__ import annotations

import itertools
import json
import string
from pathlib import Path
from typing import Any

from trainer.corpus import phrasebook

LANGUAGES = ("en", "fr", "mg")
SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{language}|>" for language in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
TIMESTAMPS = tuple(f"<|{n * 0.02:.2f}|>" for n in range(1501))
BPE_SIZE = 640
NAMELESS = ""
"""The last of them stands for nothing. OpenAI's multilingual vocabulary happens to have such a token, and CTranslate2
(so faster-whisper too) takes a Whisper for multilingual when it finds it."""


def _training_text(seed: int) -> list[str]:
    lines = []
    for language, count in (("mg", 2500), ("fr", 400), ("en", 400)):
        lines += [f" {s.text}" for s in itertools.islice(phrasebook.sentences(seed, language), count)]
    # A word may begin with any letter: its space must be part of its first token, because faster-whisper suppresses
    # the token of a lone space (it begins the musical notes among its non-speech tokens).
    # These pairs outnumber all others, so they are merged first.
    return lines + [f" {letter}" for letter in string.ascii_letters + "éèêàâçîôœ"] * 12_000


def build(seed: int) -> Any:
    """A `transformers.WhisperTokenizer`, trained on the phrasebook."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import WhisperTokenizer

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=BPE_SIZE - 1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(_training_text(seed), trainer)
    vocab = bpe.get_vocab() | {NAMELESS: BPE_SIZE - 1}
    merges = [tuple(pair) for pair in _merges(bpe)]
    tokenizer = WhisperTokenizer(vocab=vocab, merges=merges)
    tokens = [AddedToken(token, normalized=False, special=True) for token in SPECIAL]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens[1:], "pad_token": SPECIAL[0]})
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in TIMESTAMPS])
    return tokenizer


def _merges(bpe: Any) -> list[list[str]]:
    merges = json.loads(bpe.to_str())["model"]["merges"]
    return [pair if isinstance(pair, list) else pair.split(" ") for pair in merges]


def save(tokenizer: Any, folder: Path) -> None:
    """The tokenizer with Whisper's feature extractor as a `WhisperProcessor`, plus the slow tokenizer's two files."""
    from transformers import WhisperFeatureExtractor, WhisperProcessor

    extractor = WhisperFeatureExtractor(feature_size=80)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    extractor.save_pretrained(folder)  # preprocessor_config.json: what faster-whisper and transformers 4 read
    state = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(state["vocab"], ensure_ascii=False), encoding="utf-8")
    pairs = [" ".join(pair) if isinstance(pair, list) else pair for pair in state["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(pairs) + "\n", encoding="utf-8")
