"""One transcript of a recording from those of its channels, each of them a speaker's."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from milo.transcription.channels import Channel
from milo.transcription.transcript import Transcript


def merge(transcripts: Sequence[tuple[Channel, Transcript]], warnings: Sequence[str] = ()) -> Transcript:
    """All segments in order of time, each with its speaker. `warnings` are those of the recording; a channel's own name
    its speaker."""
    said = [
        segment.model_copy(update={"channel": channel.number, "speaker": channel.speaker})
        for channel, transcript in transcripts
        for segment in transcript.segments
    ]
    said.sort(key=lambda segment: (segment.start, segment.channel or 0))
    each = [one for _, one in transcripts]
    language = _language(each)
    spoken_s = sum(one.speech_s for one in each if one.language == language)
    certain_s = sum(one.speech_s * (one.language_probability or 0) for one in each if one.language == language)
    steps = [(one.confidence, sum(len(s.tokens) for s in one.segments) or 1) for one in each if one.confidence]
    total = sum(count for _, count in steps)
    return transcripts[0][1].model_copy(
        update={
            "text": " ".join(segment.text for segment in said if segment.text),
            "language": language,
            "language_probability": round(certain_s / spoken_s, 4) if language and spoken_s else None,
            "speech_s": round(sum(one.speech_s for one in each), 3),
            "confidence": round(math.exp(sum(n * math.log(c) for c, n in steps) / total), 4) if total else None,
            "segments": [segment.model_copy(update={"id": number}) for number, segment in enumerate(said)],
            "warnings": [*warnings, *_warnings(transcripts)],
        }
    )


def _language(transcripts: Sequence[Transcript]) -> str | None:
    """Of most of the speech."""
    seconds: dict[str, float] = defaultdict(float)
    for transcript in transcripts:
        if transcript.language:
            seconds[transcript.language] += transcript.speech_s
    return max(seconds, key=lambda name: seconds[name]) if seconds else None


def _warnings(transcripts: Sequence[tuple[Channel, Transcript]]) -> list[str]:
    """Each warning once: with its speaker, unless it is true of all."""
    speakers: dict[str, list[str]] = defaultdict(list)
    for channel, transcript in transcripts:
        for warning in transcript.warnings:
            speakers[warning].append(channel.speaker)
    return [
        warning if len(names) == len(transcripts) else f"{warning} (speaker {', '.join(names)})"
        for warning, names in speakers.items()
    ]
