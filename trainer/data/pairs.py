"""Sentence pairs in files: a user's own TSV or JSONL, read strictly, split for good, scored.

TSV: the first line names the languages (`mg<TAB>fr`), every other line is one pair. JSONL: one object a line,
`{"mg": "…", "fr": "…"}`. UTF-8. An empty cell, a missing column or a broken line is an error that names the line.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from milo.errors import Invalid
from milo.recipes import Data
from milo.storage.roots import named_path
from milo.training.datasets import need_columns, numbered_rows, rows_of, text_of, wrong

HELD_OUT_SHARE = 20
"""One pair in this many is held out."""
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


def read_pairs(path: Path) -> list[TextPair]:
    """The pairs of a `.tsv` or `.jsonl` file, doubles left out. `Invalid` names the line that is wrong and the cure."""
    if path.suffix.lower() not in (".tsv", ".jsonl"):
        raise Invalid(f"{path} is neither .csv, .tsv nor .jsonl: pairs come in one of those", code="bad_pairs")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise Invalid(f"there is no file {path}", code="bad_pairs") from None
    except UnicodeDecodeError as error:
        before = path.read_bytes()[: error.start]
        raise _bad(path, before.count(b"\n") + 1, "not UTF-8. Save the file as UTF-8") from None
    except OSError as error:
        raise Invalid(f"{path} can't be read: {error.strerror}", code="bad_pairs") from None
    lines = [line.rstrip("\r") for line in lines]
    found = _from_tsv(path, lines) if path.suffix.lower() == ".tsv" else _from_jsonl(path, lines)
    if not found:
        raise Invalid(f"{path} has no pairs in it", code="bad_pairs")
    return list(dict.fromkeys(found))


def load_pairs(data: Data) -> list[TextPair]:
    """The pairs of a recipe's data, at most `data.limit`, doubles left out. Raises `Invalid`.

    A .csv, .tsv or .jsonl file with the columns `data.columns.source` and `.target`, in `data.language` and
    `data.target_language`, or with columns named by these languages; or a file as `read_pairs` takes it.
    """
    path = named_path(data.source)
    if not path.is_file():
        raise wrong("source", f"there is no file {path}")
    first = next(rows_of(path), None) if path.suffix.lower() in (".csv", ".tsv", ".jsonl") else None
    languages = (data.language, data.target_language)
    for names in ((data.columns.source, data.columns.target), languages):
        plain = names == languages and path.suffix.lower() != ".csv" and len(first or ()) == 2  # as `read_pairs` has it
        if first is not None and set(names) <= set(first) and not plain:
            texts = ((at, [_clean(text_of(row.get(name))) for name in names]) for at, row in numbered_rows(path))
            found = [_checked(path, number, languages, (one, other)) for number, (one, other) in texts]
            return list(dict.fromkeys(found))[: data.limit]
    if path.suffix.lower() == ".csv" and first is None:
        raise wrong("source", f"{path} has no rows")
    if path.suffix.lower() == ".csv":
        need_columns(first or (), {"source": data.columns.source, "target": data.columns.target}, path.name)
    return read_pairs(path)[: data.limit]


def is_heldout(pair: TextPair) -> bool:
    """Decided by the text alone, so that a pair stays on its side when the file grows."""
    return hashlib.sha256("\t".join(pair.texts).encode()).digest()[0] % HELD_OUT_SHARE == 0


def split_pairs(pairs: Sequence[TextPair]) -> tuple[list[TextPair], list[TextPair]]:
    """(train, held out). A pair is held out only if neither side is also in a training pair; a few are, always.

    Raises `Invalid` for fewer than four pairs.
    """
    if len(pairs) < 4:
        raise Invalid(
            f"{len(pairs)} pairs are too few to train on and to measure with; have at least 4", code="bad_pairs"
        )
    kept = [pair for pair in pairs if not is_heldout(pair)]
    known = {text for pair in kept for text in pair.texts}
    heldout = [pair for pair in pairs if is_heldout(pair) and not known.intersection(pair.texts)]
    if not heldout or not kept:
        heldout, kept = [pairs[-1]], list(pairs[:-1])
    return kept, heldout


def chrf(candidates: Sequence[str], references: Sequence[str]) -> float:
    """chrF (chrF2: 6 characters, no words), 0 to 100 (Popović 2015), as sacrebleu counts it; higher is better."""
    from sacrebleu.metrics import CHRF

    return float(CHRF().corpus_score(list(candidates), [list(references)]).score)
