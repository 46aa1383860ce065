"""The synthetic data set: sentences about words that `milo-tiny-mg` was never taught, spoken by eSpeak NG.

`data.synthetic` of a recipe: `seed`; `count`, sentences of each split; `voices`, a kind of
`trainer.corpus.corpus`;
`speakers`, how many; `words`, a list of one's own, the name of a lexicon here, or `phrasebook`: what the model was
taught (`trainer.data.phrasebook_rows`). Everything follows from the seed.
Sentences are spoken once, into FLAC files under MILO_HOME/datasets.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from milo.models.files import near, write_durably
from milo.recipes import Data
from milo.settings import Settings
from milo.storage.opening import Places
from milo.training.data.row import Row, Splits, digest, wrong
from trainer.corpus import corpus, effects, lexicon
from trainer.corpus.effects import RATE_HZ
from trainer.corpus.phrasebook import Sentence
from trainer.data import phrasebook_rows

WORDS = {
    "nature": (
        "sokatra tanala voay bibilava kankana lolo tantely-masina mpanala parakeety amboa saka kisoa soavaly ondry "
        "osy vorombola papango goaika vintsy fody takatra babakoto aye-aye sifaka varika tenrec trandraka kary "
        "fanihy sahona tanalahy androngo hala vitsika lavitra-ala baobaba ravinala bararata vero zozoro satrana "
        "harongana ravintsara katrafay voanana kininina hazondrano farihy riaka fasika tsunami rivodoza varatra "
        "tselatra fanala erika havandra avana volafotsy"
    ).split(),
    "work": (
        "bakalorea matematika fizika biolojia jeografia filozofia kajy rakibolana rakitra solosaina finday aterineto "
        "milina motera kodiarana tsikera lakolosy gazety mpanao-gazety mpitsara mpisolovava polisy zandary miaramila "
        "minisitra filoha antenimiera lalampanorenana fifidianana vaomiera fambolena fiompiana jono fitaterana "
        "fizahantany indostria taozavatra zaitra rary volamena safira vy varahina"
    ).split(),
}
"""Words that do not occur in the phrasebook."""
PATTERNS = (
    "misy {new} sy {new} any {city}",
    "hitan'i {name} ny {new} {when}",
    "aiza ny {new}?",
    "tsara ny {new} fa lafo ny {new}",
    "{new}, {new} ary {new}",
    "tsy mahita {new} i {name}",
    "miresaka momba ny {new} ny {person}",
    "{quality} ny {new} eto {city}",
    "inona no atao hoe {new}?",
    "{new} {quality} no tian'i {name}",
)


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    count: dict[str, Annotated[int, Field(gt=0, le=100_000)]] = {"train": 400, "validation": 40, "test": 80}
    voices: corpus.VoicePool = "several"
    speakers: int = Field(8, ge=1, le=1000)
    words: str | list[str] = "nature"

    @model_validator(mode="after")
    def _known_words(self) -> Options:
        known = (*WORDS, phrasebook_rows.NAME)
        if isinstance(self.words, str) and self.words not in known:
            raise ValueError(f"words: one of {', '.join(known)}, or a list.{near(self.words, known)}")
        if not self.words:
            raise ValueError("words: the list is empty")
        return self

    @property
    def new_words(self) -> list[str]:
        return WORDS[self.words] if isinstance(self.words, str) else self.words


class Spoken(BaseModel):
    """One sentence of the manifest: which file it was spoken into, by whom, and how long that is."""

    id: str
    text: str
    speaker: str
    audio: str
    duration_s: float


_SPOKEN = TypeAdapter(dict[str, list[Spoken]])


def options(given: Mapping[str, object]) -> Options:
    """`Data.synthetic`, checked. Raises `Invalid`."""
    try:
        return Options.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["synthetic", *(str(part) for part in first["loc"])])
        known = f"; the fields are {', '.join(Options.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise wrong(where, str(first["msg"]).removeprefix("Value error, ") + known) from None


def sentences(chosen: Options) -> dict[str, list[str]]:
    """Texts of each split; no text is in two of them. Each new word is in the training split, if that is large."""
    if chosen.words == phrasebook_rows.NAME:
        return phrasebook_rows.sentences(chosen.seed, chosen.count)
    rng = random.Random(f"synthetic/{chosen.seed}")
    words = list(chosen.new_words)
    order: list[str] = []
    seen: set[str] = set()
    splits: dict[str, list[str]] = {}
    for split, count in chosen.count.items():
        texts: list[str] = []
        splits[split] = texts
        tries = 0
        while len(texts) < count:
            if not order:
                order = rng.sample(words, len(words))
            text = _fill(rng.choice(PATTERNS), order, words, rng)
            tries += 1
            if text not in seen:
                seen.add(text)
                texts.append(text)
            elif tries > 100 * count:
                raise wrong(
                    "synthetic.count", f"{len(words)} words give too few different sentences for {count} of {split}"
                )
    return splits


def _fill(pattern: str, order: list[str], words: list[str], rng: random.Random) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] == "new":
            return order.pop() if order else rng.choice(words)
        return rng.choice(lexicon.WORDS["mg"][match[1]])

    text = re.sub(r"\{(\w+)\}", value, pattern)
    return text[0].upper() + text[1:] + ("" if text.endswith("?") else ".")


def rows(settings: Settings, data: Data) -> Splits:
    """The sentences of each split, spoken into files that are made when they are not there."""
    chosen = options(data.synthetic)
    key = digest("synthetic", 1, chosen.model_dump_json())[:16]
    folder = settings.home / "datasets" / f"synthetic-{key}"
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        _make(folder, chosen)
    made = _SPOKEN.validate_json(manifest.read_bytes())
    places = Places().and_made(folder)
    return {split: [_row(folder, places, key, one) for one in part] for split, part in made.items()}


def _row(folder: Path, places: Places, key: str, spoken: Spoken) -> Row:
    path, state = folder / spoken.audio, digest(key, spoken.id)
    opener = partial(places.open, path)
    return Row(spoken.id, spoken.text, spoken.speaker, None, opener, state, spoken.duration_s, path=path)


def _make(folder: Path, chosen: Options) -> None:
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, list[Spoken]] = {split: [] for split in chosen.count}
    for split, text, speaker, audio in _spoken(chosen):
        name = f"{split}-{len(manifest[split]):05}"
        soundfile.write(folder / f"{name}.flac", audio, RATE_HZ)
        seconds = round(len(audio) / RATE_HZ, 3)
        manifest[split].append(Spoken(id=name, text=text, speaker=speaker, audio=f"{name}.flac", duration_s=seconds))
    write_durably(folder / "manifest.json", _SPOKEN.dump_json(manifest).decode())


def _spoken(chosen: Options) -> Iterator[tuple[str, str, str, effects.Audio]]:
    """(split, text, speaker, audio) of every sentence."""
    if chosen.words == phrasebook_rows.NAME:
        yield from phrasebook_rows.spoken(chosen.seed, chosen.count, chosen.voices, chosen.speakers)
        return
    rng = random.Random(f"speakers/{chosen.seed}")
    speakers = [corpus.draw_voice(rng, "mg", chosen.voices) for _ in range(chosen.speakers)]
    for split, texts in sentences(chosen).items():
        for text in texts:
            who = rng.randrange(len(speakers))
            audio, _ = corpus.speak(Sentence(text, "mg", "synthetic"), speakers[who], fresh=True)
            yield split, text, f"s{who:02}", audio
