"""The suite of a recipe: parts that share nobody, a lock, and leaks that are found."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from milo.errors import Invalid
from milo.recipes import Recipe
from milo.settings import Settings
from milo.training import suites
from milo.training.statistics import MIN_UNITS
from milo.training.suites import PARTS, Candidate
from trainer.autonomy.suite import deal, groups_of, make, sizes

RECIPE = Recipe.model_validate(
    {
        "name": "r",
        "task": "whisper",
        "model": "milo-tiny-mg",
        "data": {"source": "synthetic"},
        "training": {"max_steps": 1},
    }
)


def item(number: int, speaker: str | None, recording: str = "", text: str = "") -> Any:
    return SimpleNamespace(
        id=f"u{number}",
        text=text or f"teny faha {number}",
        speaker=speaker,
        duration_s=1 + number % 7,
        sha256=f"a{number}",
        recording_sha256=recording or f"a{number}",
    )


def test_parts_share_no_speaker_and_no_recording_and_have_enough_of_them() -> None:
    items = [item(n, f"s{n % 20}", f"r{n // 2}") for n in range(400)]  # u0 and u1 are of one recording
    alone = [item(1000 + n, f"t{n}") for n in range(40)]
    suite = make(RECIPE, "k", [*items, *alone], "d")
    for what in ("speaker", "recording", "audio"):
        parts = [{getattr(one, what) for one in suite.members if one.part == name} for name in PARTS]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2], what
        assert min(map(len, parts)) >= MIN_UNITS
    assert len(suite.members) == 440 and suite.why_empty == {}


def test_recordings_of_several_speakers_stay_whole() -> None:
    items = [item(0, "a", "r1"), item(1, "b", "r2"), item(2, "c", "r3"), item(3, "a", "r3"), item(4, "b", "r1")]
    assert [sorted(one.id for one in group) for group in groups_of(items)] == [["u0", "u1", "u2", "u3", "u4"]]
    assert len(groups_of([item(0, None, "r1"), item(1, "x", "r1"), item(2, None, "r2")])) == 2


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, (0, 0, 0)), (5, (5, 0, 0)), (11, (11, 0, 0)), (12, (6, 0, 6)), (17, (11, 0, 6)), (18, (6, 6, 6))]
    + [(19, (7, 6, 6)), (22, (9, 6, 7)), (100, (50, 20, 30))],
)
def test_small_sets_have_fewer_parts_and_say_so(count: int, expected: tuple[int, int, int]) -> None:
    assert tuple(sizes(count).values()) == expected
    made = make(RECIPE, "k", [item(n, f"s{n}") for n in range(count)], "d")
    assert tuple(len(made.part(name)) for name in PARTS) == expected
    assert set(made.why_empty) == {name for name, size in zip(PARTS, expected, strict=True) if not size}


def test_each_part_has_short_and_long_ones() -> None:
    lengths = [float(n) for n in range(60)]
    parts = deal(lengths, sizes(60))
    for name in PARTS:
        mean = sum(n for n, part in zip(lengths, parts, strict=True) if part == name) / parts.count(name)
        assert abs(mean - 29.5) < 2


def test_a_suite_is_made_once_and_a_changed_one_is_refused(settings: Settings) -> None:
    made = make(RECIPE, "k", [item(n, f"s{n}") for n in range(30)], "d")
    suites.keep(settings, made)
    assert suites.read(settings, "k") == made and suites.every(settings) == [made]
    assert suites.read(settings, "other") is None
    path = suites.path_of(settings, "k")
    document = json.loads(path.read_text())
    document["members"][0]["part"] = "calibrate" if document["members"][0]["part"] != "calibrate" else "watch"
    for text in (json.dumps(document), "{}", "[]", "no JSON"):
        path.write_text(text)
        with pytest.raises(Invalid) as caught:
            suites.read(settings, "k")
        assert caught.value.code == "suite_changed" and str(path) in caught.value.detail


def test_rows_of_other_data_are_refused() -> None:
    made = make(RECIPE, "k", [item(n, f"s{n}") for n in range(30)], "d")
    rows = {f"u{n}": {"id": f"u{n}"} for n in range(30)}
    watched = made.rows_of("watch", {"data": {"sha256": "d"}}, rows)
    assert set(watched) == made.part("watch") and 0 < len(watched) < 30
    with pytest.raises(Invalid, match="are not those that the suite k was made of"):
        made.rows_of("watch", {"data": {"sha256": "e"}}, rows)


def test_audio_text_and_speakers_of_a_suite_are_found_among_rows_for_a_training() -> None:
    made = make(RECIPE, "k", [item(n, f"s{n}", f"r{n}") for n in range(30)], "d")
    rows = [
        Candidate(id="new", text="zava-baovao", speaker="z", audio=("x",)),
        Candidate(id="cut of r3", text="hafa", audio=("y", "r3")),
        Candidate(id="copy of u4", text="hafa", audio=("a4",)),
        Candidate(id="same words", text="Teny,  faha 5!", speaker="z"),
        Candidate(id="same person", text="hafa", speaker="s6"),
    ]
    found = {one.what: one for one in suites.leaks([made], rows, "mg")}
    assert {what: one.count for what, one in found.items()} == {"audio": 2, "text": 1, "speaker": 1}
    assert found["text"].such_as == ("u5 and same words",) and "the suite k" in str(found["text"])
    assert [row.id for row in suites.free_of_leaks([made], rows, "mg")] == ["new"]
