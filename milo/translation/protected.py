"""What a translation may not change: addresses, placeholders, numbers with their units, and the glossary's terms.

A sentence that holds such spans is translated as it is; where the model changed one of them, with a mark `[1]` in its
place; where it lost a mark, piece by piece around them. So every span survives with any model, and a model that copies
them well keeps the whole sentence before its eyes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from milo.language import sentences

VERSION = "protected-1"
"""Changes whenever a translation may change by what stands here."""
_UNITS = (
    r"km/h|m/s|[kKMGT]?(?:Wh?|Hz|bit|B|o)(?:/s)?|[kcdhmµμ]?(?:m[²³23]?|g|[lL])|ha|t|°\s?[CF]?|[%‰]|h|min|mn|sec|s|ms|"
    r"[kM]?(?:Ar|€|\$)|Ariary|ariary|MGA|Fmg|FMG|EUR|USD|GBP|£|¥"
)
_NUMBER = r"\d+(?:[.,:/-]\d+|[ \u00a0\u202f]\d{2,3}(?!\d))*"
_SPANS = re.compile(
    "|".join(
        (
            r"(?:https?|ftp|mailto|tel)(?:://|:)[^\s<>«»\"]+",
            r"www\.[^\s<>«»\"]+",
            r"[\w.+-]+@(?:[\w-]+\.)+[a-zA-Z]{2,}",
            r"(?<![\w.@])(?:[a-zA-Z0-9-]+\.)+(?:com|org|net|mg|fr|io|gov|edu|info|eu|dev|app)\b(?:/[^\s<>«»\"]*)?",
            r"(?<![\w@])[@#]\w[\w.-]*\w",
            r"\{\{[^{}\n]{0,80}\}\}|\$?\{[^{}\n]{0,80}\}",
            r"%\([\w.-]+\)[#0 +-]*\d*(?:\.\d+)?[a-zA-Z]|(?<![\w%])%(?:\d+\$)?[-+#0]*\d*(?:\.\d+)?[sdfiuxXeEgGc@](?!\w)",
            r"</?[a-zA-Z][\w:-]*(?:\s[^<>\n]{0,300})?/?>|&(?:#\d+|#x[\da-fA-F]+|[a-zA-Z]\w+);",
            r"`[^`\n]+`|\$[A-Za-z_]\w*|(?<!\S)--?[a-zA-Z][\w-]+(?:=\S+)?|(?<!\S)(?:~|\.{0,2})/\w[\w./-]*\w",
            rf"(?:(?:Ar|MGA|EUR|USD|[€$£¥])[ \u00a0]?)[-+−]?{_NUMBER}",
            rf"(?<![\w.,])[-+−]?{_NUMBER}[ \u00a0\u202f]?(?:{_UNITS})(?:/(?:{_UNITS}))?(?!\w)",
            rf"(?<!\w)[-+−]?{_NUMBER}(?!\w)|(?<!\w)(?=[\w.-]*\d)(?=[\w.-]*[a-zA-Z])\w[\w.-]*\w",
        )
    )
)
_CLOSING = ".,;:!?…)]}'’"
_MARK = re.compile(r"[\[［]\s*(\d{1,3})\s*[\]］]")

Terms = Callable[[str], Sequence[tuple[int, int, str]]]
"""The glossary's terms in a sentence: (start, end, what is written for it)."""
Translate = Callable[[Sequence[str]], Sequence[str]]
"""The model: the translation of each text, in order."""


@dataclass(frozen=True)
class Span:
    """Part of a sentence: `written` is what stands for it in the translation."""

    start: int
    end: int
    written: str


def no_terms(_: str) -> Sequence[tuple[int, int, str]]:
    """No glossary."""
    return ()


def find_spans(text: str, terms: Terms = no_terms) -> list[Span]:
    """What may not be changed, in order and apart from each other; addresses and the like go before terms."""
    spans = [Span(*match, text[match[0] : match[1]]) for match in _matches(text)]
    taken = [(span.start, span.end) for span in spans]
    for start, end, written in terms(text):
        if all(end <= begin or start >= stop for begin, stop in taken):
            spans.append(Span(start, end, written))
    return sorted(spans, key=lambda span: span.start)


def _matches(text: str) -> list[tuple[int, int]]:
    found = []
    for match in _SPANS.finditer(text):
        start, end = match.span()
        if match[0][0].isalpha() or match[0][0] in "@#/~.":  # an address is not the end of its sentence
            while end > start and text[end - 1] in _CLOSING and not _opened(text[start:end]):
                end -= 1
        found.append((start, end))
    return found


def _opened(address: str) -> bool:
    """Whether its last bracket belongs to it: https://mg.wikipedia.org/wiki/Fianarantsoa_(tanàna)."""
    return address[-1] in ")]}" and address.count("([{"[")]}".index(address[-1])]) >= address.count(address[-1])


def translate_all(texts: Sequence[str], model: Translate, terms: Terms = no_terms) -> list[str]:
    """Each text translated. The model is asked three times at most, each time for all the texts together."""
    plans = [_Plan(text, terms) for text in texts]
    asked = [sentence for plan in plans for sentence in plan.sentences]
    for attempt in (_Sentence.as_it_is, _Sentence.with_marks, _Sentence.in_pieces):
        open_ = [sentence for sentence in asked if sentence.translation is None]
        questions = [attempt(sentence) for sentence in open_]
        flat = [text for question in questions for text in question]
        answers = iter(model(flat) if flat else ())
        for sentence, question in zip(open_, questions, strict=True):
            sentence.take(attempt, [next(answers) for _ in question])
    return [plan.translation() for plan in plans]


class _Plan:
    """One text: left whole for the model when nothing in it is to be protected, else sentence by sentence."""

    def __init__(self, text: str, terms: Terms) -> None:
        if not find_spans(text, terms):
            self.parts: list[str | _Sentence] = [_Sentence(text, [])]
        else:
            self.parts = [
                _Sentence(part.text, find_spans(part.text, terms)) if part.is_sentence else part.text
                for part in sentences.split(text)
            ]
        self.sentences = [part for part in self.parts if isinstance(part, _Sentence)]

    def translation(self) -> str:
        return "".join(part if isinstance(part, str) else part.translation or "" for part in self.parts)


class _Sentence:
    """One sentence, and its translation as soon as there is one that keeps every span."""

    def __init__(self, text: str, spans: list[Span]) -> None:
        self.text, self.spans = text, spans
        ends = [0, *(position for span in spans for position in (span.start, span.end)), len(text)]
        self.between = [text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True)]
        """What stands around the spans: one more than there are spans."""
        nothing_to_translate = spans and not any(map(sentences.has_words, self.between))
        self.translation: str | None = self._joined(self.between) if nothing_to_translate else None

    def as_it_is(self) -> list[str]:
        return [self.text]

    def with_marks(self) -> list[str]:
        marks = [f"[{number}]" for number in range(1, len(self.spans) + 1)]
        return ["".join(_alternately(self.between, marks))]

    def in_pieces(self) -> list[str]:
        return [_core(piece)[1] for piece in self.between if sentences.has_words(piece)]

    def take(self, attempt: Callable[[_Sentence], list[str]], answers: list[str]) -> None:
        if attempt is _Sentence.in_pieces:
            made = iter(answers)
            self.translation = self._joined(
                [_like(piece, next(made)) if sentences.has_words(piece) else piece for piece in self.between]
            )
        elif attempt is _Sentence.with_marks:
            self.translation = self._restored(answers[0])
        elif self._keeps_all(answers[0]):
            self.translation = answers[0]

    def _joined(self, pieces: Sequence[str]) -> str:
        return "".join(_alternately(pieces, [span.written for span in self.spans]))

    def _keeps_all(self, answer: str) -> bool:
        """Whether every span stands there as often as it should, and no number that was not there before."""
        wanted = Counter(span.written for span in self.spans)
        for written, count in wanted.items():
            left, right = (r"\w" if character.isalnum() else r"(?!)" for character in (written[0], written[-1]))
            if len(re.findall(rf"(?<!{left}){re.escape(written)}(?!{right})", answer)) < count:
                return False
        known = re.findall(r"\d+", " ".join([self.text, *wanted]))
        return not self.spans or not Counter(re.findall(r"\d+", answer)) - Counter(known)

    def _restored(self, answer: str) -> str | None:
        """The answer with the spans in place of their marks; None when a mark was lost, doubled or made up."""
        numbers = [int(number) for number in _MARK.findall(answer)]
        rest = _MARK.sub("", answer)
        if sorted(numbers) != list(range(1, len(self.spans) + 1)) or re.search(r"\d", rest):
            return None
        return _MARK.sub(lambda mark: self.spans[int(mark[1]) - 1].written, answer)


def _alternately(between: Sequence[str], others: Sequence[str]) -> list[str]:
    mixed = [between[0]]
    for other, piece in zip(others, between[1:], strict=True):
        mixed += [other, piece]
    return mixed


def _core(piece: str) -> tuple[str, str, str]:
    """What the model is to translate of a piece, and the blanks and marks before and after."""
    match = re.fullmatch(r"(\W*)(.*?)([\s,;:(\[«\"“–—-]*)", piece, re.DOTALL)
    assert match
    return match[1], match[2], match[3]


def _like(piece: str, translated: str) -> str:
    """A translated piece with the blanks and the marks around the piece: it is no sentence of its own."""
    before, core, after = _core(piece)
    translated = translated.strip()
    if core[-1].isalnum():
        translated = translated.rstrip(" .!?…")
    if core[:1].islower() and translated[1:2].islower():
        translated = translated[:1].lower() + translated[1:]
    return before + translated + after
