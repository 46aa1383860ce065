"""What is spoken for what is written: text made ready for a voice, in Malagasy, French and English.

    plain        markup, emoji and odd characters away                    markup.py
    verbalise    numbers, dates, amounts, units, signs, abbreviations     rules.py with wording_*.py
    transliterate  letters of other scripts                               letters.py
    sentences    where a voice breathes                                   split.py

Knows nothing of audio or models, so the web process may use it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from milo.errors import Invalid
from milo.language.malagasy import NumberOrder
from milo.synthesis.normalization.figures import roman
from milo.synthesis.normalization.letters import ALPHABETS, can_be_spoken, fit, transliterate
from milo.synthesis.normalization.markup import plain, unwrap
from milo.synthesis.normalization.rules import verbalise
from milo.synthesis.normalization.split import MAX_SENTENCE_CHARS, sentences
from milo.synthesis.normalization.wording import Wording
from milo.synthesis.normalization.wording_en import EN
from milo.synthesis.normalization.wording_fr import FR
from milo.synthesis.normalization.wording_mg import MG

__all__ = [
    "ALPHABETS",
    "MAX_SENTENCE_CHARS",
    "WORDINGS",
    "check_text",
    "fit",
    "can_be_spoken",
    "sentences",
    "normalize",
]

WORDINGS: Mapping[str, Wording] = {"mg": MG, "fr": FR, "en": EN}

_TIDY: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[«»“”„\"]"), " "),
    (re.compile(r"[^\S\n]+"), " "),
    (re.compile(r" ?[()\[\]{}] ?"), ", "),
    (re.compile(r" [–—-]+ | ?[–—]+ ?"), ", "),
    (re.compile(r"…"), "..."),
)
_AFTER: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<![^\W\d_])['-]+|['-]+(?![^\W\d_])"), " "),
    (re.compile(r"[^\S\n]+"), " "),
    (re.compile(r" ?\n[ ,;:\n]*"), "\n"),
    (re.compile(r" +(?=[.,;:!?])"), ""),
    (re.compile(r"[,;:](?=[.,;:!?\n]|$)"), ""),
    (re.compile(r"(?<=[.!?])[,;:]+"), ""),
    (re.compile(r"^[.,;:!? ]+", re.M), ""),
    (re.compile(r"([,;:])(?=[^\W\d_])"), r"\1 "),
    (re.compile(r"([!?.])(?=[^\W\d_])"), r"\1 "),
    (re.compile(r"([!?])[!?.]{2,}"), r"\1"),
    (re.compile(r"\.{4,}"), "..."),
)


def check_text(text: str, max_chars: int) -> None:
    """Raise `Invalid` unless `text` can be a speech request: empty_text, or text_too_long (more than `max_chars`)."""
    if not text or not text.strip():
        raise Invalid("the text is empty; send what is to be spoken", code="empty_text")
    if len(text) > max_chars:
        raise Invalid(
            f"the text has {len(text)} characters; at most {max_chars} are spoken in one request (MILO_TTS_MAX_CHARS)",
            code="text_too_long",
        )


def normalize(text: str, language: str = "mg", order: NumberOrder = "modern") -> str:
    """What a voice of `language` (ISO 639-1) should say for `text`, in the language's own letters.

    For mg, fr and en every character of the result is in `ALPHABETS[language]`; numbers, dates, amounts, units,
    signs and abbreviations are in words. For another language only markup and emoji are removed. Text that is
    words already stays as it is. "" when nothing can be said. Never raises for any text.
    order: of Malagasy numbers, largest first ("modern") or units first ("traditional").
    """
    text = unwrap(plain(text))
    wording = WORDINGS.get(language)
    if wording is None:
        text = "".join(c if unicodedata.category(c)[0] in "LMNZ" or c in ".,;:!?'-\n%°€$£+" else " " for c in text)
        return _finish(text)
    if _shouts(text):
        text = re.sub(r"[^\W\d_]{2,}", lambda m: _calm(m[0]), text)
    text = verbalise(text, wording, order)
    for pattern, replacement in _TIDY:
        text = pattern.sub(replacement, text)
    text = transliterate(text, ALPHABETS[language])
    text = re.sub(r"[0-9]", lambda m: f" {wording.digits[int(m[0])]} ", text)
    return _finish(unicodedata.normalize("NFC", text))


def _finish(text: str) -> str:
    for pattern, replacement in _AFTER:
        text = pattern.sub(replacement, text)
    text = text.strip(" \n,;:")
    return text if can_be_spoken(text) else ""


def _shouts(text: str) -> bool:
    """Whether the text is written in capitals throughout: then they are no acronyms."""
    words = re.findall(r"[^\W\d_]{2,}", text)
    loud = [word for word in words if word.isupper()]
    return len(loud) > 2 and 2 * len(loud) > len(words)


def _calm(word: str) -> str:
    if len(word) > 1 and roman(word):
        return word  # WORLD WAR II
    return word.lower() if word.isupper() and (len(word) > 3 or re.search(r"[AEIOUYÀ-Ý]", word)) else word
