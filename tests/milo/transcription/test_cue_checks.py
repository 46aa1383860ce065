"""What is said of cues that break the rules, and that a cue with room breaks none."""

from __future__ import annotations

import pytest

from milo.cue_rules import CueRules
from milo.transcription.cue_checks import PROBLEMS, problems_of
from milo.transcription.cues import Cue

RULES = CueRules()
NEXT = Cue(10.0, 12.0, ("Manaraka.",))


@pytest.mark.parametrize(
    ("cue", "problem"),
    [
        (Cue(0, 6, ("a" * 43,)), "long_line"),
        (Cue(0, 6, ("a", "b", "c")), "many_lines"),
        (Cue(0, 0.8, ("Eny.",)), "short"),
        (Cue(0, 7.1, ("Eny.",)), "long"),
        (Cue(0, 1, ("Fehezanteny lava loatra",)), "fast"),
        (Cue(8, 9.95, ("Eny.",)), "gap"),
        (Cue(8, 10.5, ("Eny.",)), "overlap"),
    ],
)
def test_each_rule_that_is_broken_is_named_alone(cue: Cue, problem: str) -> None:
    assert problem in PROBLEMS
    assert problems_of([cue, NEXT], RULES) == [[problem], []]


def test_cues_at_the_limits_break_no_rule() -> None:
    at_the_limits = [Cue(0, 2.92, ("a" * 42,)), Cue(3.0, 10.0, ("a" * 42, "b" * 42)), Cue(10.08, 10.913, ("Eny.",))]
    assert problems_of(at_the_limits, RULES) == [[], [], []]
    assert problems_of([Cue(0, 0.1, ("a" * 80,)), Cue(0.1, 1, ("b",))], CueRules(84, 1, 0, 7, 0, 0)) == [[], []]
