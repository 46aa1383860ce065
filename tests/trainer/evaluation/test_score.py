"""Counts of one utterance and their sums: what is forgiven, and the raw rate that forgives nothing."""

from __future__ import annotations

import pytest

from trainer.evaluation.score import totals, word_counts


@pytest.mark.parametrize(
    ("language", "reference", "text"),
    [
        ("fr", "Il a 21 ans.", "il a vingt et un ans"),
        ("mg", "Misy 12 500 Ar <unk>", "misy iray alina roa arivo dimanjato Ar"),
        ("en", "In 1984,", "in nineteen eighty-four"),
    ],
)
def test_figures_case_and_marks_are_errors_of_the_raw_rate_alone(language: str, reference: str, text: str) -> None:
    counts = word_counts(reference, text, language)
    assert counts["errors"] == counts["char_errors"] == 0 and counts["raw_errors"] > 0
    assert counts["raw_ref_words"] == len(reference.split())
    report = totals([{**counts, "speaker": None, "duration_s": 1.0}])
    assert report["wer"] == 0 and report["raw_wer"] == counts["raw_errors"] / counts["raw_ref_words"]


def test_an_empty_reference_has_no_rate_of_either_kind() -> None:
    counts = word_counts("", "iray roa")
    assert counts["ref_words"] == counts["raw_ref_words"] == 0 and counts["insertions"] == 2
    report = totals([{**counts, "speaker": None, "duration_s": 1.0}])
    assert report["wer"] is None and "raw_wer" not in report
