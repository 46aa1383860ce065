"""What a cue's reader would stumble over, by the rules that it was cut by: they are met only where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from milo.cue_rules import CueRules
from milo.transcription.cues import Cue, width

Problem = Literal["long_line", "many_lines", "short", "long", "fast", "gap", "overlap"]
PROBLEMS: tuple[Problem, ...] = get_args(Problem)
_EXACT_S = 0.001
"""Subtitles are written in milliseconds."""


def problems_of(cues: Sequence[Cue], rules: CueRules) -> list[list[Problem]]:
    """What is wrong with each cue; `gap` and `overlap` with regard to the next one."""
    return [_problems(cue, following, rules) for cue, following in zip(cues, [*cues[1:], None], strict=True)]


def chars_per_s(cue: Cue) -> float:
    """How fast it must be read."""
    return sum(width(line) for line in cue.lines) / max(_EXACT_S, cue.end_s - cue.start_s)


def _problems(cue: Cue, following: Cue | None, rules: CueRules) -> list[Problem]:
    shown_s = cue.end_s - cue.start_s
    gap_s = following.start_s - cue.end_s if following else rules.gap_s
    wrong: dict[Problem, bool] = {
        "long_line": any(width(line) > rules.line_chars for line in cue.lines),
        "many_lines": len(cue.lines) > rules.lines,
        "short": shown_s < rules.min_s - _EXACT_S,
        "long": shown_s > rules.max_s + _EXACT_S,
        "fast": bool(rules.chars_per_s) and chars_per_s(cue) > rules.chars_per_s * 1.001,
        "gap": 0 <= gap_s + _EXACT_S and gap_s < rules.gap_s - _EXACT_S,
        "overlap": gap_s < -_EXACT_S,
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]
