"""Operations on segments, and the difference between two states, which leads from each to the other."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from milo.errors import Invalid
from milo.transcription.changes import Changes, difference, inverse, replay
from milo.transcription.edits import Operation, edited
from milo.transcription.transcript import Segment, Transcript, Word, render

READ: TypeAdapter[list[Operation]] = TypeAdapter(list[Operation])


def spoken(*texts: str) -> Transcript:
    """Two seconds a segment, half a second a word."""
    segments = []
    for number, text in enumerate(texts):
        words = [
            Word(word=f" {word}", start=2 * number + at / 2, end=2 * number + at / 2 + 0.4, probability=0.9)
            for at, word in enumerate(text.split())
        ]
        segments.append(
            Segment(
                id=number,
                start=words[0].start,
                end=words[-1].end,
                text=text,
                confidence=0.9,
                avg_logprob=-0.1,
                no_speech_prob=0,
                compression_ratio=1,
                language="mg",
                words=words,
                tokens=[1, 2],
            )
        )
    whole = " ".join(texts)
    return Transcript(
        text=whole,
        language="mg",
        language_probability=1,
        duration=2.0 * len(texts),
        speech_s=2,
        confidence=0.9,
        segments=segments,
        model="m",
        engine="e",
    )


SAID = spoken("salama tompoko", "inona no vaovao", "tsy misy")


def after(*operations: dict[str, Any], said: Transcript = SAID) -> list[Segment]:
    return edited(said, READ.validate_python(list(operations)), len(said.segments))[0]


def test_a_text_keeps_the_words_that_did_not_change() -> None:
    changed = after({"op": "text", "segment": 1, "text": " inona no  vaovao?"})[1]
    assert changed.text == "inona no vaovao?" and changed.tokens == []
    assert [(w.start, w.interpolated) for w in changed.words] == [(2.0, False), (2.5, False), (3.0, False)]


def test_a_split_segment_has_its_words_times_and_a_new_id_and_merges_back() -> None:
    split = after({"op": "split", "segment": 1, "word": 1})
    assert [(s.id, s.text, s.start, s.end) for s in split[1:3]] == [(1, "inona", 2.0, 2.4), (3, "no vaovao", 2.5, 3.4)]
    merged = after({"op": "split", "segment": 1, "word": 1}, {"op": "merge", "segment": 1})
    assert merged[1].text == SAID.segments[1].text and merged[1].words == SAID.segments[1].words


def test_speakers_are_named_renamed_and_merged_and_stand_in_the_renderings() -> None:
    told = [{"op": "speaker", "segments": [0, 2], "speaker": "A"}, {"op": "speaker", "segments": [1], "speaker": "B"}]
    assert [s.speaker for s in after(*told)] == ["A", "B", "A"]
    renamed = after(*told, {"op": "rename_speaker", "speaker": "A", "to": "Rabe <b>"})
    document = SAID.model_copy(update={"segments": renamed})
    assert render(document, "txt").splitlines()[:2] == ["Rabe <b>: salama tompoko", "B: inona no vaovao"]
    assert "<v Rabe &lt;b&gt;>salama tompoko" in render(document, "vtt")
    assert {s.speaker for s in after(*told, {"op": "rename_speaker", "speaker": "A", "to": "B"})} == {"B"}
    assert "speaker" not in render(SAID, "json") and "interpolated" not in render(SAID, "json")


def test_times_draw_words_in_and_an_inserted_segment_lies_where_it_is_said() -> None:
    drawn = after({"op": "times", "segment": 1, "start": 2.2, "end": 3.0})[1]
    assert [(w.start, w.end, w.interpolated) for w in drawn.words] == [
        (2.2, 2.4, True),
        (2.5, 2.9, False),
        (3.0, 3.0, True),
    ]
    inserted = after({"op": "insert", "start": 1.0, "end": 1.9, "text": "eny ary"})
    assert [s.id for s in inserted] == [0, 3, 1, 2] and inserted[1].words[0].interpolated
    assert [s.id for s in after({"op": "delete", "segment": 1})] == [0, 2]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "text", "segment": 9, "text": "x"},
        {"op": "split", "segment": 0, "word": 2},
        {"op": "merge", "segment": 2},
        {"op": "times", "segment": 1, "start": 3, "end": 3},
        {"op": "times", "segment": 1, "start": 5, "end": 6},
        {"op": "times", "segment": 2, "start": 4, "end": 600},
        {"op": "rename_speaker", "speaker": "nobody", "to": "x"},
        {"op": "insert", "start": 5, "end": 7, "text": "x"},
    ],
)
def test_what_cannot_be_done_is_refused_whole_and_pointed_at(operation: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        after({"op": "text", "segment": 0, "text": "ok"}, operation)
    assert caught.value.errors and caught.value.errors[0]["pointer"] == "#/operations/1"


@pytest.mark.parametrize("text", ["", "  ", "a\x00b", "x" * 10_001])
def test_a_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        READ.validate_python([{"op": "text", "segment": 0, "text": text}])


def test_the_difference_leads_from_each_state_to_the_other_whatever_was_done() -> None:
    chance = random.Random(3)
    said = spoken(*(f"teny {n} sy ny hafa" for n in range(12)))
    segments, next_id = said.segments, 12
    for _ in range(150):
        one = chance.choice(segments).id
        asked = chance.choice(
            [
                {"op": "text", "segment": one, "text": f"teny {chance.random()}"},
                {"op": "split", "segment": one, "word": 1},
                {"op": "merge", "segment": one},
                {"op": "delete", "segment": one},
                {"op": "speaker", "segments": [one], "speaker": chance.choice(["A", "B", None])},
                {"op": "insert", "start": chance.random(), "end": 2, "text": "vaovao"},
            ]
        )
        before = segments
        try:
            draft = said.model_copy(update={"segments": before})
            segments, next_id = edited(draft, READ.validate_python([asked]), next_id)
        except Invalid:
            continue
        there = Changes.model_validate_json(difference(before, segments).model_dump_json())
        back = Changes.model_validate_json(difference(segments, before).model_dump_json())
        assert replay(before, there) == segments and replay(segments, back) == before
        assert replay(segments, inverse(there)) == before
        assert len({s.id for s in segments}) == len(segments) and max(s.id for s in segments) < next_id
