"""Every rendering is what players and programs of its format expect."""

from __future__ import annotations

import json

import pytest

from milo.cue_rules import PROFILES
from milo.errors import Invalid
from milo.transcription.transcript import FORMATS, MEDIA_TYPES, Segment, Transcript, Word, render, timestamp


def segment(number: int, start: float, end: float, text: str) -> Segment:
    word = Word(word=f" {text}", start=start, end=end, probability=0.9)
    numbers = {"confidence": 0.9, "avg_logprob": -0.1, "no_speech_prob": 0.0, "compression_ratio": 1.0}
    return Segment(id=number, start=start, end=end, text=text, words=[word], tokens=[5], **numbers)


def made(*segments: Segment) -> Transcript:
    return Transcript(
        text=" ".join(s.text for s in segments),
        language="mg",
        language_probability=1.0,
        duration=4000.0,
        speech_s=3.0,
        confidence=0.9,
        segments=list(segments),
        model="m@1",
        engine="ctranslate2",
    )


TWO = made(segment(0, 0.5, 1.9996, "Salama <b>"), segment(1, 3661.2, 3662.0, "iray\n\nroa & telo"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00:00,000"), (1.9996, "00:00:02,000"), (3661.2, "01:01:01,200"), (360000, "100:00:00,000")],
)
def test_timestamps_round_to_the_millisecond(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text


def test_srt_has_numbered_cues() -> None:
    assert render(TWO, "srt", PROFILES["plain"]) == (
        "1\n00:00:00,500 --> 00:00:02,000\nSalama <b>\n\n2\n01:01:01,200 --> 01:01:02,000\niray roa & telo\n"
    )


def test_vtt_starts_with_its_magic_and_escapes_markup() -> None:
    text = render(TWO, "vtt")
    assert text.startswith("WEBVTT\n\n00:00:00.500 --> 00:00:02.000\n")
    assert "Salama &lt;b&gt;" in text and "roa &amp; telo" in text


def test_txt_and_tsv_have_one_line_a_cue() -> None:
    assert render(TWO, "txt") == "Salama <b>\niray roa & telo\n"
    assert render(TWO, "tsv", PROFILES["plain"]).splitlines()[1:] == [
        "500\t2000\tSalama <b>",
        "3661200\t3662000\tiray roa & telo",
    ]


def test_verbose_json_has_the_fields_of_the_openai_api() -> None:
    document = json.loads(render(TWO, "verbose_json"))
    assert set(document) == {"task", "language", "duration", "text", "segments", "words", "usage"}
    assert set(document["segments"][0]) == {
        *("id", "seek", "start", "end", "text", "tokens", "temperature"),
        *("avg_logprob", "compression_ratio", "no_speech_prob"),
    }
    assert document["words"][0] == {"word": "Salama <b>", "start": 0.5, "end": 1.9996}


def test_json_reads_back_as_the_same_transcript() -> None:
    assert Transcript.model_validate_json(render(TWO, "json")) == TWO


@pytest.mark.parametrize("format", FORMATS)
def test_silence_renders_in_every_format(format: str) -> None:
    assert isinstance(render(made(), format), str)
    assert format in MEDIA_TYPES


def test_an_unknown_format_is_refused_with_the_list() -> None:
    with pytest.raises(Invalid, match="srt"):
        render(TWO, "doc")
