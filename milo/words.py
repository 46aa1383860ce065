"""Which language a short text is in, by its function words: enough to choose the language of a reply."""

from __future__ import annotations

import re

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
    """`mg`, `fr` or `en`; None when no word tells, or two languages are level."""
    words = _WORD.findall(text.lower())
    scores = sorted(
        ((sum(word in known for word in words), language) for language, known in _SETS.items()), reverse=True
    )
    (best, language), (second, _) = scores[0], scores[1]
    return language if best > second else None
