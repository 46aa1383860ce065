"""A transcript as OpenAI answers it: json, diarized_json, verbose_json, text, subtitles, and the events of a stream."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from milo.cue_rules import CueRules
from milo.kinds.kind import Document
from milo.language.names import language_name
from milo.transcription.transcript import Transcript, Word, render

SPEAKER = "A"
"""OpenAI names speakers A, B, C in order; until speakers are told apart, all is said by one."""
LEAST_PROBABILITY = 1e-6
Granularities = Sequence[str]


def text_answer(transcript: Transcript, format: str, rules: CueRules) -> str:
    """`text`, `srt` or `vtt`."""
    return f"{transcript.text}\n" if format == "text" else render(transcript, format, rules)


def json_answer(
    transcript: Transcript, format: str, granularities: Granularities = (), *, logprobs: bool = False
) -> Document:
    """`json`, `verbose_json` or `diarized_json`."""
    if format == "verbose_json":
        return _verbose(transcript, granularities)
    usage = {"type": "duration", "seconds": round(transcript.duration)}
    if format == "diarized_json":
        about = {"task": "transcribe", "duration": transcript.duration, "text": transcript.text}
        return {**about, "segments": list(_diarized(transcript)), "usage": usage}
    certainty = {"logprobs": _logprobs(_words(transcript))} if logprobs else {}
    return {"text": transcript.text, **certainty, "usage": usage}


def _verbose(transcript: Transcript, granularities: Granularities) -> Document:
    document: Document = json.loads(render(transcript, "verbose_json"))
    translated = transcript.task == "translate"
    document["language"] = "english" if translated else language_name(transcript.language)
    if "word" not in granularities:
        document.pop("words")
    elif "segment" not in granularities:
        document.pop("segments")
    return document


def _diarized(transcript: Transcript) -> Iterator[Document]:
    for segment in transcript.segments:
        yield {
            "type": "transcript.text.segment",
            "id": f"seg_{segment.id}",
            "start": segment.start,
            "end": segment.end,
            "text": segment.text,
            "speaker": segment.speaker or SPEAKER,
        }


def _words(transcript: Transcript) -> list[Word]:
    return [word for segment in transcript.segments for word in segment.words]


def _logprobs(words: Sequence[Word]) -> list[Document]:
    """One entry a word, where OpenAI has one a token."""
    return [
        {
            "token": word.word,
            "bytes": list(word.word.encode()),
            "logprob": round(math.log(max(word.probability, LEAST_PROBABILITY)), 4),
        }
        for word in words
    ]


def stream(transcript: Transcript, format: str, *, logprobs: bool = False) -> Iterator[Document]:
    """The events of a stream: a delta a segment (a segment with its speaker, as `diarized_json`), and the end."""
    if format == "diarized_json":
        yield from _diarized(transcript)
    else:
        yield from _deltas(transcript, logprobs)
    languages = [{"code": transcript.language}] if transcript.language else []
    certainty = {"logprobs": _logprobs(_words(transcript))} if logprobs else {}
    yield {"type": "transcript.text.done", "text": transcript.text, "languages": languages, **certainty}


def _deltas(transcript: Transcript, logprobs: bool) -> Iterator[Document]:
    segments = [segment for segment in transcript.segments if segment.text.strip()]
    texts = [f"{' ' if index else ''}{segment.text.strip()}" for index, segment in enumerate(segments)]
    if "".join(texts) != transcript.text:  # a language without spaces
        if transcript.text:
            yield {"type": "transcript.text.delta", "delta": transcript.text}
        return
    for segment, text in zip(segments, texts, strict=True):
        certainty = {"logprobs": _logprobs(segment.words)} if logprobs else {}
        yield {"type": "transcript.text.delta", "delta": text, **certainty}
