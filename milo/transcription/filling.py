"""Windows as full as can be, for an engine that computes as much for a short window as for a long one.

A span that does not fit into what is left of a window is cut at the last good pause that does, and silences longer
than `SHORTENED_S` take only that much room. So the windows hold pieces of sentences, and of talk far apart: what a
model of long windows hears as well.
"""

from __future__ import annotations

from milo.audio.vad import SAMPLE_RATE_HZ, Span
from milo.transcription.pauses import Speech, find_pause

SHORTENED_S = 1.0
"""What is left of a longer silence inside a window."""
_CRUMB_S = 3.0
"""No cut is so near to an end of a span: a word or two alone are hard to understand."""


def fill(decoded: Speech, packed: int, longest: int) -> list[list[Span]]:
    """The spans of each window, in order, in samples; together at most `packed`, or `longest` where no pause is."""
    crumb, gap = min(round(_CRUMB_S * SAMPLE_RATE_HZ), packed // 4), round(SHORTENED_S * SAMPLE_RATE_HZ)
    windows: list[list[Span]] = [[]]
    room = packed
    for start, end in decoded.span_samples:
        if windows[-1]:
            room -= min(start - windows[-1][-1][1], gap)
        while end - start > room:
            cut = None
            if room > crumb:
                cut = find_pause(decoded, start + crumb, min(start + room, end - crumb), clear=True, which="last")
            if cut is None and not windows[-1]:
                cut = _cut_beyond(decoded, (start, end), packed, longest)
            if cut is not None:
                windows[-1].append((start, cut))
                start = cut
            windows.append([])
            room = packed
        if start < end:
            windows[-1].append((start, end))
            room -= end - start
    return [window for window in windows if window]


def _cut_beyond(decoded: Speech, span: Span, packed: int, longest: int) -> int:
    """Where the first window of a span ends that has no clear pause for `packed` samples."""
    start, end = span
    cut = find_pause(decoded, start + packed, min(start + longest, end - packed // 4), clear=True, which="first")
    if cut is None and end - start <= longest:
        return end
    if cut is None:
        cut = find_pause(decoded, start + longest // 2, min(start + longest, end - longest // 4), clear=False)
    return cut or start + longest // 2
