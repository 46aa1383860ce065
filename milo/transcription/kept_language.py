"""The language that a long recording keeps: asked of some of its windows, and not of every one.

Every eighth window of a channel, and its last one, are asked. Where all of them agree and are sure, the others are
decoded in that language; where they don't, each is asked as it comes. Which windows these are depends on the recording
alone, so a text depends neither on what shares a batch with it, nor on where a job was taken up. A window in another
language that lies between is found by the engine, if its text is doubtful (`milo.engines.whisper.languages`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from milo.protocols import KeptLanguage, WindowText

ASKED_EVERY = 8
KEPT_FROM = 24
"""Windows of a channel from which it pays: the windows that are asked come first, and have a batch for themselves."""
SURE = 0.8

Asked = tuple[int, ...]


def spoken_for(channels: Iterable[int]) -> dict[int, Asked]:
    """The windows that need not be asked -> those that are, of the same channel; all by their place in the recording.

    `channels`: how many windows each channel has, in order.
    """
    found: dict[int, Asked] = {}
    first = 0
    for count in channels:
        asked = {*range(first, first + count, ASKED_EVERY), first + count - 1} if count >= KEPT_FROM else set()
        if asked:
            found |= dict.fromkeys(sorted(set(range(first, first + count)) - asked), tuple(sorted(asked)))
        first += count
    return found


def kept_language(asked: Asked, heard: Mapping[int, WindowText]) -> KeptLanguage | None:
    """The language of a channel whose `asked` windows were heard; None where it keeps none. Silence has no say."""
    texts = [heard[place] for place in asked if heard[place].text]
    if not texts or len({text.language for text in texts}) > 1:
        return None
    probability = min(text.language_probability for text in texts)
    logprob = min(text.avg_logprob for text in texts)
    return KeptLanguage(texts[0].language, probability, logprob) if probability >= SURE else None
