"""A user's fixed expressions: what is in the file is translated as the file says, as a sentence and inside of one.

TSV: a first line of language codes, then a line an expression, `mg<TAB>fr`; ` | ` parts ways to say it, of which the
first is the one that is written. YAML: a list of `{mg: …, fr: …}`, text or list of texts. A line works both ways.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from milo.errors import Invalid, ModelUnusable
from milo.language import sentences
from milo.translation.flores import ALL_CODES, find_language, known_languages

log = logging.getLogger(__name__)
MAX_BYTES = 16 * 1024**2
_LANGUAGES = known_languages(ALL_CODES)
_APOSTROPHES = dict.fromkeys(map(ord, "’‘ʼ`´′"), "'")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
Expression = Mapping[str, tuple[str, ...]]
"""FLORES code -> ways to say it, the one to write first."""


def _key(text: str) -> str:
    """What is compared: no case, no punctuation around it, one kind of apostrophe, one space."""
    folded = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold()
    return _EDGES.sub("", " ".join(folded.split()))


@dataclass(frozen=True)
class Piece:
    """Part of a text: already translated (`fixed`), or for the model."""

    text: str
    fixed: bool


class Glossary:
    """Fixed expressions, to be looked up by language pair."""

    def __init__(self, expressions: Sequence[Expression] = ()) -> None:
        self._expressions = expressions
        self._tables: dict[tuple[str, str], dict[str, str]] = {}
        self._patterns: dict[tuple[str, str], re.Pattern[str] | None] = {}
        content = json.dumps([dict(expression) for expression in expressions], sort_keys=True)
        self.version = hashlib.sha256(content.encode()).hexdigest()[:12] if expressions else ""
        """Changes with the content; empty when there is none."""

    def _table(self, source: str, target: str) -> dict[str, str]:
        if (source, target) not in self._tables:
            table: dict[str, str] = {}
            for expression in self._expressions:
                for way in expression.get(source, ()) if target in expression else ():
                    table.setdefault(_key(way), expression[target][0])
            self._tables[source, target] = table
        return self._tables[source, target]

    def find(self, text: str, source: str, target: str) -> str | None:
        """The translation of a whole text or sentence, if it is an expression; languages are FLORES codes."""
        found = self._table(source, target).get(_key(text))
        return None if found is None else _dressed(text, found, target)

    def terms(self, text: str, source: str, target: str) -> list[tuple[int, int, str]]:
        """The expressions that stand in a sentence as whole words, the longest first: (start, end, translation)."""
        pattern = self._pattern(source, target)
        if pattern is None:
            return []
        table = self._table(source, target)
        found = []
        for match in pattern.finditer(text.translate(_APOSTROPHES)):
            said = table[_key(match[0])]
            found.append((match.start(), match.end(), _dressed(text[match.start() : match.end()], said, target)))
        return found

    def _pattern(self, source: str, target: str) -> re.Pattern[str] | None:
        if (source, target) not in self._patterns:
            keys = sorted((key for key in self._table(source, target) if key), key=len, reverse=True)
            words = "|".join(r"\s+".join(map(re.escape, key.split())) for key in keys)
            found = re.compile(rf"(?<![\w'-])(?:{words})(?![\w'-])", re.IGNORECASE) if keys else None
            self._patterns[source, target] = found
        return self._patterns[source, target]

    def cut(self, text: str, source: str, target: str) -> list[Piece]:
        """The text in order: expressions (the longest run of sentences first) translated, the rest as it is."""
        if not self._table(source, target):
            return [Piece(text, False)]
        parts = sentences.split(text)
        pieces: list[Piece] = []
        start = 0
        while start < len(parts):
            found, end = self._longest(parts, start, source, target)
            if found is not None:
                pieces.append(Piece(found, True))
                start = end
                continue
            before = pieces.pop().text if pieces and not pieces[-1].fixed else ""
            pieces.append(Piece(before + parts[start].text, False))
            start += 1
        return pieces

    def _longest(self, parts: Sequence[sentences.Part], start: int, source: str, target: str) -> tuple[str | None, int]:
        """The longest run of sentences from `start` on that is an expression: (its translation, where it ends)."""
        best: tuple[str | None, int] = (None, start)
        most = 2 * max(map(len, self._table(source, target))) + 16
        joined = ""
        for end in range(start + 1, len(parts) + 1):
            joined += parts[end - 1].text
            if len(joined) > most or not parts[start].is_sentence:
                break
            if parts[end - 1].is_sentence and (found := self.find(joined, source, target)) is not None:
                best = (found, end)
        return best


def _dressed(source: str, found: str, target: str) -> str:
    """The expression with the source's capital and final mark, where it has none of its own."""
    source = source.strip()
    if source[:1].isupper() and found[:1].islower():
        found = found[0].upper() + found[1:]
    mark = re.search(r"[.!?…]+$", source)
    if mark and not re.search(r"[.!?…]$", found):
        found += f" {mark[0]}" if target == "fra_Latn" and mark[0][0] in "!?" else mark[0]
    return found


def _bad(path: Path, where: str, what: str) -> Invalid:
    return Invalid(f"the glossary {path}, {where}: {what}", code="bad_glossary")


def _language(path: Path, where: str, name: str) -> str:
    code = find_language(name, _LANGUAGES)
    if code is None:
        raise _bad(path, where, f"{name!r} is no language code; write mg, fr, en or the like")
    return code


def _expression(path: Path, where: str, ways: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    found = {code: tuple(" ".join(way.split()) for way in texts if way.strip()) for code, texts in ways.items()}
    found = {code: texts for code, texts in found.items() if texts}
    if len(found) < 2:
        raise _bad(path, where, "an expression needs a text in two languages at least")
    for texts in found.values():
        for text in texts:
            if not _key(text):
                raise _bad(path, where, f"{text!r} has no letter or digit in it")
    return found


def _from_tsv(path: Path, text: str) -> list[Expression]:
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1)]
    rows = [(number, line.split("\t")) for number, line in lines if line.strip() and not line.startswith("#")]
    if not rows:
        return []
    number, header = rows[0]
    if len(header) < 2:
        raise _bad(
            path, f"line {number}", "the first line must name the languages with tabs between, such as mg<TAB>fr"
        )
    codes = [_language(path, f"line {number}", name) for name in header]
    if len(set(codes)) < len(codes):
        raise _bad(path, f"line {number}", "a language stands there twice")
    found: list[Expression] = []
    for number, cells in rows[1:]:
        if len(cells) != len(codes):
            raise _bad(path, f"line {number}", f"{len(cells)} columns instead of {len(codes)}; part them with tabs")
        ways = {code: cell.split(" | ") for code, cell in zip(codes, cells, strict=True)}
        found.append(_expression(path, f"line {number}", ways))
    return found


def _from_yaml(path: Path, text: str) -> list[Expression]:
    import yaml

    try:
        rows: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "somewhere"
        raise _bad(path, where, f"no YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(rows, list):
        raise _bad(path, "line 1", "a list is needed, with an expression an item: `- {mg: Salama, fr: Bonjour}`")
    found: list[Expression] = []
    for number, row in enumerate(rows, 1):
        where = f"item {number}"
        if not isinstance(row, dict):
            raise _bad(path, where, "an item must be a mapping such as {mg: Salama, fr: Bonjour}")
        ways: dict[str, list[str]] = {}
        for name, value in row.items():
            texts = value if isinstance(value, list) else [value]
            if not all(isinstance(item, str) for item in texts):
                raise _bad(path, where, f"{name} must be a text or a list of texts; put quotes around it")
            ways[_language(path, where, str(name))] = texts
        found.append(_expression(path, where, ways))
    return found


def read_glossary(path: Path) -> Glossary:
    """The glossary in a `.tsv`, `.yaml` or `.yml` file. `Invalid` names the line that is wrong and the cure."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _bad(path, "line 1", f"the file is larger than {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise _bad(path, "line 1", "not UTF-8. Save the file as UTF-8") from None
    except OSError as error:
        raise Invalid(f"the glossary {path} can't be read: {error.strerror}", code="bad_glossary") from None
    if path.suffix.lower() in (".yaml", ".yml"):
        return Glossary(_from_yaml(path, text))
    if path.suffix.lower() == ".tsv":
        return Glossary(_from_tsv(path, text))
    raise Invalid(f"the glossary {path} is neither .tsv nor .yaml", code="bad_glossary")


_last_good: dict[Path, Glossary] = {}


@lru_cache(maxsize=8)
def _read_once(path: Path, _state: tuple[int, int]) -> Glossary:
    try:
        _last_good[path] = read_glossary(path)
    except Invalid as error:
        if path not in _last_good:  # whoever asks for a translation can't help it
            raise ModelUnusable(f"{error.detail} (MILO_TRANSLATE_GLOSSARY)", code="bad_glossary") from None
        log.error("%s; the last good version of the file is used", error.detail)
    return _last_good[path]


def current_glossary(path: Path | None) -> Glossary:
    """The glossary of the settings as the file is now; read again when it changes.

    A file that was good and is broken now is reported in the log, and its last good version used.
    """
    if path is None:
        return Glossary()
    try:
        stat = path.stat()
    except OSError:
        return _read_once(path, (0, 0))
    return _read_once(path, (stat.st_mtime_ns, stat.st_size))
