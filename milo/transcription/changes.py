"""What differs between two states of a transcript, exactly and both ways: the journal of its revisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

from pydantic import BaseModel, ConfigDict

from milo.transcription.transcript import Segment, Transcript

FIELDS = tuple(name for name in Segment.model_fields if name != "id")


class FieldChange(BaseModel):
    """A segment that stayed in its place, and the fields that differ."""

    model_config = ConfigDict(frozen=True)

    segment: int
    before: dict[str, Any]
    after: dict[str, Any]


class Splice(BaseModel):
    """From place `at` of the old list on, `removed` was there and `added` is now."""

    model_config = ConfigDict(frozen=True)

    at: int
    removed: list[Segment]
    added: list[Segment]


class Changes(BaseModel):
    """Fields count in the old list, and so do the places of splices, which are in ascending order."""

    model_config = ConfigDict(frozen=True)

    fields: list[FieldChange] = []
    splices: list[Splice] = []

    @property
    def is_empty(self) -> bool:
        return not self.fields and not self.splices

    @property
    def removed_ids(self) -> set[int]:
        """Segments whose old content is no longer true."""
        gone = {segment.id for splice in self.splices for segment in splice.removed}
        return gone | {change.segment for change in self.fields}

    @property
    def added_ids(self) -> set[int]:
        """Segments whose content is new."""
        new = {segment.id for splice in self.splices for segment in splice.added}
        return new | {change.segment for change in self.fields}


def difference(before: Sequence[Segment], after: Sequence[Segment]) -> Changes:
    """What to do to `before` to have `after`."""
    old_ids, new_ids = [one.id for one in before], [one.id for one in after]
    fields, splices = [], []
    for tag, i1, i2, j1, j2 in _opcodes(old_ids, new_ids):
        if tag != "equal":
            splices.append(Splice(at=i1, removed=list(before[i1:i2]), added=list(after[j1:j2])))
            continue
        for old, new in zip(before[i1:i2], after[j1:j2], strict=True):
            if old is not new and (change := _fields(old, new)):
                fields.append(change)
    return Changes(fields=fields, splices=splices)


def _opcodes(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[str, int, int, int, int]]:
    """As `SequenceMatcher` tells them; what is equal at both ends is found without it."""
    least = min(len(old), len(new))
    head = next((place for place in range(least) if old[place] != new[place]), least)
    tail = next((back for back in range(least - head) if old[-1 - back] != new[-1 - back]), least - head)
    old_end, new_end = len(old) - tail, len(new) - tail
    yield "equal", 0, head, 0, head
    matcher = SequenceMatcher(None, old[head:old_end], new[head:new_end], autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        yield tag, i1 + head, i2 + head, j1 + head, j2 + head
    yield "equal", old_end, len(old), new_end, len(new)


def _fields(old: Segment, new: Segment) -> FieldChange | None:
    changed = {name for name in FIELDS if getattr(old, name) != getattr(new, name)}
    if not changed:
        return None
    empty = {"speaker": None} if "speaker" in changed else {}  # a dump leaves it out where nobody has told
    before, after = old.model_dump(include=changed), new.model_dump(include=changed)
    return FieldChange(segment=old.id, before=empty | before, after=empty | after)


def replay(segments: Sequence[Segment], changes: Changes) -> list[Segment]:
    """The segments after the changes."""
    after = {change.segment: change.after for change in changes.fields}
    made = [
        Segment.model_validate(segment.model_dump() | after[segment.id]) if segment.id in after else segment
        for segment in segments
    ]
    for splice in reversed(changes.splices):
        made[splice.at : splice.at + len(splice.removed)] = splice.added
    return made


def inverse(changes: Changes) -> Changes:
    """What takes them back."""
    fields = [FieldChange(segment=one.segment, before=one.after, after=one.before) for one in changes.fields]
    splices, moved = [], 0
    for one in changes.splices:
        splices.append(Splice(at=one.at + moved, removed=one.added, added=one.removed))
        moved += len(one.added) - len(one.removed)
    return Changes(fields=fields, splices=splices)


def with_segments(transcript: Transcript, segments: Sequence[Segment], revision: int) -> Transcript:
    """The transcript with other segments: its text is theirs."""
    text = " ".join(segment.text.strip() for segment in segments if segment.text.strip())
    return transcript.model_copy(update={"segments": list(segments), "text": text, "revision": revision})
