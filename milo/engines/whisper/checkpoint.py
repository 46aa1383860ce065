"""What the files of a Whisper checkpoint say: tokens, languages, limits, prompts. No weights, no torch.

Stock checkpoints, fine-tuned ones and models with a vocabulary of their own are all read the same way: special tokens
by name from tokenizer.json, languages and suppressed tokens from generation_config.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milo.engines.runtime.config import find_files, read_config
from milo.engines.whisper.vocabulary import tokenizer_of
from milo.errors import Invalid, ModelUnavailable
from milo.models import registry
from milo.models.alignment_heads import usable_heads
from milo.models.ct2_whisper import check_folder_whole, read_vocabulary
from milo.models.describe import is_english_only, read_generation
from milo.models.files import holds_ctranslate2, read_json
from milo.models.tokenizers import read_tokenizer_json
from milo.protocols import DecodeOptions
from milo.settings import Settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_TOKENS = 224
"""Most text tokens of one window, as in Whisper: half of the decoder's positions."""
ISO_639_3 = {"mlg": "mg", "plt": "mg", "fra": "fr", "fre": "fr", "eng": "en"}
"""Codes that other speech models use for the same languages."""


@lru_cache(maxsize=1)
def _byte_of() -> dict[str, int]:
    """GPT-2's printable stand-in of each byte (https://github.com/openai/gpt-2/blob/master/src/encoder.py)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


@dataclass(frozen=True)
class Checkpoint:
    """The numbers and tokens of one Whisper model."""

    resolved: registry.ResolvedModel
    info: registry.ModelInfo
    n_mels: int
    max_positions: int
    """Of the decoder: prompt and text together."""
    median_filter_width: int
    """Of the alignment's attention, in frames."""
    tokenizer: Tokenizer
    token_bytes: dict[int, bytes]
    """UTF-8 bytes of each text token; special tokens and timestamps are not in it."""
    languages: dict[str, int]
    """Code -> token; empty for an English-only model."""
    tasks: dict[str, int]
    sot: int
    eot: int
    no_timestamps: int
    previous: int | None
    no_speech: int | None
    suppress: list[int]
    suppress_begin: list[int]
    alignment_heads: list[tuple[int, int]]
    """(decoder layer, head) pairs whose cross-attention follows the audio."""

    @property
    def max_tokens(self) -> int:
        return min(MAX_TOKENS, self.max_positions // 2)

    def language_of(self, code: str) -> str:
        """The model's own code of a language; `Invalid` with the list when it has none."""
        short = re.split(r"[-_]", code.strip().strip("<|>").lower())[0]
        short = ISO_639_3.get(short, short)
        languages = self.languages or {"en": 0}
        if short not in languages:
            raise Invalid(
                f"{self.resolved.name} does not know the language {code!r}; it knows {', '.join(sorted(languages))}",
                code="unknown_language",
            )
        return short

    def check(self, options: DecodeOptions) -> None:
        """Raise `Invalid` for a language, task or prompt that the model can't serve."""
        if options.language is not None:
            self.language_of(options.language)
        if options.task not in (self.tasks or {"transcribe": 0}):
            raise Invalid(
                f"{self.resolved.name} can't {options.task}: it was trained to"
                f" {' and '.join(sorted(self.tasks)) or 'transcribe'}",
                code="unknown_task",
            )
        if options.beam_size < 1 or not options.temperatures or min(options.temperatures) < 0:
            raise Invalid("beam_size is at least 1, and at least one temperature of 0 or more is needed")

    def start(self, language: str, task: str) -> list[int]:
        """`<|startoftranscript|><|mg|><|transcribe|>`, or only the first for an English-only model."""
        middle = [self.languages[language], self.tasks[task]] if self.languages else []
        return [self.sot, *middle]

    def prompt(self, language: str, options: DecodeOptions) -> list[int]:
        """All tokens before the text. A long prompt keeps its end, as in Whisper."""
        before: list[int] = []
        words = re.sub(r"<\|.*?\|>", " ", options.prompt or "").strip()
        if words and self.previous is not None:
            tokens = self.tokenizer.encode(f" {words}", add_special_tokens=False).ids
            before = [self.previous, *tokens[-(self.max_positions // 2 - 1 - 4) :]]
        return [*before, *self.start(language, options.task), self.no_timestamps]

    def text_tokens(self, tokens: Sequence[int]) -> list[int]:
        return [token for token in tokens if token in self.token_bytes]

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(self.token_bytes[token] for token in tokens).decode("utf-8", "replace")


def _special(tokenizer: Tokenizer, *names: str) -> int | None:
    tokens = (tokenizer.token_to_id(name) for name in names)
    return next((token for token in tokens if token is not None), None)


def _needed(tokenizer: Tokenizer, name: str, path: Path) -> int:
    token = _special(tokenizer, name)
    if token is None:
        raise ModelUnavailable(f"{path} has no {name} token: this is not a Whisper tokenizer")
    return token


def _token_bytes(tokenizer: Tokenizer, first_special: int) -> dict[int, bytes]:
    special = tokenizer.get_added_tokens_decoder()
    table = _byte_of()
    token_bytes = {}
    for name, token in tokenizer.get_vocab(with_added_tokens=True).items():
        if token in special or (first_special <= token and re.fullmatch(r"<\|.*\|>", name)):
            continue
        plain = all(character in table for character in name)
        token_bytes[token] = bytes(table[character] for character in name) if plain else name.encode()
    return token_bytes


def load_tokenizer(settings: Settings, resolved: registry.ResolvedModel) -> tuple[Tokenizer, Path]:
    """The tokenizer of a model and the file it came from: tokenizer.json, vocab.json with merges.txt, or CTranslate2's
    vocabulary."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    own = resolved.path / "tokenizer.json"
    if holds_ctranslate2(resolved.path) and not own.is_file() and (listed := read_vocabulary(resolved.path)):
        return tokenizer_of(listed), resolved.path
    path, *merges = find_files(settings, resolved, ["tokenizer.json"], ["vocab.json", "merges.txt"])
    if merges:
        tokenizer = Tokenizer(BPE.from_file(str(path), str(merges[0])))
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.decoder = ByteLevelDecoder()
        added = path.parent / "added_tokens.json"
        names = sorted(read_json(added).items(), key=lambda item: item[1]) if added.is_file() else []
        tokenizer.add_special_tokens([AddedToken(name, special=True) for name, _ in names])
        return tokenizer, path
    try:
        tokenizer = Tokenizer.from_str(json.dumps(read_tokenizer_json(path)))
    except ModelUnavailable:
        raise
    except Exception as error:  # tokenizers raises a bare Exception
        raise ModelUnavailable(f"{path} is no tokenizer: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, path


def _languages(tokenizer: Tokenizer, listed: object, info: registry.ModelInfo) -> dict[str, int]:
    if isinstance(listed, dict) and listed:
        return {name.strip("<|>"): int(token) for name, token in listed.items()}
    named = ((code, tokenizer.token_to_id(f"<|{code}|>")) for code in info.languages)
    return {code: token for code, token in named if token is not None}


def load_checkpoint(settings: Settings, resolved: registry.ResolvedModel) -> Checkpoint:
    """Read a checkpoint's small files. Raises `ModelUnavailable` with the file that is missing or wrong."""
    config = read_config(resolved, "whisper", "speech to text needs a whisper one")
    check_folder_whole(resolved.path)
    tokenizer, path = load_tokenizer(settings, resolved)
    generation = read_generation(settings, resolved)
    info = registry.describe(resolved, settings)
    eot = _needed(tokenizer, "<|endoftext|>", path)
    transcribe, translate = _special(tokenizer, "<|transcribe|>"), _special(tokenizer, "<|translate|>")
    languages = {} if is_english_only(config, generation) else _languages(tokenizer, generation.get("lang_to_id"), info)
    by_name = {"transcribe": transcribe, "translate": translate}
    listed: dict[str, Any] = generation.get("task_to_id") or by_name
    trained = {name: token for name, token in listed.items() if token is not None and name in info.tasks}
    tasks = {name: int(token) for name, token in trained.items()} if languages else {}
    blank = [*tokenizer.encode(" ", add_special_tokens=False).ids, eot]
    suppress = [int(token) for token in generation.get("suppress_tokens") or []]
    suppress_begin = [int(token) for token in generation.get("begin_suppress_tokens", blank) or []]
    _check_numbers(
        [eot, *languages.values(), *tasks.values(), *suppress, *suppress_begin], int(config["vocab_size"]), "token"
    )
    return Checkpoint(
        resolved=resolved,
        info=info,
        n_mels=int(config["num_mel_bins"]),
        max_positions=int(config["max_target_positions"]),
        median_filter_width=int(config.get("median_filter_width", 7)),
        tokenizer=tokenizer,
        token_bytes=_token_bytes(tokenizer, eot),
        languages=languages,
        tasks=tasks,
        sot=_needed(tokenizer, "<|startoftranscript|>", path),
        eot=eot,
        no_timestamps=_needed(tokenizer, "<|notimestamps|>", path),
        previous=_special(tokenizer, "<|startofprev|>"),
        no_speech=_special(tokenizer, "<|nospeech|>", "<|nocaptions|>"),
        suppress=suppress,
        suppress_begin=suppress_begin,
        alignment_heads=usable_heads(generation.get("alignment_heads"), config, resolved.name),
    )


def _check_numbers(numbers: Sequence[int], size: int, what: str) -> None:
    """Engines write what has such a number into a table of `size`, and look no further."""
    wrong = next((number for number in numbers if not 0 <= number < size), None)
    if wrong is not None:
        raise ModelUnavailable(f"generation_config.json names {what} {wrong}, and the model has {size}")
