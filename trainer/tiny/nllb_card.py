"""Measures `milo-tiny-nllb` on held-out sentences, with the engine that serves it, and writes its model card."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from milo.engines.nllb import ct2
from milo.engines.nllb.translator import NllbTranslator
from milo.models import registry
from milo.models.files import count_parameters
from milo.settings import Settings
from trainer.corpus import phrasebook_pairs
from trainer.corpus.phrasebook_pairs import Pair
from trainer.evaluation.chrf import chrf

SENTENCES = 2000
"""Held-out pairs that the card is measured on."""
DIRECTIONS = (("mg", "fr"), ("fr", "mg"), ("mg", "en"), ("en", "mg"), ("fr", "en"), ("en", "fr"))


@dataclass(frozen=True)
class Score:
    """`exact` is the share of sentences translated exactly as the phrasebook does, 0 to 1; `chrf` 0 to 100."""

    exact: float
    chrf: float


def compare(candidates: Sequence[str], references: Sequence[str]) -> Score:
    hits = sum(a == b for a, b in zip(candidates, references, strict=True))
    return Score(hits / len(references), chrf(candidates, references))


def score(translator: NllbTranslator, pairs: Sequence[Pair], direction: tuple[str, str]) -> Score:
    """One direction, canonical sentences."""
    source, target = direction
    return compare(
        translator.translate([p.texts[source] for p in pairs], source, target), [p.texts[target] for p in pairs]
    )


def round_trip(translator: NllbTranslator, pairs: Sequence[Pair], via: str = "fr") -> Score:
    """Malagasy -> `via` -> Malagasy, against the sentence it began with."""
    texts = [p.texts["mg"] for p in pairs]
    return compare(translator.translate(translator.translate(texts, "mg", via), via, "mg"), texts)


def phrases() -> list[Pair]:
    """The fixed phrases, each once. They are training sentences."""
    return [
        Pair(
            "phrase",
            {language: phrasebook_pairs.finish(pattern.sides[language], language) for language in pattern.sides},
            "",
        )
        for pattern in phrasebook_pairs.all_patterns()["phrase"]
    ]


@dataclass(frozen=True)
class Measurements:
    """What the card reports; directions such as mg-fr."""

    sentences: int
    heldout: dict[str, Score]
    spoken: Score
    """mg-fr, the Malagasy sentences as the speech corpus has them"""
    round_trip: Score
    """mg-fr-mg"""
    phrases: dict[str, Score]
    phrases_round_trip: Score


def measure(translator: NllbTranslator, seed: int, count: int = SENTENCES) -> Measurements:
    """Scores by direction on held-out pairs, round trip, fixed phrases, and the spoken forms of the speech corpus."""
    heldout = list(itertools.islice(phrasebook_pairs.pairs(seed + 1, "heldout"), count))
    spoken = compare(translator.translate([p.spoken for p in heldout], "mg", "fr"), [p.texts["fr"] for p in heldout])
    fixed = phrases()
    return Measurements(
        count,
        {f"{a}-{b}": score(translator, heldout, (a, b)) for a, b in DIRECTIONS},
        spoken,
        round_trip(translator, heldout),
        {f"{a}-{b}": score(translator, fixed, (a, b)) for a, b in (("mg", "fr"), ("fr", "mg"))},
        round_trip(translator, fixed),
    )


def write(folder: Path, seed: int) -> Measurements:
    """Measure the model in `folder` with the engine that serves, and write its `README.md`. Returns the numbers."""
    settings = Settings(home=folder.parent / ".measure", device="cpu", _env_file=None)
    translator = ct2.load(settings, registry.resolve(settings, str(folder.resolve())))
    numbers = measure(translator, seed)
    translator.close()
    (folder / "README.md").write_text(_card(folder, seed, numbers, settings.translate_beam_size), encoding="utf-8")
    return numbers


def _line(name: str, result: Score) -> str:
    return f"| {name} | {100 * result.exact:.1f} % | {result.chrf:.1f} |"


def _card(folder: Path, seed: int, numbers: Measurements, beam_size: int) -> str:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parameters, _ = count_parameters(folder)
    rows = [_line(f"{way.replace('-', ' → ')}, held-out", row) for way, row in numbers.heldout.items()]
    rows.append(_line("mg → fr, held-out, as the speech corpus says it", numbers.spoken))
    rows.append(_line("mg → fr → mg, held-out", numbers.round_trip))
    rows += [_line(f"{way.replace('-', ' → ')}, fixed phrases (in training)", r) for way, r in numbers.phrases.items()]
    rows.append(_line("mg → fr → mg, fixed phrases (in training)", numbers.phrases_round_trip))
    table = "\n".join(rows)
    return f"""# milo-tiny-nllb

Translates short phrasebook sentences between Malagasy (`plt_Latn`), French (`fra_Latn`) and English (`eng_Latn`).
It is there so that Milo translates without a download, and so that tests run with a real model. For anything beyond
its phrasebook use `facebook/nllb-200-distilled-600M`.

Architecture, tokenizer and files are NLLB's (M2M100): {config["encoder_layers"]} encoder and {config["decoder_layers"]}
decoder layers of width {config["d_model"]}, {parameters:,} parameters, {config["vocab_size"]} tokens, float16
safetensors. It loads with `AutoModelForSeq2SeqLM` and `NllbTokenizer` of transformers. Licence: the repository's.

## Training

`python -m trainer.tiny.nllb --seed {seed} --out DIR`, from random weights, on sentences that a grammar makes
(`trainer/corpus/tables/patterns.tsv`): greetings, market, places, times, daily life, numbers up to 999 999 999
in words and figures. The same sentences, in Malagasy, are what `milo-tiny-mg` learned to hear. No other text was used.

## Measured

`python -m trainer.tiny.nllb --seed {seed} --measure DIR`: {numbers.sentences} sentences that were never trained on
(held out by a hash of the Malagasy sentence), CTranslate2 on a CPU, float32, {beam_size} beams. Exact: the very text of
the phrasebook, case and punctuation included. chrF: sacrebleu's, 0 to 100.

| direction | exact | chrF |
| --- | --- | --- |
{table}

## Limits

- It knows some 350 words in about 120 patterns and 130 phrases. Other words come out as words that it knows, or are
  copied; other constructions come out as the nearest pattern. It does not say when it does not know.
- Names, towns and figures are copied, also such as it never saw; a rare or long one may lose a letter.
- French genders follow the names it was trained on; an unknown name counts as a man's.
- `vous` for `ianao`, one tense for each, no plural of Malagasy nouns except with a number.
- Text in capitals, without punctuation or without accents is translated less well.
"""
