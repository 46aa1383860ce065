"""Reads the phrasebook's tables: `tables/*.tsv`, tab-separated UTF-8, the first line names the columns."""

from __future__ import annotations

from importlib.resources import files


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of `tables/<name>.tsv`, in order: cells by column."""
    text = (files(__package__) / "tables" / f"{name}.tsv").read_text(encoding="utf-8")
    header, *rows = (line.split("\t") for line in text.rstrip("\n").split("\n"))
    return [dict(zip(header, row, strict=True)) for row in rows]
