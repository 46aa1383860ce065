"""Names of result files."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from api.answers.results import Names, disposition, safe_path


@given(st.text(max_size=400))
def test_any_name_becomes_a_safe_relative_path(name: str) -> None:
    path = safe_path(name)
    assert path and not path.startswith("/") and "\\" not in path
    for part in path.split("/"):
        assert part not in ("", ".", "..") and part == part.strip(" .")
        assert len(part.encode()) <= 121 and not re.search(r'[<>:"|?*\x00-\x1f\x7f]', part)


@given(st.text(max_size=200))
def test_any_name_fits_into_a_header(name: str) -> None:
    header = disposition("attachment", f"{safe_path(name).rsplit('/', 1)[-1]}.srt")
    assert header.isascii() and header.isprintable() and header.count('"') == 2


def test_names_keep_their_folders_and_lose_their_extension() -> None:
    assert safe_path("2024/Jan/feo é.wav") == "2024/Jan/feo é"
    assert safe_path("talk.part1.mp3") == "talk.part1"
    assert safe_path("..") == "audio" and safe_path(".wav") == "wav" and safe_path("") == "audio"


@given(st.lists(st.text("aAbB-2", max_size=3), max_size=30))
def test_no_two_files_get_the_same_name(stems: list[str]) -> None:
    names = Names()
    taken = [names.take(stem).casefold() for stem in stems]
    assert len(set(taken)) == len(taken)
