"""POST /tts: what is refused, the audio as a file, and the audio while it is spoken."""

from __future__ import annotations

import io
import threading
import wave
import zipfile
from typing import Any

import httpx
import pytest

from milo.audio.formats import MEDIA_TYPES
from milo.errors import EngineError, MiloError
from milo.ledger import Ledger
from milo.queue import events
from milo.settings import Settings
from tests.api.by_hand import RATE_HZ, Hand, tone, worker
from tests.api.conftest import KEY, problem
from tests.support.servers import wait_until

TEXT = "Manao ahoana tompoko. Veloma."
HEADERS = {"Authorization": f"Bearer {KEY}"}


def speak_all(hand: Hand) -> dict[str, Any]:
    return hand.keep(tone(0.5), hand.job.payload["format"])


REFUSED = [
    ({"text": ""}, "empty_text", ""),
    ({"text": " \n\t "}, "empty_text", ""),
    ({"text": "\u200b\u200b"}, "nothing_to_speak", ""),
    ({"text": "😀🎉"}, "nothing_to_speak", "emoji"),
    ({"text": "<b></b> ***"}, "nothing_to_speak", ""),
    ({"text": "a" * 501}, "text_too_long", "500"),
    ({"text": TEXT, "language": "tlh"}, "unknown_language", "mg, fr, en"),
    ({"text": TEXT, "voice": "alloy"}, "unknown_voice", "f1, f2"),
    ({"text": TEXT, "format": "doc"}, "unknown_format", "wav, pcm, flac"),
    ({"text": TEXT, "model": "no-such-model"}, "unknown_model", "Models here"),
    ({"text": TEXT, "model": "../../etc"}, "unknown_model", "not the name"),
    ({"text": TEXT, "speed": 9}, "invalid", "4"),
    ({"text": TEXT, "speed": "NaN"}, "invalid", ""),
    ({"text": TEXT, "sample_rate": 100}, "invalid", "8000"),
    ({"text": TEXT, "colour": "red"}, "invalid", "no such field"),
    ({"text": 7}, "invalid", ""),
    ({}, "invalid", ""),
]


@pytest.mark.parametrize(("body", "code", "says"), REFUSED)
def test_what_cannot_be_spoken_is_refused_when_it_is_sent(
    shared_url: str, body: dict[str, Any], code: str, says: str
) -> None:
    with httpx.Client(base_url=f"{shared_url}/api/v1", headers=HEADERS, trust_env=False) as client:
        document = problem(client.post("/tts", json=body), 422, code)
        assert says in document["detail"] and document["errors"][0]["pointer"].startswith("#/")
        again = problem(client.post("/jobs", json={"kind": "tts", "payload": body}), 422, code)
        assert again["errors"][0]["pointer"] == document["errors"][0]["pointer"].replace("#/", "#/payload/", 1)


def test_a_blocking_request_answers_with_the_audio(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    with worker(settings, ledger, speak_all):
        answer = client.post("/tts", json={"text": TEXT, "voice": "f3", "speed": 1.25, "sample_rate": 16000})
    assert answer.status_code == 200 and answer.headers["content-type"] == "audio/wav"
    assert float(answer.headers["x-audio-duration-s"]) == 0.5
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getnframes(), file.getframerate()) == (8000, RATE_HZ)
    job = client.get(f"/jobs/{answer.headers['x-milo-job-id']}").json()
    assert job["kind"] == "tts" and job["priority"] == "realtime" and job["state"] == "succeeded"
    wanted = {"text": TEXT, "voice": "f3", "speed": 1.25, "sample_rate_hz": 16000, "language": "mg", "model": "espeak"}
    assert wanted.items() <= job["payload"].items()
    assert client.get(job["result_url"].removeprefix("/api/v1")).content == answer.content
    about = client.get(f"{job['result_url'].removeprefix('/api/v1')}?format=json").json()
    assert about == job["result"] and about["duration_s"] == 0.5
    problem(client.get(f"{job['result_url'].removeprefix('/api/v1')}?format=mp3"), 422, "unknown_format")
    problem(client.get(f"{job['result_url'].removeprefix('/api/v1')}?format=srt"), 422, "unknown_format")


def test_who_waits_hears_it_before_it_is_synced_and_who_looks_then_sees_it_ended(
    client: httpx.Client, settings: Settings, ledger: Ledger
) -> None:
    answered, seen = threading.Event(), []

    def look(job_id: str) -> None:
        seen.append(client.get(f"/jobs/{job_id}").json()["state"])

    def play(hand: Hand) -> dict[str, Any]:
        result = speak_all(hand)
        ended = {"result": result, "result_file": hand.file, "audio_s": 0.5, "finished_at": hand.job.created_at + 1}
        events.say_early(settings, hand.job.model_copy(update=ended))
        assert answered.wait(20), "the client did not hear it"
        assert ledger.get(hand.job.id).state == "running" and not seen
        return result  # and the job is written as ended

    with worker(settings, ledger, play):
        answer = client.post("/tts", json={"text": TEXT})
        looker = threading.Thread(target=look, args=(answer.headers["x-milo-job-id"],))
        looker.start()
        looker.join(0.1)
        answered.set()
        looker.join(20)
    assert answer.status_code == 200 and answer.headers["x-audio-duration-s"] == "0.5"
    assert seen == ["succeeded"], "it looked before the end was written, and waited for that"


def test_whoever_does_not_wait_gets_a_job(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    answer = client.post("/tts", json={"text": TEXT, "format": "mp3"}, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202 and answer.headers["preference-applied"] == "respond-async"
    assert answer.json()["priority"] == "interactive" and answer.json()["queue_position"] is None
    with worker(settings, ledger, speak_all):
        pass
    found = client.get(f"/jobs/{answer.json()['id']}/result")
    assert found.headers["content-type"] == MEDIA_TYPES["mp3"] and ".mp3" in found.headers["content-disposition"]


def test_a_request_that_is_repeated_is_spoken_once(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    headers = {"Idempotency-Key": "once"}
    with worker(settings, ledger, speak_all):
        first = client.post("/tts", json={"text": TEXT}, headers=headers)
    again = client.post("/tts", json={"text": TEXT}, headers=headers)
    assert again.content == first.content and again.headers["x-milo-job-id"] == first.headers["x-milo-job-id"]
    problem(client.post("/tts", json={"text": "hafa"}, headers=headers), 422, "idempotency_mismatch")


def test_control_characters_are_not_spoken_and_do_no_harm(client: httpx.Client, ledger: Ledger) -> None:
    client.post("/tts", json={"text": "Salama\x00\x07 tompoko\n"}, headers={"Prefer": "respond-async"})
    assert ledger.jobs()[0].payload["text"] == "Salama tompoko\n"


# --- while it is spoken -----------------------------------------------------------------------------------------------


def test_each_sentence_is_sent_before_the_next_is_spoken(
    client: httpx.Client, settings: Settings, ledger: Ledger
) -> None:
    heard = threading.Event()

    def play(hand: Hand) -> dict[str, Any]:
        hand.speak(tone(0.2))
        assert heard.wait(20), "the first sentence did not leave"
        hand.speak(tone(0.3, 220))
        return hand.keep(tone(0.5))

    with (
        worker(settings, ledger, play),
        client.stream("POST", "/tts", json={"text": TEXT, "stream": True, "format": "pcm"}) as answer,
    ):
        assert answer.status_code == 200 and answer.headers["x-audio-sample-rate-hz"] == str(RATE_HZ)
        received = b""
        for piece in answer.iter_raw():
            received += piece
            heard.set()
    assert received == tone(0.2) + tone(0.3, 220)
    assert ledger.get(answer.headers["x-milo-job-id"]).payload["stream"] is True


def test_what_a_second_attempt_says_again_is_not_sent_again(
    client: httpx.Client, settings: Settings, ledger: Ledger
) -> None:
    def play(hand: Hand) -> dict[str, Any]:
        hand.speak(tone(0.2))
        hand.begin_again()
        hand.speak(tone(0.2)[:1000])
        hand.speak(tone(0.2)[1000:])
        hand.speak(tone(0.1))
        return hand.keep(tone(0.3))

    with worker(settings, ledger, play):
        answer = client.post("/tts", json={"text": TEXT, "stream": True, "format": "pcm"})
    assert answer.content == tone(0.2) + tone(0.1)


def test_a_stream_that_fails_before_its_first_sentence_has_a_status(
    client: httpx.Client, settings: Settings, ledger: Ledger
) -> None:
    with worker(settings, ledger, lambda hand: EngineError("the voice is gone", code="no_audio")):
        answer = client.post("/tts", json={"text": TEXT, "stream": True})
    assert problem(answer, 500, "no_audio")["instance"].startswith("/api/v1/jobs/")


def test_a_stream_that_fails_later_is_cut_off_and_not_ended(
    client: httpx.Client, settings: Settings, ledger: Ledger
) -> None:
    heard = threading.Event()

    def play(hand: Hand) -> MiloError:
        hand.speak(tone(0.2))
        assert heard.wait(30)
        return EngineError("the voice is gone")

    with (
        worker(settings, ledger, play),
        client.stream("POST", "/tts", json={"text": TEXT, "stream": True, "format": "pcm"}) as answer,
    ):
        pieces = answer.iter_raw()
        assert next(pieces)
        heard.set()
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)


def test_a_listener_who_leaves_takes_the_job_along(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    def play(hand: Hand) -> dict[str, Any]:
        hand.speak(tone(0.2))
        wait_until(lambda: ledger.get(hand.job.id).cancel_requested, "nobody cancelled the job")
        return hand.keep(tone(0.2))

    with (
        worker(settings, ledger, play),
        client.stream("POST", "/tts", json={"text": TEXT, "stream": True, "format": "pcm"}) as answer,
    ):
        next(answer.iter_raw())


def test_a_stream_that_nobody_begins_becomes_a_202(client: httpx.Client) -> None:
    answer = client.post("/tts", json={"text": TEXT, "stream": True}, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202 and answer.json()["state"] == "queued"


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_of_texts_comes_back_as_a_zip_of_audio(
    client: httpx.Client, settings: Settings, ledger: Ledger
) -> None:
    request = {
        "kind": "tts",
        "items": ["Salama.", {"text": "Veloma.", "name": "farany/veloma"}],
        "options": {"format": "mp3", "voice": "m3"},
    }
    with worker(settings, ledger, speak_all, speak_all):
        batch = client.post("/batches", json=request).json()
    assert batch["kind"] == "tts" and batch["total"] == 2 and batch["name"] == "2 texts"
    assert batch["options"] == {"format": "mp3", "voice": "m3"}
    results = f"/batches/{batch['id']}/results"
    with zipfile.ZipFile(io.BytesIO(client.get(results).content)) as archive:
        assert sorted(archive.namelist()) == ["00001.mp3", "farany/veloma.mp3"]
    lines = client.get(f"{results}?format=json").json()
    assert [line["name"] for line in lines] == ["00001", "farany/veloma"]
    assert lines[0]["result"]["duration_s"] == 0.5
    problem(client.get(f"{results}?format=srt"), 422, "unknown_format")


def test_what_is_wrong_with_a_text_of_a_batch_is_pointed_at(client: httpx.Client) -> None:
    request: dict[str, Any] = {"kind": "tts", "items": ["Salama.", " ", {"text": "a" * 501}, {"path": "/etc/passwd"}]}
    document = problem(client.post("/batches", json=request), 422)
    assert [one["pointer"] for one in document["errors"]] == [f"#/items/{n}/text" for n in (1, 2, 3)]
    request = {"kind": "tts", "items": ["Salama."], "options": {"voice": "nobody"}}
    document = problem(client.post("/batches", json=request), 422, "unknown_voice")
    assert document["errors"][0]["pointer"] == "#/options/voice"
    problem(client.post("/batches", json={"kind": "tts", "items": ["a"], "options": {"beam_size": 2}}), 422)
    problem(client.post("/batches", json={"kind": "tts", "items": []}), 422, "empty_batch")
    problem(client.post("/batches", json={"items": ["a text for a batch of recordings"]}), 422, "wrong_items")
    problem(client.post("/batches", json={"kind": "tts", "paths": ["/etc"]}), 422, "wrong_items")


def test_the_sentences_of_a_text_are_told_as_they_would_be_spoken(client: httpx.Client) -> None:
    answer = client.post("/tts/sentences", json={"text": "Misy 25 ny olona. Atoa Rabe: 3 kg!\n\n…", "language": "mg"})
    assert answer.status_code == 200 and answer.json()["language"] == "mg"
    items = answer.json()["items"]
    assert [one["text"] for one in items][:2] == ["Misy 25 ny olona.", "Atoa Rabe: 3 kg!"]
    assert "dimy amby roapolo" in items[0]["spoken"] and not any(digit in items[1]["spoken"] for digit in "0123456789")
    problem(client.post("/tts/sentences", json={"text": ""}), 422)
    problem(client.post("/tts/sentences", json={"text": "Salama", "language": "xx"}), 422, "unknown_language")
