"""Intervals and verdicts on rows that are made up: what it must find, and what it must not."""

from __future__ import annotations

from typing import Any

import jiwer
import numpy as np
import pytest

from milo.errors import Invalid
from milo.training.compare import against_margin, compare
from milo.training.statistics import ratio, ratio_interval, units_of

REPORT = {
    "key": "0" * 32,
    "status": "ok",
    "metric": "wer",
    "task": "whisper",
    "normaliser": "mg-1",
    "data": {"sha256": "d"},
    "model": {"label": "m@1"},
}
Rows = dict[str, dict[str, Any]]


def rows_of(errors: np.ndarray, speakers: int | None = None, words: int = 10) -> Rows:
    return {
        f"u{n}": {
            "id": f"u{n}",
            "speaker": None if speakers is None else f"s{n % speakers}",
            "errors": int(count),
            "ref_words": words,
            "char_errors": 2 * int(count),
            "ref_chars": 5 * words,
            "ref_scored": f"text {n}",
        }
        for n, count in enumerate(errors)
    }


def noisy(rate: float, seed: int, count: int = 300) -> np.ndarray:
    return np.random.default_rng(seed).binomial(10, rate, count)


def test_a_model_with_clearly_fewer_errors_is_better_and_the_other_way_round_it_is_worse() -> None:
    many, few = rows_of(noisy(0.4, 1), 12), rows_of(noisy(0.25, 2), 12)
    found = compare(REPORT, many, REPORT, few)
    assert found["verdict"] == "better" and found["interval"]["over"] == "speakers" and found["interval"]["units"] == 12
    expected = (sum(r["errors"] for r in few.values()) - sum(r["errors"] for r in many.values())) / 3000
    assert found["difference"] == pytest.approx(expected)
    assert found["interval"]["low"] < expected < found["interval"]["high"] < 0
    assert found["probability_of_improvement"] > 0.999
    back = compare(REPORT, few, REPORT, many)
    assert back["verdict"] == "worse" and back["difference"] == pytest.approx(-expected)


def test_equal_models_and_models_of_equal_quality_are_not_told_apart() -> None:
    same = rows_of(noisy(0.3, 1))
    found = compare(REPORT, same, REPORT, same)
    assert (found["verdict"], found["difference"], found["probability_of_improvement"]) == ("no difference", 0, 0.5)
    verdicts = [
        compare(REPORT, rows_of(noisy(0.3, 2 * n)), REPORT, rows_of(noisy(0.3, 2 * n + 1)))["verdict"]
        for n in range(20)
    ]
    assert verdicts.count("no difference") >= 17, "a 95 % interval is wrong once in twenty times"


def test_a_gain_of_one_speaker_alone_is_no_difference_although_its_utterances_are_many() -> None:
    before = np.full(200, 3)
    after = np.where(np.arange(200) % 8 == 0, 1, 3)
    utterances = compare(REPORT, rows_of(before), REPORT, rows_of(after))
    speakers = compare(REPORT, rows_of(before, 8), REPORT, rows_of(after, 8))
    assert utterances["verdict"] == "better" and utterances["interval"]["over"] == "utterances"
    assert speakers["verdict"] == "no difference" and speakers["interval"]["over"] == "speakers"


def test_the_same_rows_give_the_same_numbers_each_time() -> None:
    one, two = rows_of(noisy(0.3, 1), 9), rows_of(noisy(0.28, 2), 9)
    assert compare(REPORT, one, REPORT, two) == compare(REPORT, one, REPORT, two)


def test_too_few_common_utterances_are_insufficient_data() -> None:
    one, two = rows_of(noisy(0.9, 1, 4)), rows_of(noisy(0.1, 2, 4))
    found = compare(REPORT, one, REPORT, two)
    assert found["verdict"] == "insufficient_data" and "interval" not in found
    assert compare(REPORT, {}, REPORT, {})["verdict"] == "insufficient_data"


@pytest.mark.parametrize("change", [{"data": {"sha256": "e"}}, {"normaliser": "mg-0"}, {"task": "nllb"}])
def test_other_data_or_another_normaliser_is_refused(change: dict[str, Any]) -> None:
    rows = rows_of(noisy(0.3, 1))
    with pytest.raises(Invalid) as caught:
        compare(REPORT, rows, REPORT | change, rows)
    assert caught.value.code == "not_comparable"


def test_the_interval_of_a_rate_holds_the_rate_that_jiwer_gives_and_has_the_width_theory_gives() -> None:
    references = [f"teny {n} iray roa telo" for n in range(400)]
    texts = [text.replace("roa", "x") if n % 4 == 0 else text for n, text in enumerate(references)]
    rows = [{"e": int(a != b), "w": 5, "speaker": None} for a, b in zip(references, texts, strict=True)]
    rate = jiwer.wer(references, texts)
    found = ratio_interval(rows, "e", "w")
    assert found is not None and rate == 0.05 and found["low"] < rate < found["high"]
    spread = 2 * 1.96 * np.sqrt(0.25 * 0.75 / 400) / 5
    assert found["high"] - found["low"] == pytest.approx(spread, rel=0.1)


def test_speakers_are_drawn_only_when_every_row_names_one() -> None:
    rows = [{"speaker": "a"}, {"speaker": "b"}, {"speaker": "a"}]
    assert (units_of(rows).over, units_of(rows).count) == ("speakers", 2)
    assert units_of([*rows, {"speaker": None}]).over == "utterances"
    assert units_of([{"speaker": "a"}] * 300).too_few.startswith("1 speakers"), "what one person says tells of no other"


def test_five_speakers_are_too_few_for_a_verdict_and_for_an_interval() -> None:
    many, few = rows_of(noisy(0.6, 1), 5), rows_of(noisy(0.2, 2), 5)
    found = compare(REPORT, many, REPORT, few)
    assert found["verdict"] == "insufficient_data" and "5 speakers, 6 are needed" in found["reason"]
    assert ratio_interval(list(many.values()), "errors", "ref_words") is None


def test_with_few_speakers_nothing_that_changed_is_seen_in_about_one_of_twenty() -> None:
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(1000):
        words = rng.integers(100, 300, 6).astype(float)
        more = np.round(words * rng.normal(0, 0.03, 6))
        low, high = ratio(more, words).bounds()
        wrong += low > 0 or high < 0
    assert wrong <= 75


def test_unlike_decode_settings_are_refused_and_named() -> None:
    rows = rows_of(noisy(0.3, 1))
    one, two = ({"decode": {"language": "mg", "beam_size": size}} for size in (1, 5))
    with pytest.raises(Invalid, match="beam_size is 1 and 5"):
        compare(REPORT | one, rows, REPORT | two, rows)


def test_a_comparison_says_what_the_set_could_have_shown() -> None:
    found = compare(REPORT, rows_of(noisy(0.3, 1), 12), REPORT, rows_of(noisy(0.3, 2), 12))
    half = (found["interval"]["high"] - found["interval"]["low"]) / 2
    assert half < found["detectable"] < 2 * half


@pytest.mark.parametrize(
    ("after", "speakers", "margin", "verdict"),
    [
        (0.2, 30, 0.05, "not worse"),
        (0.2, 7, 0.0001, "not shown"),
        (0.3, 30, 0.05, "worse"),
        (0.3, 30, 0.2, "not worse"),
        (0.3, 3, 0.2, "insufficient_data"),
    ],
)
def test_no_worse_means_that_the_upper_end_of_the_interval_is_within_the_margin(
    after: float, speakers: int, margin: float, verdict: str
) -> None:
    found = compare(REPORT, rows_of(noisy(0.2, 1), speakers), REPORT, rows_of(noisy(after, 5), speakers))
    said, reason = against_margin(found, margin)
    assert said == verdict, reason
    if verdict == "insufficient_data":
        assert "3 speakers" in reason
    else:
        assert (found["interval"]["high"] <= margin) == (verdict == "not worse") and f"{margin:.1%}" in reason


def test_characters_are_compared_when_they_are_asked_for() -> None:
    one, two = rows_of(noisy(0.4, 1), 12), rows_of(noisy(0.25, 2), 12)
    words, letters = compare(REPORT, one, REPORT, two), compare(REPORT, one, REPORT, two, metric="cer")
    assert letters["metric"] == "cer" and letters["verdict"] == "better"
    assert letters["difference"] == pytest.approx(words["difference"] * 2 / 5)


def test_a_model_that_is_worse_by_just_the_margin_passes_in_one_of_forty_at_most() -> None:
    """The upper end of a two-sided 95 % interval is a one-sided test at 2.5 %."""
    rng, passed = np.random.default_rng(6), 0
    for _ in range(300):
        before = rows_of(rng.binomial(10, 0.2, 96), 12)
        after = rows_of(rng.binomial(10, 0.23, 96), 12)
        passed += against_margin(compare(REPORT, before, REPORT, after), 0.03)[0] == "not worse"
    assert passed <= 16
