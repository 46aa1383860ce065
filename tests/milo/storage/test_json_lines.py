"""Files of JSON lines: torn lines are passed over, and writers never mix."""

from __future__ import annotations

from pathlib import Path

import pytest

from milo.storage import json_lines


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [{"text": "été\u2028deux"}, {"text": "\udc80"}, {"a": [1, None]}]
    json_lines.append(tmp_path / "rows.jsonl", rows[:1])
    json_lines.append(tmp_path / "rows.jsonl", rows[1:])
    assert list(json_lines.read(tmp_path / "rows.jsonl")) == json_lines.tail(tmp_path / "rows.jsonl") == rows


@pytest.mark.parametrize("torn", ['{"a": 2', "[1, 2]", "{", "5\n"])
def test_a_torn_line_costs_no_other_row(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "rows.jsonl"
    json_lines.append(path, [{"a": 1}])
    with path.open("a") as file:
        file.write(torn)
    json_lines.append(path, [{"a": 3}])
    assert list(json_lines.read(path)) == json_lines.tail(path) == [{"a": 1}, {"a": 3}]


def test_the_tail_begins_at_a_whole_line(tmp_path: Path) -> None:
    json_lines.append(tmp_path / "rows.jsonl", [{"number": number} for number in range(100)])
    numbers = [row["number"] for row in json_lines.tail(tmp_path / "rows.jsonl", 100)]
    assert numbers and numbers == list(range(numbers[0], 100))


def test_a_file_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert list(json_lines.read(tmp_path / "none")) == json_lines.tail(tmp_path / "none") == []
