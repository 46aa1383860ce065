"""tokenizer.json and SentencePiece files, looked at before a library reads them: what makes a short text grow without
end, or take for ever, is refused.

`tokenizers` runs what its file says: replacements (forty that double make a letter a terabyte), padding to any length,
regular expressions that go back and forth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from milo.errors import ModelUnavailable
from milo.models.files import read_json

MAX_ADDED = 100_000
MAX_GROWTH = 64
"""How much longer all replacements together may make a text."""
MAX_PATTERN_CHARS = 1_000
MAX_PIECES = 1_000_000
MAX_PIECE_CHARS = 256
MAX_PIECES_BYTES = 64 * 1024**2
_STEPS = ("normalizer", "pre_tokenizer", "decoder")


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """The document of a tokenizer.json. Raises `ModelUnavailable` with what can't be let through."""
    document = read_json(path)
    added = document.get("added_tokens") or []
    if not isinstance(added, list) or len(added) > MAX_ADDED:
        raise ModelUnavailable(f"{path} adds more than {MAX_ADDED} tokens")
    for part in _STEPS:
        growth = 1
        for step in _steps(document.get(part)):
            growth *= max(1, len(str(step.get("content") or step.get("prepend") or "")))
            if growth > MAX_GROWTH:
                raise ModelUnavailable(f"{path}: the replacements of its {part} make a text {growth} times as long")
            _check_pattern(path, step.get("pattern"))
    return document


def _steps(step: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """A step and those inside it."""
    if not isinstance(step, dict) or depth > 8:
        return
    yield step
    for inner in ("normalizers", "pretokenizers", "decoders", "processors"):
        for one in step.get(inner) or ():
            yield from _steps(one, depth + 1)


def _check_pattern(path: Path, pattern: Any) -> None:
    expression = pattern.get("Regex") if isinstance(pattern, dict) else None
    if isinstance(expression, str) and (len(expression) > MAX_PATTERN_CHARS or repeats_of_repeats(expression)):
        raise ModelUnavailable(f"{path} has an expression that may take for ever: {expression[:60]!r}")


def repeats_of_repeats(expression: str) -> bool:
    """Whether a group that holds a repetition (or a choice) is itself repeated, as in `(a+)+`, or refers back."""
    bare = re.sub(r"\[(?:\\.|[^\]\\])*\]", "C", re.sub(r"\\[^\d]", "E", expression))
    if re.search(r"\\\d", bare):
        return True
    groups: list[bool] = []
    for index, character in enumerate(bare):
        if character == "(":
            groups.append(False)
        elif character == ")" and groups:
            repeats = groups.pop()
            if repeats and re.match(r"[*+]|\{\d+(?:,\d*)?\}", bare[index + 1 :]):
                return True
            if groups:
                groups[-1] |= repeats
        elif character in "*+{|" and groups:
            groups[-1] = True
    return False


def check_pieces(path: Path) -> None:
    """Raises `ModelUnavailable` for a SentencePiece file that is larger than any vocabulary."""
    if path.stat().st_size > MAX_PIECES_BYTES:
        raise ModelUnavailable(f"{path} is larger than {MAX_PIECES_BYTES} bytes: not a vocabulary")


def check_vocabulary(path: Path, pieces: list[str]) -> None:
    """Raises `ModelUnavailable` for too many pieces, or one that is too long: cutting it up would take for ever."""
    longest = max(map(len, pieces), default=0)
    if len(pieces) > MAX_PIECES or longest > MAX_PIECE_CHARS:
        raise ModelUnavailable(f"{path} has {len(pieces)} pieces, the longest of {longest} characters: no vocabulary")
