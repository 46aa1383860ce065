"""An edited text and the words that were heard: who did not change keeps times; what is new gets times in between.

Words are compared without case and punctuation, so that a comma or a capital letter moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from milo.transcription.cues import spread
from milo.transcription.transcript import Word

BY_HAND = 1.0
"""The probability of a word that somebody wrote."""


def aligned(words: Sequence[Word], text: str, start_s: float, end_s: float) -> list[Word]:
    """The words of `text`, in seconds of the recording. `words` are those of the old text, said within the times given.

    A word that is equal but for case and punctuation keeps its times and its probability. Others are `interpolated`:
    over the time of the words that they replace, or between their neighbours.
    """
    new = [piece.word.strip() for piece in spread(text, 0.0, 1.0)]
    spaces = [" " if piece.word[:1].isspace() or not index else "" for index, piece in enumerate(spread(text, 0, 1))]
    old_keys, new_keys = [_key(word.word) for word in words], [_key(word) for word in new]
    made: list[Word] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old_keys, new_keys, autojunk=False).get_opcodes():
        if tag == "equal":
            made += [
                word.model_copy(update={"word": spaces[j] + new[j]})
                for word, j in zip(words[i1:i2], range(j1, j2), strict=True)
            ]
            continue
        before_s = words[i1 - 1].end if i1 else start_s
        after_s = words[i2].start if i2 < len(words) else end_s
        from_s, to_s = (words[i1].start, words[i2 - 1].end) if i1 < i2 else (before_s, max(before_s, after_s))
        made += interpolated([spaces[j] + new[j] for j in range(j1, j2)], from_s, to_s)
    return made


def interpolated(words: Sequence[str], start_s: float, end_s: float) -> list[Word]:
    """Words over a time, in proportion to their characters, and marked so."""
    each_s = (end_s - start_s) / max(1, sum(len(word) for word in words))
    made, done = [], 0
    for word in words:
        from_s, to_s = start_s + done * each_s, start_s + (done + len(word)) * each_s
        made.append(Word(word=word, start=round(from_s, 3), end=round(to_s, 3), probability=BY_HAND, interpolated=True))
        done += len(word)
    return made


def _key(word: str) -> str:
    """What counts of a word; a word of nothing but punctuation counts as it is."""
    letters = "".join(character for character in word.casefold() if character.isalnum())
    return letters or word.strip()
