"""What people do to a transcript: operations on its segments, each of which says which segment it means by its id.

An id stays with its segment; a segment that a split or an insertion makes gets one that was never used before.
Knows nothing of revisions: those are kept by `milo.ledger.revisions`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from milo.errors import Invalid
from milo.transcription.cues import spread
from milo.transcription.transcript import Segment, Transcript
from milo.transcription.word_alignment import BY_HAND, aligned, interpolated

MAX_TEXT = 10_000
MAX_SPEAKER = 200
MAX_SEGMENTS = 100_000
MAX_OPERATIONS = 10_000
MAX_STRUCTURAL = 1_000
"""Operations of one edit that add or remove segments: each costs a walk over all."""


def _one_line(text: str) -> str:
    plain = " ".join(text.encode("utf-8", "replace").decode().split())
    if not plain:
        raise ValueError("the text is empty; `delete` removes a segment")
    if any(ord(character) < 32 or ord(character) == 127 for character in plain):
        raise ValueError("there are control characters in it")
    return plain


def _speaker(name: str | None) -> str | None:
    return _one_line(name) if name and name.strip() else None


EditedText = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_one_line)]
SpeakerName = Annotated[str, Field(min_length=1, max_length=MAX_SPEAKER), AfterValidator(_one_line)]
OptionalSpeaker = Annotated[Annotated[str, Field(max_length=MAX_SPEAKER)] | None, AfterValidator(_speaker)]
SegmentId = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(ge=0, le=10**7, allow_inf_nan=False)]


class _Operation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SetText(_Operation):
    """Another text. Words that did not change keep their times."""

    op: Literal["text"]
    segment: SegmentId
    text: EditedText


class Split(_Operation):
    """Two segments of one: the second begins with word `word` (the first word is 0)."""

    op: Literal["split"]
    segment: SegmentId
    word: Annotated[int, Field(ge=1, le=MAX_TEXT)]


class Merge(_Operation):
    """One segment of this one and the one after it."""

    op: Literal["merge"]
    segment: SegmentId


class SetTimes(_Operation):
    """When the segment is said. Words that lie outside are drawn in."""

    op: Literal["times"]
    segment: SegmentId
    start: Seconds
    end: Seconds


class SetSpeaker(_Operation):
    """Who says these segments; null: nobody has told."""

    op: Literal["speaker"]
    segments: Annotated[list[SegmentId], Field(min_length=1, max_length=MAX_SEGMENTS)]
    speaker: OptionalSpeaker


class RenameSpeaker(_Operation):
    """Another name for a speaker everywhere. The name of another speaker merges the two."""

    op: Literal["rename_speaker"]
    speaker: SpeakerName
    to: SpeakerName


class Insert(_Operation):
    """A segment that the machine did not hear."""

    op: Literal["insert"]
    start: Seconds
    end: Seconds
    text: EditedText
    speaker: OptionalSpeaker = None
    language: Annotated[str, Field(max_length=32)] | None = None
    """None: that of the transcript."""


class Delete(_Operation):
    """Remove a segment."""

    op: Literal["delete"]
    segment: SegmentId


Operation = Annotated[
    SetText | Split | Merge | SetTimes | SetSpeaker | RenameSpeaker | Insert | Delete, Field(discriminator="op")
]
STRUCTURAL = (Split, Merge, Insert, Delete)


class _Draft:
    """The segments while they are being edited. Segments are frozen, so those of the old text stay as they are."""

    def __init__(self, transcript: Transcript, next_id: int) -> None:
        self.transcript, self.next_id = transcript, next_id
        self.segments = list(transcript.segments)
        self.timed_words = any(segment.words for segment in self.segments)
        self._places: dict[int, int] | None = None

    def place(self, segment_id: int) -> int:
        if self._places is None:
            self._places = {segment.id: place for place, segment in enumerate(self.segments)}
        if segment_id not in self._places:
            raise Invalid(f"the transcript has no segment {segment_id}", code="unknown_segment")
        return self._places[segment_id]

    def change(self, place: int, **fields: Any) -> None:
        self.segments[place] = self.segments[place].model_copy(update=fields)

    def splice(self, place: int, removed: int, added: Sequence[Segment]) -> None:
        self.segments[place : place + removed] = added
        self._places = None

    def take_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1


def edited(transcript: Transcript, operations: Sequence[Operation], next_id: int) -> tuple[list[Segment], int]:
    """The segments after the operations, one after the other, and the next id that is free.

    Raises `Invalid` that points at the operation which can't be done; nothing is done then.
    """
    if sum(isinstance(operation, STRUCTURAL) for operation in operations) > MAX_STRUCTURAL:
        raise Invalid(f"one edit splits, merges, inserts or deletes at most {MAX_STRUCTURAL} segments; send several")
    draft = _Draft(transcript, next_id)
    for number, operation in enumerate(operations):
        try:
            _APPLY[type(operation)](draft, operation)
            if len(draft.segments) > MAX_SEGMENTS:
                raise Invalid(f"a transcript has at most {MAX_SEGMENTS} segments")
        except Invalid as error:
            error.errors = [{"detail": error.detail, "pointer": f"#/operations/{number}"}]
            raise
    return draft.segments, draft.next_id


def _set_text(draft: _Draft, asked: SetText) -> None:
    place = draft.place(asked.segment)
    segment = draft.segments[place]
    words = aligned(segment.words, asked.text, segment.start, segment.end) if segment.words else []
    draft.change(place, text=asked.text, words=words, tokens=[])


def _split(draft: _Draft, asked: Split) -> None:
    place = draft.place(asked.segment)
    segment = draft.segments[place]
    words, at = segment.words, asked.word
    pieces = spread(segment.text, segment.start, segment.end)
    texts = [word.word for word in words] or [piece.word for piece in pieces]
    if at >= len(texts):
        raise Invalid(f"segment {segment.id} has {len(texts)} words, so it can't be split before word {at}")
    ends_s = words[at - 1].end if words else pieces[at - 1].end_s
    starts_s = words[at].start if words else pieces[at].start_s
    first = {"text": "".join(texts[:at]).strip(), "end": round(ends_s, 3), "words": words[:at], "tokens": []}
    second = {"text": "".join(texts[at:]).strip(), "start": round(starts_s, 3), "words": words[at:], "tokens": []}
    second["id"] = draft.take_id()
    draft.splice(place, 1, [segment.model_copy(update=first), segment.model_copy(update=second)])


def _merge(draft: _Draft, asked: Merge) -> None:
    place = draft.place(asked.segment)
    if place + 1 >= len(draft.segments):
        raise Invalid(f"segment {asked.segment} is the last one, so there is none to merge it with")
    one, other = draft.segments[place : place + 2]
    words = [*_with_words(one), *_with_words(other)] if one.words or other.words else []
    merged = {
        "text": f"{one.text} {other.text}".strip(),
        "start": min(one.start, other.start),
        "end": max(one.end, other.end),
        "words": words,
        "tokens": [],
        "confidence": min(one.confidence, other.confidence),
        "avg_logprob": min(one.avg_logprob, other.avg_logprob),
        "speaker": one.speaker or other.speaker,
    }
    draft.splice(place, 2, [one.model_copy(update=merged)])


def _with_words(segment: Segment) -> list[Any]:
    """The words of a segment, the first with the space that stands before it in a longer text."""
    words = segment.words or aligned([], segment.text, segment.start, segment.end)
    if words and not words[0].word[:1].isspace():
        words = [words[0].model_copy(update={"word": f" {words[0].word}"}), *words[1:]]
    return words


def _set_times(draft: _Draft, asked: SetTimes) -> None:
    place = draft.place(asked.segment)
    _check_times(draft, asked.start, asked.end)
    before_s = draft.segments[place - 1].start if place else 0.0
    after_s = draft.segments[place + 1].start if place + 1 < len(draft.segments) else float("inf")
    if not before_s <= asked.start <= after_s:
        raise Invalid(f"segment {asked.segment} would begin at {asked.start:g} s, past the segment beside it")
    words = []
    for word in draft.segments[place].words:
        start = min(max(word.start, asked.start), asked.end)
        end = max(start, min(word.end, asked.end))
        same = (start, end) == (word.start, word.end)
        words.append(word if same else word.model_copy(update={"start": start, "end": end, "interpolated": True}))
    draft.change(place, start=asked.start, end=asked.end, words=words)


def _check_times(draft: _Draft, start_s: float, end_s: float) -> None:
    if not start_s < end_s <= draft.transcript.duration + 0.001:
        raise Invalid(f"from {start_s:g} s to {end_s:g} s is no time of a recording of {draft.transcript.duration:g} s")


def _set_speaker(draft: _Draft, asked: SetSpeaker) -> None:
    for segment_id in asked.segments:
        draft.change(draft.place(segment_id), speaker=asked.speaker)


def _rename_speaker(draft: _Draft, asked: RenameSpeaker) -> None:
    places = [place for place, segment in enumerate(draft.segments) if segment.speaker == asked.speaker]
    if not places:
        raise Invalid(f"nobody in the transcript is called {asked.speaker!r}", code="unknown_speaker")
    for place in places:
        draft.change(place, speaker=asked.to)


def _insert(draft: _Draft, asked: Insert) -> None:
    _check_times(draft, asked.start, asked.end)
    place = bisect_right([segment.start for segment in draft.segments], asked.start)
    texts = [piece.word if index else f" {piece.word.strip()}" for index, piece in enumerate(spread(asked.text, 0, 1))]
    segment = Segment(
        id=draft.take_id(),
        start=asked.start,
        end=asked.end,
        text=asked.text,
        confidence=BY_HAND,
        avg_logprob=0.0,
        no_speech_prob=0.0,
        compression_ratio=1.0,
        language=asked.language or draft.transcript.language or "",
        words=interpolated(texts, asked.start, asked.end) if draft.timed_words else [],
        speaker=asked.speaker,
    )
    draft.splice(place, 0, [segment])


def _delete(draft: _Draft, asked: Delete) -> None:
    draft.splice(draft.place(asked.segment), 1, [])


_APPLY: dict[type[BaseModel], Callable[[_Draft, Any], None]] = {
    SetText: _set_text,
    Split: _split,
    Merge: _merge,
    SetTimes: _set_times,
    SetSpeaker: _set_speaker,
    RenameSpeaker: _rename_speaker,
    Insert: _insert,
    Delete: _delete,
}
