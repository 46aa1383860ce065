"""Rows of text tables: .csv and .tsv in the dialects that people's programs write, .jsonl, and .json."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from milo.storage.json_lines import Row
from milo.storage.opening import Places
from milo.training.data.row import wrong

TEXT_TABLES = (".jsonl", ".json", ".csv", ".tsv")
TABLES = (*TEXT_TABLES, ".parquet")
_QUOTE = "Close the quote, or take it away"


def rows_of(path: Path, places: Places) -> Iterator[Row]:
    """The rows of a text table. Raises `Invalid` with the line that can't be read."""
    for _, row in numbered_rows(path, places):
        yield row


def numbered_rows(path: Path, places: Places) -> Iterator[tuple[int, Row]]:
    """The same, each with the number of the line that it ends on (of its element, where the file is one JSON array)."""
    with places.open_text(path, newline="") as file:
        try:
            yield from _json_rows(path, file) if path.suffix.lower() in (".jsonl", ".json") else _table_rows(path, file)
        except UnicodeDecodeError as error:
            raise wrong("source", f"{path} is not UTF-8 ({error.reason}). Save the file as UTF-8") from None


def _table_rows(path: Path, file: TextIO) -> Iterator[tuple[int, Row]]:
    """A cell that is cut, or that swallows lines, would put a wrong text to a recording: such a row is refused."""
    mark = _mark_of(file, path.suffix.lower())
    if mark == "\t" and _is_unquoted(file):
        yield from _unquoted_rows(file)
        return
    lines = csv.DictReader(file, delimiter=mark, strict=mark != "\t")
    ends = 1
    try:
        for row in lines:
            begins, ends = ends + 1, lines.line_num
            if any(row.pop(None, ())):
                what = f"has more cells than the {len(row)} of the header; put a text that holds {mark!r} in quotes"
                raise wrong("source", f"{path}, line {ends}, {what}")
            if mark == "\t" and any("\t" in (cell or "") for cell in row.values()):
                raise wrong("source", f"{path}, line {begins}: a cell opens with a quote that is not closed. {_QUOTE}")
            yield ends, row
    except csv.Error as error:
        raise wrong("source", f"{path}, line {ends + 1}, can't be read: {error}. {_QUOTE}") from None


def _mark_of(file: TextIO, suffix: str) -> str:
    """What stands between the cells, by the header: spreadsheets write `;` where `,` is for decimals, and a tab in
    files that they call .csv."""
    header = file.readline()
    file.seek(0)
    usual = "\t" if suffix == ".tsv" else ","
    return next((mark for mark in (usual, ",", "\t", ";", "|") if mark in header), usual)


def _is_unquoted(file: TextIO) -> bool:
    """Whether each line of a tab-separated file has the cells of its header as it stands: then a quote is a letter of
    its text, as in Common Voice's files. One whose header is quoted, or with a cell over several lines, is not so."""
    header = file.readline().rstrip("\r\n").split("\t")
    quoted = all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in header)
    plain = not quoted and all(line.count("\t") == len(header) - 1 for line in file if line.strip())
    file.seek(0)
    return plain


def _unquoted_rows(file: TextIO) -> Iterator[tuple[int, Row]]:
    header = file.readline().rstrip("\r\n").split("\t")
    for number, line in enumerate(file, 2):
        if line.strip():
            cells = line.rstrip("\r\n").split("\t")
            yield number, dict(zip(header, map(_doubled_quotes, cells), strict=True))


def _doubled_quotes(cell: str) -> str:
    """A cell that a csv writer put in quotes, and the quotes in it twice, as it was; other cells as they are."""
    inner = cell[1:-1]
    if len(cell) < 4 or cell[0] != '"' or cell[-1] != '"' or '""' not in inner or '"' in inner.replace('""', ""):
        return cell
    return inner.replace('""', '"')


def _json_rows(path: Path, lines: TextIO) -> Iterator[tuple[int, Row]]:
    first = lines.read(4096).lstrip()[:1]
    lines.seek(0)
    if first == "[":
        yield from _json_array(path, lines)
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise wrong("source", f"{path}, line {number}, is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise wrong("source", f"{path}, line {number}, is not an object")
        yield number, row


def _json_array(path: Path, file: TextIO) -> Iterable[tuple[int, Row]]:
    try:
        rows = json.load(file)
    except ValueError as error:
        raise wrong("source", f"{path} is not JSON: {error}") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise wrong("source", f"{path}, element {number}, is not an object")
        yield number, row
