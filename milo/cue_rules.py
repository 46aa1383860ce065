"""What a subtitle may be: lines, characters, seconds. Three profiles, and one's own numbers on top of them.

The same few words everywhere: `MILO_CUES`, `?cues=`, the form field `cues`, `milo transcribe --cues`:

    broadcast                           a profile
    social,max_s=2                      a profile with another number
    line_chars=37,chars_per_s=15        other numbers of the default profile
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

from milo.errors import Invalid


@dataclass(frozen=True)
class CueRules:
    """Limits of a cue. Those of time are met where there is room: no cue runs into the next."""

    line_chars: int = 42
    """Most characters of a line; East Asian wide ones count twice."""
    lines: int = 2
    min_s: float = 0.833
    max_s: float = 7.0
    chars_per_s: float = 20.0
    """Reading speed: a cue stays as long as its text takes to read. 0: no matter."""
    gap_s: float = 0.08
    """Between two cues that follow each other."""


LIMITS: dict[str, tuple[float, float]] = {
    "line_chars": (8, 1000),
    "lines": (1, 10),
    "min_s": (0, 10),
    "max_s": (0.5, 60),
    "chars_per_s": (0, 100),
    "gap_s": (0, 2),
}
"""Least and most of each number."""
PROFILES: dict[str, CueRules] = {
    "broadcast": CueRules(),
    "social": CueRules(line_chars=28, lines=1, min_s=0.5, max_s=3.0, chars_per_s=25.0, gap_s=0.0),
    "plain": CueRules(line_chars=84, lines=1, min_s=0.0, max_s=7.0, chars_per_s=0.0, gap_s=0.0),
}
"""`broadcast`: two lines of 42 characters, 5/6 s to 7 s, 20 characters a second, two frames between cues: the usual
limits of television and film. `social`: one short line, for upright video. `plain`: one line, times as they were heard,
for programs that read subtitles.
"""
DEFAULT = "broadcast"


@lru_cache(maxsize=256)
def parse_rules(text: str | None) -> CueRules:
    """The rules that a text asks for; nothing: the default ones. `Invalid` says what may stand there."""
    parts = [part.strip() for part in (text or DEFAULT).split(",") if part.strip()]
    name = parts.pop(0).lower() if parts and "=" not in parts[0] else DEFAULT
    if name not in PROFILES:
        raise _refused(f"{name!r} is no profile of cues; one of {', '.join(PROFILES)}, then numbers such as lines=1")
    numbers = dict(_number(part) for part in parts)
    rules = replace(PROFILES[name], **numbers)  # type: ignore[arg-type]
    if rules.min_s > rules.max_s:
        raise _refused(f"a cue can't last at least {rules.min_s:g} s and at most {rules.max_s:g} s")
    return rules


def check_rules(text: str) -> str:
    """The text, for a setting or a field. `ValueError` for rules that nobody can keep."""
    try:
        parse_rules(text)
    except Invalid as error:
        raise ValueError(error.detail) from None
    return text


def _number(part: str) -> tuple[str, float]:
    name, _, given = (side.strip() for side in part.partition("="))
    if name not in LIMITS:
        raise _refused(f"{part!r} is no number of a cue; one of {', '.join(f'{known}=' for known in LIMITS)}")
    low, high = LIMITS[name]
    whole = next(field for field in fields(CueRules) if field.name == name).type == "int"
    try:
        value = int(given) if whole else float(given)
    except ValueError:
        raise _refused(f"{name}={given!r} of a cue is not a {'whole ' if whole else ''}number") from None
    if not low <= value <= high:
        raise _refused(f"{name}={given} of a cue is not within {low:g} and {high:g}")
    return name, value


def _refused(detail: str) -> Invalid:
    return Invalid(detail, code="bad_cues", errors=[{"detail": detail, "parameter": "cues"}])
