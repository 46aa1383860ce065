"""Which windows of a recording are asked for their language, and what that says of the others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from milo.protocols import KeptLanguage, WindowText
from milo.transcription.kept_language import kept_language, spoken_for


def heard(language: str, probability: float, logprob: float = -0.1, text: str = "a") -> WindowText:
    return WindowText(text, [1], logprob, 0.0, 1.0, 0.0, language, probability)


def test_every_eighth_window_and_the_last_are_asked() -> None:
    found = spoken_for([30])
    assert [n for n in range(30) if n not in found] == [0, 8, 16, 24, 29]
    assert set(found.values()) == {(0, 8, 16, 24, 29)}


@pytest.mark.parametrize("counts", [[], [0], [1], [23], [23, 23]])
def test_a_short_recording_is_asked_window_by_window(counts: Sequence[int]) -> None:
    assert spoken_for(counts) == {}


def test_each_channel_keeps_a_language_of_its_own() -> None:
    found = spoken_for([24, 3, 25])
    assert [n for n in range(52) if n not in found] == [0, 8, 16, 23, 24, 25, 26, 27, 35, 43, 51]
    assert (found[1], found[50]) == ((0, 8, 16, 23), (27, 35, 43, 51))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([heard("mg", 0.9, -0.1), heard("mg", 0.95, -0.3)], KeptLanguage("mg", 0.9, -0.3)),
        ([heard("mg", 0.9), heard("mg", 0.79)], None),
        ([heard("mg", 0.9), heard("fr", 0.99)], None),
        ([heard("mg", 0.9), heard("mg", 0.9), heard("fr", 0.9)], None),
        ([heard("mg", 0.9), heard("", 0.0, text="")], KeptLanguage("mg", 0.9, -0.1)),
        ([heard("", 0.0, text=""), heard("", 0.0, text="")], None),
    ],
)
def test_windows_that_all_agree_and_are_sure_speak_for_the_others(
    asked: list[WindowText], expected: KeptLanguage | None
) -> None:
    assert kept_language(tuple(range(len(asked))), dict(enumerate(asked))) == expected
