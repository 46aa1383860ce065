"""What a message of a chat may be, and which language it is in. Light: the API process imports this, and no engine."""

from __future__ import annotations

import re
import unicodedata

from milo.errors import Invalid
from milo.settings import Settings

FUNCTION_WORDS = {
    "mg": "ny sy ve aho ianao amin dia fa tsy misy inona aiza ahoana manao salama azafady misaotra izany ho an izy "
    "isika izahay mba efa iza firy tompoko veloma eny tsia eto ao any ilay ity io izao raha nefa koa satria tiako mila",
    "fr": "le la les un une des est et je tu vous nous il elle ils que qui quoi où comment bonjour merci pourquoi dans "
    "pour avec pas ce cette quel quelle suis es de du salut oui non mon ma mes sur moi au aux combien quand sont ai as",
    "en": "the a is are you what how who where why hello hi please thanks and of to in my i do can this that yes your "
    "me it was for with not which when tell there have has does",
}
_SETS = {language: frozenset(words.split()) for language, words in FUNCTION_WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+")


def guess_language(text: str) -> str | None:
    """`mg`, `fr` or `en`; None when no word tells, or two languages are level.

    By its function words: enough to choose the language of a reply.
    """
    words = _WORD.findall(text.lower())
    scores = sorted(((sum(word in own for word in words), language) for language, own in _SETS.items()), reverse=True)
    (best, language), (second, _) = scores[0], scores[1]
    return language if best > second else None


def check_message(message: str, settings: Settings) -> str:
    """The message without control characters. Raises `Invalid` when nothing visible is left, or it is too long."""
    if len(message) > settings.chat_max_chars:
        raise Invalid(
            f"the message has {len(message)} characters; at most {settings.chat_max_chars} are accepted",
            code="text_too_long",
        )
    whole = message.encode("utf-8", "replace").decode()
    text = "".join(char for char in whole if char in "\n\t" or unicodedata.category(char) != "Cc").strip()
    if all(unicodedata.category(char)[0] in "ZC" for char in text):
        raise Invalid("the message is empty", code="empty_message")
    return text
