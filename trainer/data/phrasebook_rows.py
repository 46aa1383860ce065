"""The phrasebook as a speech set: what `milo-tiny-mg` was taught, as sentences of every kind, recorded in every way.

For its guard set and for replay. Sentences of `train` are of the phrasebook's training split, all others of the
held-out one; the speakers of a split are its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

import numpy as np

from trainer.corpus import corpus, effects, phrasebook
from trainer.corpus.effects import Audio
from trainer.corpus.phrasebook import Sentence

NAME = "phrasebook"
"""In `data.synthetic.words`."""


def sentences(seed: int, count: Mapping[str, int]) -> dict[str, list[str]]:
    """Texts of each split; no text is in two of them."""
    streams = {part: phrasebook.sentences(seed, "mg", part) for part in ("train", "heldout")}
    seen: set[str] = set()
    splits: dict[str, list[str]] = {}
    for split, wanted in count.items():
        texts = splits[split] = []
        for sentence in streams["train" if split == "train" else "heldout"]:
            if len(texts) == wanted:
                break
            if sentence.text not in seen:
                seen.add(sentence.text)
                texts.append(sentence.text)
    return splits


def spoken(
    seed: int, count: Mapping[str, int], voices: corpus.VoicePool, speakers: int
) -> Iterator[tuple[str, str, str, Audio]]:
    """(split, text, speaker, audio), each recorded as the windows are that the embedded model was trained on."""
    for split, texts in sentences(seed, count).items():
        rng = random.Random(f"{NAME}/{seed}/{split}")
        people = [corpus.draw_voice(rng, "mg", voices) for _ in range(speakers)]
        for number, text in enumerate(texts):
            who = number % speakers
            dry, _ = corpus.speak(Sentence(text, "mg", NAME), people[who], fresh=True)
            numbers = np.random.default_rng(rng.getrandbits(64))
            yield split, text, f"{split}-{who:02}", effects.simulate_recording(dry, numbers)
