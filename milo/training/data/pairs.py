"""Sentence pairs: a user's own table or JSONL, TMX, or Moses' two files; read strictly, in the splits that they have.

TSV: the first line names the languages (`mg<TAB>fr`), every other line is one pair. JSONL: one object a line,
`{"mg": "…", "fr": "…"}`, or `{"translation": {"mg": "…", "fr": "…"}}`. UTF-8. An empty cell, a missing column or a
broken line is an error that names the line.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from milo.errors import Invalid, NotFound
from milo.recipes import Data
from milo.storage.opening import MOST_TABLE_BYTES, ONLY_THE_SET, Places
from milo.storage.roots import named_path
from milo.training.data.columns import need_columns
from milo.training.data.row import ALL, text_of, wrong
from milo.training.data.splits import own_split, validation_name
from milo.training.data.tables import TEXT_TABLES, numbered_rows, rows_of

HELD_OUT_SHARE = 20
"""One pair in this many is held out, where the recipe says nothing else."""
MAX_CHARS = 2000
"""Longest side of a pair: a sentence or two, as the model translates them."""


@dataclass(frozen=True)
class TextPair:
    """One pair; `languages` in the order of `texts`, as the file writes them."""

    languages: tuple[str, str]
    texts: tuple[str, str]


def _bad(path: Path, line: int, what: str) -> Invalid:
    return Invalid(f"{path}, line {line}: {what}", code="bad_pairs")


def _clean(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _checked(path: Path, line: int, languages: tuple[str, str], texts: tuple[str, str]) -> TextPair:
    for language, text in zip(languages, texts, strict=True):
        if not text:
            raise _bad(path, line, f"the text in {language} is empty. Fill it in, or remove the line")
        if len(text) > MAX_CHARS:
            raise _bad(path, line, f"the text in {language} has {len(text)} characters; cut it below {MAX_CHARS}")
    return TextPair(languages, texts)


def _from_tsv(path: Path, lines: Sequence[str]) -> list[TextPair]:
    header = [_clean(cell) for cell in lines[0].split("\t")]
    if len(header) != 2 or not all(0 < len(cell) <= 8 and " " not in cell for cell in header) or len(set(header)) != 2:
        raise _bad(path, 1, "the first line must name two languages with a tab between, such as `mg<TAB>fr`")
    languages, found = (header[0], header[1]), []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != 2:
            what = "no tab" if len(cells) == 1 else f"{len(cells) - 1} tabs"
            raise _bad(path, number, f"{what} where one must stand between the two texts: {line[:60]!r}")
        found.append(_checked(path, number, languages, (_clean(cells[0]), _clean(cells[1]))))
    return found


def _from_jsonl(path: Path, lines: Sequence[str]) -> list[TextPair]:
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _bad(
                path, number, f'no JSON ({error}). A line looks like {{"mg": "Salama", "fr": "Bonjour"}}'
            ) from None
        texts = list(row.items()) if isinstance(row, dict) else []
        if len(texts) != 2 or not all(isinstance(text, str) for _, text in texts):
            raise _bad(
                path, number, 'a line must have two texts by language, such as {"mg": "Salama", "fr": "Bonjour"}'
            )
        (one, first), (two, second) = texts
        found.append(_checked(path, number, (one, two), (_clean(first), _clean(second))))
    return found


def read_pairs(path: Path, places: Places = ONLY_THE_SET) -> list[TextPair]:
    """The pairs of a `.tsv` or `.jsonl` file, doubles left out. `Invalid` names the line that is wrong and the cure."""
    if path.suffix.lower() not in (".tsv", ".jsonl"):
        raise Invalid(f"{path} is neither .csv, .tsv nor .jsonl: pairs come in one of those", code="bad_pairs")
    try:
        with places.own(path.parent).open(path, MOST_TABLE_BYTES) as file:
            content = file.read()
        lines = content.decode("utf-8-sig").split("\n")
    except NotFound:
        raise Invalid(f"there is no file {path}", code="bad_pairs") from None
    except UnicodeDecodeError as error:
        raise _bad(path, content[: error.start].count(b"\n") + 1, "not UTF-8. Save the file as UTF-8") from None
    except OSError as error:
        raise Invalid(f"{path} can't be read: {error.strerror}", code="bad_pairs") from None
    lines = [line.rstrip("\r") for line in lines]
    found = _from_tsv(path, lines) if path.suffix.lower() == ".tsv" else _from_jsonl(path, lines)
    if not found:
        raise Invalid(f"{path} has no pairs in it", code="bad_pairs")
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class PairSplits:
    """The pairs of each split. `test` is `validation` where the source has no test split of its own."""

    train: list[TextPair]
    validation: list[TextPair]
    test: list[TextPair]


def pair_splits(data: Data, places: Places = ONLY_THE_SET) -> PairSplits:
    """The splits of a recipe's pairs. Those that the source has are taken as they are; where it has none for
    validation, `data.validation_share` of the training pairs is held out. Pairs that are also in validation or test are
    not trained on. Raises `Invalid`."""
    parts = {name: list(dict.fromkeys(found))[: data.limit] for name, found in _parts(data, places).items()}
    names = data.splits
    if set(parts) == {ALL}:
        parts = {names.train: parts[ALL]}
    if names.train not in parts:
        have = ", ".join(name or "no name" for name in parts)
        raise wrong("splits.train", f"{data.source} has no split {names.train!r}; it has {have}")
    train = parts[names.train]
    test = own_split(parts, names.test, "test", data.source)
    validation = own_split(parts, validation_name(parts, data), "validation", data.source)
    taken = set(test or ()) | set(validation or ())
    train = [pair for pair in train if pair not in taken]
    if validation is None:
        train, validation = split_pairs(train, data.validation_share)
    if not train:
        raise wrong("splits.train", f"{data.source}: each pair of {names.train} is also one that is held out")
    return PairSplits(train, validation, validation if test is None else test)


def load_pairs(data: Data, places: Places = ONLY_THE_SET) -> list[TextPair]:
    """All pairs of a recipe's data, at most `data.limit`, doubles left out. Raises `Invalid`."""
    return list(dict.fromkeys(pair for found in _parts(data, places).values() for pair in found))[: data.limit]


def _parts(data: Data, places: Places) -> dict[str, list[TextPair]]:
    path = named_path(data.source)
    if path.is_dir():
        return _from_folder(path, data, places.own(path))
    places = places.own(path.parent)
    if both := _moses(path, data, places):
        return {ALL: _from_moses(*both, data, places)}
    if not places.has(path):
        raise wrong("source", f"there is no file {path}")
    return _from_file(path, data, places)


def _from_folder(folder: Path, data: Data, places: Places) -> dict[str, list[TextPair]]:
    """A file, or Moses' two files, a split: train.tsv, test.tsv; train.mg and train.fr, dev.mg and dev.fr."""
    names = [data.splits.train, data.splits.validation, data.splits.test, "dev", "valid", "val"]
    found: dict[str, list[TextPair]] = {}
    for name in dict.fromkeys(filter(None, names)):
        written = [folder / f"{name}{end}" for end in (*TEXT_TABLES, ".tmx") if places.has(folder / f"{name}{end}")]
        if both := _moses(folder / name, data, places):
            found[name] = _from_moses(*both, data, places)
        elif written:
            found[name] = [pair for pairs in _from_file(written[0], data, places).values() for pair in pairs]
    if not found:
        one, other = data.language, data.target_language
        expected = f"train.{one} and train.{other}, or train.tsv, train.jsonl, train.tmx"
        raise wrong("source", f"{folder} holds no pairs by the name of a split: it needs {expected}")
    return found


def _from_file(path: Path, data: Data, places: Places) -> dict[str, list[TextPair]]:
    """A table with the columns `data.columns.source` and `.target` or named by the languages, and maybe `split`; TMX;
    or a file as `read_pairs` takes it."""
    suffix = path.suffix.lower()
    if suffix == ".tmx":
        return {ALL: _from_tmx(path, data, places)}
    first = next(rows_of(path, places), None) if suffix in TEXT_TABLES else None
    if first is None and suffix in (".csv", ".json"):
        raise wrong("source", f"{path} has no rows")
    languages = (data.language, data.target_language)
    names = _names(first or {}, data)
    plain = set(first or ()) == set(names or ()) and names == languages and suffix not in (".csv", ".json")
    if names and not plain:  # as `read_pairs` has it
        return _from_table(path, names, languages, places)
    if suffix in (".csv", ".json"):
        need_columns(first or (), {"source": data.columns.source, "target": data.columns.target}, path.name)
    return {ALL: read_pairs(path, places)}


def _names(first: Mapping[str, Any], data: Data) -> tuple[str, str] | None:
    """What the two texts of a row are called."""
    have = _texts_of(first)
    languages = (data.language, data.target_language)
    for names in ((data.columns.source, data.columns.target), languages):
        if set(names) <= set(have):
            return names
    if have is not first:
        raise wrong("language", f"`translation` has texts in {', '.join(have)}, not in {' and '.join(languages)}")
    return None


def _texts_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row itself, or where `datasets` keeps the texts of a translation: {"translation": {"mg": …, "fr": …}}."""
    inner = row.get("translation")
    return inner if isinstance(inner, dict) else row


def _from_table(
    path: Path, names: tuple[str, str], languages: tuple[str, str], places: Places
) -> dict[str, list[TextPair]]:
    found: dict[str, list[TextPair]] = {}
    for number, row in numbered_rows(path, places):
        texts = _texts_of(row)
        one, other = (_clean(text_of(texts.get(name))) for name in names)
        split = text_of(row.get("split"))
        found.setdefault(split, []).append(_checked(path, number, languages, (one, other)))
    if ALL in found and len(found) > 1:
        pair = found[ALL][0]
        stray = (
            f"{len(found[ALL])} rows of {path.name}, such as {pair.texts[0][:60]!r}, are in no split, and others are"
        )
        raise wrong("source", f"{stray}: fill in their column `split`, or remove them")
    return found


def _moses(path: Path, data: Data, places: Places) -> tuple[Path, Path] | None:
    """The two files of a corpus: `corpus.mg` and `corpus.fr`, of which either, or `corpus` alone, was named."""
    one, other = f".{data.language}", f".{data.target_language}"
    for stem in (str(path), str(path).removesuffix(one), str(path).removesuffix(other)):
        if places.has(stem + one) and places.has(stem + other):
            return Path(stem + one), Path(stem + other)
    return None


def _from_moses(one: Path, other: Path, data: Data, places: Places) -> list[TextPair]:
    """Line n of one file is the translation of line n of the other; a line that is empty in both is none."""
    lines = []
    for path in (one, other):
        try:
            lines.append(places.read_text(path).removesuffix("\n").split("\n"))
        except UnicodeDecodeError:
            raise wrong("source", f"{path} is not UTF-8. Save the file as UTF-8") from None
    if len(lines[0]) != len(lines[1]):
        count = f"{one} has {len(lines[0])} lines and {other} {len(lines[1])}"
        raise wrong("source", f"{count}: line n of one must be the translation of line n of the other")
    languages = (data.language, data.target_language)
    texts = ((number, _clean(a), _clean(b)) for number, (a, b) in enumerate(zip(*lines, strict=True), 1))
    return [_checked(one, number, languages, (a, b)) for number, a, b in texts if a or b]


def _from_tmx(path: Path, data: Data, places: Places) -> list[TextPair]:
    """Translation units with both languages (`mg`, or `mg-MG`); others are of other languages. TMX 1.4b."""
    languages = (data.language, data.target_language)
    seen: set[str] = set()
    found = []
    try:
        for number, unit in enumerate(_units(path, places), 1):
            texts = {}
            for variant in unit.iter("tuv"):
                code = variant.get("{http://www.w3.org/XML/1998/namespace}lang") or variant.get("lang") or ""
                segment = variant.find("seg")
                texts[code.lower().split("-")[0]] = _clean("".join(segment.itertext()) if segment is not None else "")
            seen |= set(texts)
            if set(languages) <= set(texts):
                pair = (texts[languages[0]], texts[languages[1]])
                if not all(pair) or max(map(len, pair)) > MAX_CHARS:
                    raise wrong("source", f"{path}, unit {number}: a text is empty, or longer than {MAX_CHARS}")
                found.append(TextPair(languages, pair))
    except ElementTree.ParseError as error:
        raise wrong("source", f"{path} is not TMX: {error}") from None
    if not found:
        raise wrong("language", f"{path} has no unit in {' and '.join(languages)}; it has {', '.join(sorted(seen))}")
    return found


def _units(path: Path, places: Places) -> Iterator[ElementTree.Element]:
    with places.open(path, MOST_TABLE_BYTES) as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag == "tu":
                yield element
                element.clear()


def is_heldout(pair: TextPair, share: float = 1 / HELD_OUT_SHARE) -> bool:
    """Decided by the text alone, so that a pair stays on its side when the file grows."""
    drawn = hashlib.sha256("\t".join(pair.texts).encode()).digest()
    if share == 1 / HELD_OUT_SHARE:
        return drawn[0] % HELD_OUT_SHARE == 0
    return int.from_bytes(drawn[:4], "big") < share * 2**32


def split_pairs(pairs: Sequence[TextPair], share: float = 1 / HELD_OUT_SHARE) -> tuple[list[TextPair], list[TextPair]]:
    """(train, held out). A pair is held out only if neither side is also in a training pair; a few are, always.

    Raises `Invalid` for fewer than four pairs.
    """
    if len(pairs) < 4:
        raise Invalid(
            f"{len(pairs)} pairs are too few to train on and to measure with; have at least 4", code="bad_pairs"
        )
    kept = [pair for pair in pairs if not is_heldout(pair, share)]
    known = {text for pair in kept for text in pair.texts}
    heldout = [pair for pair in pairs if is_heldout(pair, share) and not known.intersection(pair.texts)]
    if not heldout or not kept:
        heldout, kept = [pairs[-1]], list(pairs[:-1])
    return kept, heldout
