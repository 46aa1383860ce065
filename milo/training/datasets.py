"""What can be told of a data set without opening its audio: what kind of source it is, and which columns it has.

The API checks a recipe with this before it queues anything; the trainer reads the data itself (`trainer.data.load`).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

from milo.errors import Invalid
from milo.models.files import near
from milo.recipes import TASKS, Data, Task
from milo.storage.json_lines import Row
from milo.storage.roots import named_path

Kind = Literal["synthetic", "hub", "folder", "file"]
TABLES = (".jsonl", ".csv", ".tsv", ".parquet")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.tsv")
"""What describes a folder of audio files, as `datasets` has it."""
FILE_NAME = "file_name"
"""Column of a metadata file that names the audio file, besides the recipe's own."""
_QUOTE = "Close the quote, or take it away"
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def kind_of(source: str) -> Kind:
    """What a recipe's `data.source` is. Raises `Invalid` for a file or folder that is not there."""
    if source == "synthetic":
        return "synthetic"
    path = named_path(source)
    if path.is_dir():
        return "folder"
    if path.is_file():
        if path.suffix.lower() in TABLES:
            return "file"
        raise wrong("source", f"{source} is not one of {', '.join(TABLES)}, nor a folder")
    if HUB_ID.match(source) and path.suffix.lower() not in TABLES:
        return "hub"
    there = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    raise wrong(
        "source", f"there is no {source}; write a hub id, a folder, a file or `synthetic`.{near(path.name, there)}"
    )


def wrong(field: str, detail: str, code: str = "bad_data") -> Invalid:
    """A fault of the recipe's data, with a pointer to its field."""
    pointer = f"#/data/{field.replace('.', '/')}"
    return Invalid(f"data.{field}: {detail}", code=code, errors=[{"detail": detail, "pointer": pointer}])


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a .jsonl, .csv or .tsv file. Raises `Invalid` with the line that can't be read."""
    for _, row in numbered_rows(path):
        yield row


def numbered_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The same, each with the number of the line that it ends on."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from _json_rows(path, file) if path.suffix.lower() == ".jsonl" else _table_rows(path, file)
        except UnicodeDecodeError as error:
            raise wrong("source", f"{path} is not UTF-8 ({error.reason}). Save the file as UTF-8") from None


def _table_rows(path: Path, file: TextIO) -> Iterator[tuple[int, Row]]:
    """A cell that is cut, or that swallows lines, would put a wrong text to a recording: such a row is refused."""
    mark = "\t" if path.suffix.lower() == ".tsv" else _mark_of(file)
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


def _mark_of(file: TextIO) -> str:
    """What stands between the cells of a .csv file, by its header: spreadsheets write `;` where `,` is for decimals."""
    header = file.readline()
    file.seek(0)
    return ";" if ";" in header and "," not in header else ","


def _json_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Row]]:
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


def text_of(value: Any) -> str:
    """The words of a cell; a cell that holds no single value, or NaN for a missing one, has none."""
    if value is None or isinstance(value, (list, dict)) or value != value:
        return ""
    return " ".join(str(value).replace("\0", " ").split())


def need_columns(have: Iterable[str], wanted: dict[str, str], where: str) -> None:
    """Raise `Invalid` unless every wanted column (field of the recipe -> its name) is there."""
    columns = list(have)
    for field, name in wanted.items():
        if name not in columns:
            raise wrong(
                f"columns.{field}",
                f"{where} has no column {name!r}; its columns are {', '.join(columns) or 'none'}.{near(name, columns)}",
                "unknown_column",
            )


def wanted_columns(data: Data) -> dict[str, str]:
    """The columns that a speech task can't do without: field of the recipe -> name."""
    return {"audio": data.columns.audio, "text": data.columns.text}


def check(data: Data, task: Task = "whisper") -> None:
    """Whatever can be told cheaply: the source is there, and a table of text has the columns. Raises `Invalid`."""
    kind = kind_of(data.source)
    if TASKS[task].examples == "pairs":
        if kind != "file":
            raise wrong("source", f"translation is trained on a .tsv, .csv or .jsonl file, not on {data.source}")
        return
    path = named_path(data.source) if kind in ("file", "folder") else None
    if path is not None and kind == "folder":
        path = next((path / name for name in METADATA if (path / name).is_file()), None)
    if path is None or path.suffix.lower() == ".parquet":
        return
    first = next(rows_of(path), None)
    if first is None:
        raise wrong("source", f"{path} has no rows")
    wanted = wanted_columns(data)
    if path.name in METADATA and FILE_NAME in first:
        del wanted["audio"]
    need_columns(first, wanted, path.name)
