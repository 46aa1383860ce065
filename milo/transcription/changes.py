"""What differs between two states of a transcript, exactly and both ways: the journal of its revisions."""

from __future__ import annotations

from collections.abc import Sequence
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
    same = old_ids == new_ids  # almost always, and told at once
    matcher = SequenceMatcher(None, [] if same else old_ids, [] if same else new_ids, autojunk=False)
    fields, splices = [], []
    for tag, i1, i2, j1, j2 in [("equal", 0, len(before), 0, len(after))] if same else matcher.get_opcodes():
        if tag != "equal":
            splices.append(Splice(at=i1, removed=list(before[i1:i2]), added=list(after[j1:j2])))
            continue
        for old, new in zip(before[i1:i2], after[j1:j2], strict=True):
            if old is not new and (change := _fields(old, new)):
                fields.append(change)
    return Changes(fields=fields, splices=splices)


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


def with_segments(transcript: Transcript, segments: Sequence[Segment], revision: int) -> Transcript:
    """The transcript with other segments: its text is theirs."""
    text = " ".join(segment.text.strip() for segment in segments if segment.text.strip())
    return transcript.model_copy(update={"segments": list(segments), "text": text, "revision": revision})
