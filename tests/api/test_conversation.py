"""A spoken conversation over a WebSocket, with a scripted worker behind a real queue."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from milo.chat.sessions import Sessions
from milo.errors import EngineError
from milo.ledger import Ledger
from milo.queue.streams import EventWriter
from milo.settings import Settings
from tests.api.conftest import KEY, People
from tests.support.conversation_worker import (
    RATE_HZ,
    REPLY,
    SENTENCE_S,
    Caller,
    Worker,
    address,
    calling,
    silence,
    speech,
    without_partials,
    working,
)
from tests.support.servers import api_in_thread, api_process, wait_until


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return without_partials(settings)


@pytest.fixture
def worker(settings: Settings, ledger: Ledger) -> Iterator[Worker]:
    with working(settings, ledger) as worker:
        yield worker


@pytest.fixture
def caller(url: str) -> Iterator[Caller]:
    with calling(url, KEY) as caller:
        assert caller.next()["type"] == "session"
        yield caller


UTTERANCE = silence(0.4) + speech(0) + silence(1.0)


# --- a turn -----------------------------------------------------------------------------------------------------------


def test_an_utterance_is_heard_answered_and_spoken(worker: Worker, caller: Caller, settings: Settings) -> None:
    caller.say(UTTERANCE)
    end = caller.until("turn_end")
    assert end["outcome"] == "answered" and end["turn"] == 1
    assert caller.types() == [
        *("session", "vad", "vad", "transcript", "mode", "reply_delta", "reply_audio"),
        *("reply_delta", "reply_text", "reply_audio", "turn_end"),
    ]
    assert [event["speaking"] for event in caller.events[1:3]] == [True, False]
    heard = caller.events[3]
    assert heard == {
        **{"type": "transcript", "turn": 1, "final": True, "partial": False, "text": worker.heard},
        **{"language": "mg", "confidence": 0.9},
    }
    sounds = [event for event in caller.events if event["type"] == "reply_audio"]
    assert [(one["text"], one["index"], one["last"]) for one in sounds] == [
        (REPLY[0], 0, False),
        (REPLY[1], 1, True),
    ]
    with wave.open(io.BytesIO(base64.b64decode(sounds[0]["audio"]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
        assert file.getnframes() == round(SENTENCE_S * RATE_HZ)
    assert 0 < end["transcript_ms"] <= end["first_text_ms"] <= end["first_audio_ms"] <= end["total_ms"]
    assert end["endpointing_ms"] >= 500


def test_the_job_is_urgent_and_gets_the_audio_with_pre_roll(worker: Worker, caller: Caller, settings: Settings) -> None:
    caller.say(silence(2) + speech(0) + silence(1.0))
    caller.until("turn_end")
    job = worker.done()[-1]
    assert (job.kind, job.priority, job.owner) == ("converse", "realtime", "operator")
    assert job.payload["session_id"] == caller.events[0]["session_id"] and job.payload["ticket"] == 1
    blob = job.payload["source"]["blob"]
    with wave.open(str(next(settings.home.glob(f"blobs/*/{blob}")))) as file:
        seconds = file.getnframes() / RATE_HZ
    spoken_s = len(speech(0)) / 2 / RATE_HZ
    assert spoken_s < seconds < spoken_s + 0.3 + 0.2 + 0.2, "pre-roll and a little of the silence, not all of it"


@pytest.mark.parametrize("frame_bytes", [7, 333, 2_000_000])
def test_frames_of_any_size_say_the_same(worker: Worker, caller: Caller, frame_bytes: int) -> None:
    audio = UTTERANCE if frame_bytes > 7 else silence(0.1) + speech(4) + silence(0.8)
    caller.say(audio, frame_bytes)
    assert caller.until("turn_end")["outcome"] == "answered"
    assert len(worker.done()) == 1


def test_stop_closes_the_utterance_at_once(worker: Worker, caller: Caller) -> None:
    caller.say(silence(0.3) + speech(0))
    caller.send("stop")
    assert caller.until("turn_end")["outcome"] == "answered"


def test_stop_after_nothing_says_so(worker: Worker, caller: Caller) -> None:
    caller.say(silence(1))
    caller.send("stop")
    assert caller.until("turn_end")["outcome"] == "nothing_heard"
    assert worker.ended == []


def test_stop_behind_an_utterance_that_silence_has_closed_adds_nothing(worker: Worker, caller: Caller) -> None:
    caller.say(UTTERANCE)
    caller.send("stop")
    assert caller.until("turn_end")["outcome"] == "answered"
    caller.send("text", text="Salama")
    caller.until("turn_end", turn=2)
    assert caller.types().count("turn_end") == 2


def test_a_click_is_no_utterance(worker: Worker, caller: Caller) -> None:
    caller.say(silence(0.5) + speech(0)[16_000:20_000] + silence(1.5))
    caller.send("text", text="Salama")
    caller.until("turn_end")
    assert [job.kind for job in worker.done()] == ["chat"]


def test_a_microphone_that_is_switched_off_ends_the_utterance(worker: Worker, caller: Caller) -> None:
    caller.say(silence(0.3) + speech(0))
    assert caller.until("turn_end")["outcome"] == "answered"


def test_a_typed_message_is_answered_in_the_same_session(worker: Worker, caller: Caller) -> None:
    caller.send("text", text="Iza ianao?")
    assert caller.until("reply_text")["text"] == " ".join(REPLY)
    caller.until("turn_end")
    job = worker.done()[0]
    assert job.kind == "chat" and job.payload["message"] == "Iza ianao?" and job.payload["voice_mode"]
    assert job.payload["session_id"] == caller.events[0]["session_id"]
    caller.send("text", text="Iza?", speak=False)
    caller.until("turn_end", turn=2)
    assert [event["turn"] for event in caller.events if event["type"] == "reply_audio"] == [1, 1]


def test_typed_messages_are_answered_in_order(worker: Worker, caller: Caller) -> None:
    for word in ("iray", "roa", "telo"):
        caller.send("text", text=word)
    caller.until("turn_end", turn=3)
    assert [job.payload["message"] for job in worker.done(3)] == ["iray", "roa", "telo"]


@pytest.mark.parametrize(
    ("text", "code"), [("", "empty_message"), (" \n", "empty_message"), ("a" * 9000, "text_too_long")]
)
def test_a_message_that_is_empty_or_too_long_is_refused(caller: Caller, text: str, code: str) -> None:
    caller.send("text", text=text)
    error = caller.until("error")
    assert error["code"] == code and error["status"] == 422 and error["detail"]


def test_a_configured_language_and_voice_are_used_from_then_on(worker: Worker, caller: Caller) -> None:
    caller.send("config", language="fr", voice="f2")
    assert caller.until("config") == {"type": "config", "language": "fr", "voice": "f2", "partials": False}
    caller.say(UTTERANCE)
    caller.until("turn_end")
    caller.send("config", language="auto")
    assert caller.until("config")["voice"] == "f2"
    for fields in ({"language": "xx"}, {"voice": "nobody"}):
        caller.send("config", **fields)
        assert caller.until("error")["status"] == 422
    assert (worker.done()[0].payload["language"], worker.ended[0].payload["voice"]) == ("fr", "f2")


def test_speech_without_end_is_cut_into_utterances(
    worker: Worker, settings: Settings, url: str, caller: Caller
) -> None:
    words = b"".join(speech(number) for number in range(5)) * 6
    assert len(words) / 2 / RATE_HZ > 40
    caller.say(words + silence(1), 32_000)
    caller.until("turn_end", turn=2)
    assert "interrupted" not in caller.types(), "going on where the last one was cut is no interruption"
    assert caller.types().count("vad") % 2 == 0


# --- partial transcripts ----------------------------------------------------------------------------------------------


def test_a_long_utterance_shows_what_was_heard_so_far(worker: Worker, settings: Settings) -> None:
    patient = settings.model_copy(update={"conversation_silence_s": 5.0, "conversation_partials": True})
    with api_in_thread(patient) as url, calling(url, KEY, partials="true") as caller:
        for number in range(2):
            caller.say(speech(number))
            partial = caller.until("transcript", final=False)
            assert partial["text"] == f"{worker.heard}…" and partial["turn"] == 1
        caller.send("stop")
        assert caller.until("transcript", final=True)["turn"] == 1
        caller.until("turn_end")
    worker.done(3)
    kept = {path.name for path in settings.home.glob("blobs/*/*")}
    assert kept == {job.payload["source"]["blob"] for job in worker.ended if job.kind == "converse"}


# --- interruptions ----------------------------------------------------------------------------------------------------


def test_speaking_over_the_reply_interrupts_it(worker: Worker, caller: Caller, ledger: Ledger) -> None:
    worker.go_on.clear()
    caller.say(UTTERANCE)
    caller.until("reply_audio", index=0)
    caller.say(silence(0.3) + speech(1))
    assert caller.until("interrupted") == {"type": "interrupted", "reason": "speech", "turn": 1}
    assert caller.until("turn_end")["outcome"] == "interrupted"
    wait_until(lambda: bool(worker.ended), "the job went on")
    assert worker.ended[0].state == "cancelled"
    worker.go_on.set()
    caller.say(silence(1))
    assert caller.until("turn_end")["outcome"] == "answered"
    assert [event["index"] for event in caller.events if event["type"] == "reply_audio"] == [0, 0, 1]


def test_the_interrupt_message_stops_everything(worker: Worker, caller: Caller) -> None:
    worker.go_on.clear()
    caller.send("text", text="iray")
    caller.send("text", text="roa")
    caller.until("reply_audio")
    caller.send("interrupt")
    assert caller.until("interrupted")["reason"] == "client"
    ends = [caller.until("turn_end") for _ in range(2)]
    assert {end["turn"]: end["outcome"] for end in ends} == {1: "interrupted", 2: "interrupted"}
    wait_until(lambda: [job.state for job in worker.ended] == ["cancelled"], "the second job was not to begin")


def test_speaking_while_the_reply_is_still_played_interrupts_it(worker: Worker, caller: Caller) -> None:
    worker.sentence_s = 60
    caller.say(UTTERANCE)
    assert caller.until("turn_end")["outcome"] == "answered"
    caller.say(silence(0.3) + speech(1) + silence(1))
    assert caller.until("interrupted")["turn"] is None
    assert caller.until("turn_end")["turn"] == 2


def test_the_client_knows_better_when_it_plays(worker: Worker, caller: Caller) -> None:
    worker.sentence_s = 60
    caller.say(UTTERANCE)
    caller.until("turn_end")
    caller.send("playback", playing=False)
    caller.say(silence(0.3) + speech(1) + silence(1))
    caller.until("turn_end")
    assert "interrupted" not in caller.types()
    caller.send("playback", playing=True)
    caller.say(silence(0.3) + speech(1))
    caller.until("interrupted")


def test_who_only_paused_is_heard_as_one(worker: Worker, caller: Caller, settings: Settings) -> None:
    worker.begin.clear()
    caller.say(UTTERANCE)
    caller.until("vad", speaking=False)
    caller.say(speech(1))
    caller.until("interrupted")
    worker.begin.set()
    caller.say(silence(1))
    end = caller.until("turn_end", outcome="answered")
    assert end["turn"] == 2 and caller.types().count("reply_text") == 1
    wait_until(lambda: worker.ended[-1:] != [] and worker.ended[-1].state == "succeeded", "the second job did not end")
    blob = worker.ended[-1].payload["source"]["blob"]
    with wave.open(str(next(settings.home.glob(f"blobs/*/{blob}")))) as file:
        assert file.getnframes() * 2 > len(speech(0)) + len(speech(1))


def test_an_interrupt_of_nothing_is_silent(worker: Worker, caller: Caller) -> None:
    caller.send("interrupt")
    caller.send("text", text="Salama")
    caller.until("turn_end")
    assert "interrupted" not in caller.types()


def test_a_transcript_that_came_ahead_of_the_turn_is_sent_once(
    worker: Worker, caller: Caller, settings: Settings, ledger: Ledger
) -> None:
    worker.begin.clear()
    caller.say(UTTERANCE)
    wait_until(lambda: ledger.jobs(kind="converse") != [], "no job was made")
    ahead = {"text": "Salama", "language": "mg", "confidence": 0.5, "final": True}
    EventWriter(settings, ledger.jobs(kind="converse")[0].id, begin=False).say("transcript", ahead)
    assert caller.until("transcript", final=True)["text"] == "Salama"
    worker.begin.set()
    assert caller.until("turn_end")["outcome"] == "answered"
    assert caller.types().count("transcript") == 1 and "interrupted" not in caller.types()


def test_a_reply_that_starts_again_voids_what_came_before(worker: Worker, caller: Caller) -> None:
    worker.twice = True
    caller.say(UTTERANCE)
    assert caller.until("interrupted")["reason"] == "restarted"
    assert caller.until("turn_end")["outcome"] == "answered"


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_failed_job_is_an_error_and_the_conversation_goes_on(worker: Worker, caller: Caller) -> None:
    worker.error = EngineError("the voice is hoarse", code="hoarse")
    caller.say(UTTERANCE)
    error = caller.until("error")
    assert (error["code"], error["detail"], error["status"]) == ("hoarse", "the voice is hoarse", 500)
    assert caller.until("turn_end")["outcome"] == "failed"
    worker.error = None
    caller.say(UTTERANCE)
    assert caller.until("turn_end")["outcome"] == "answered"


def test_a_client_that_vanishes_leaves_no_job_and_no_place_in_the_session(
    worker: Worker, url: str, settings: Settings
) -> None:
    worker.go_on.clear()
    with calling(url, KEY) as caller:
        session_id = caller.next()["session_id"]
        caller.say(UTTERANCE)
        caller.until("reply_audio")
        caller.connection.socket.close()
    wait_until(lambda: [job.state for job in worker.ended] == ["cancelled"], "the job was not cancelled")
    sessions = Sessions(settings)
    ticket = sessions.take("operator", session_id)
    wait_until(lambda: sessions.renew("operator", session_id, ticket), "the place of the lost turn is still taken")


def test_bad_text_frames_are_errors_and_too_many_end_it(caller: Caller) -> None:
    bad = ["{", "null", "[]", '{"type":"what"}', '{"type":"text"}', "é", '{"type":"playback","playing":"x"}']
    for text in bad:
        caller.connection.send(text)
        error = caller.until("error")
        assert error["code"] == "bad_frame" and error["status"] in (400, 422) and "text frame" in error["detail"]
    with suppress(ConnectionClosed):  # it may end before all of them are sent
        for _ in range(20):
            caller.connection.send("{")
    assert caller.closed()[0] == 1008


@pytest.mark.parametrize("frame", [bytes(2 * 1024**2 + 1), " " * (64 * 1024 + 1), bytes(17 * 1024**2)])
def test_a_giant_frame_closes_the_socket(caller: Caller, frame: bytes | str) -> None:
    caller.connection.send(frame)
    assert caller.closed()[0] == 1009


def test_empty_frames_and_noise_are_nothing(worker: Worker, caller: Caller) -> None:
    import numpy as np

    noise = (np.random.default_rng(1).normal(0, 300, RATE_HZ * 3)).astype("<i2").tobytes()
    caller.connection.send(b"")
    caller.say(noise, 1001)
    caller.send("text", text="Salama")
    caller.until("turn_end")
    assert [job.kind for job in worker.done()] == ["chat"]


def test_more_turns_than_may_wait_are_refused(worker: Worker, caller: Caller) -> None:
    worker.go_on.clear()
    for number in range(8):
        caller.send("text", text=f"{number}")
    error = caller.until("error")
    assert error["code"] == "too_many_turns" and error["status"] == 429 and error["retry_after_s"] > 0


# --- who may ----------------------------------------------------------------------------------------------------------


def refused(url: str, **options: object) -> httpx.Response:
    """The HTTP answer to a socket that was not accepted."""
    with pytest.raises(InvalidStatus) as caught, connect(url, proxy=None, **options):  # type: ignore[arg-type]
        pass
    answer = caught.value.response
    return httpx.Response(
        answer.status_code, headers=dict(answer.headers.raw_items()), content=bytes(answer.body or b"")
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"additional_headers": {"Authorization": "Bearer wrong"}},
        {"additional_headers": {"Authorization": "Basic wrong"}},
        {"subprotocols": [Subprotocol("milo.v1"), Subprotocol("milo.bearer.wrong")]},
    ],
)
def test_a_wrong_key_is_refused_before_the_upgrade(shared_url: str, options: dict[str, object]) -> None:
    answer = refused(address(shared_url), **options)
    assert answer.status_code == 401 and answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] in ("no_key", "wrong_key")


def test_a_wrong_key_in_the_url_is_refused(shared_url: str) -> None:
    assert refused(address(shared_url, api_key="wrong")).status_code == 401


def test_a_key_that_may_only_read_may_not_talk(url: str, people: People) -> None:
    secret = people.key("reader", "read").secret
    answer = refused(address(url, api_key=secret))
    assert answer.status_code == 403 and answer.json()["code"] == "missing_scope"


def test_the_key_may_come_as_a_sub_protocol_and_is_not_sent_back(url: str) -> None:
    offered = [Subprotocol("milo.v1"), Subprotocol(f"milo.bearer.{KEY}")]
    with connect(address(url), subprotocols=offered, proxy=None) as connection:
        assert connection.subprotocol == "milo.v1"
        assert Caller(connection).next()["type"] == "session"
        assert connection.response and KEY not in str(connection.response.headers)


def test_the_key_may_come_in_the_url(url: str) -> None:
    with connect(address(url, api_key=KEY), proxy=None) as connection:
        assert Caller(connection).next()["type"] == "session"


def test_a_revoked_key_ends_the_conversation_at_its_next_turn(url: str, people: People) -> None:
    made = people.key("bot")
    with calling(url, made.secret) as caller:
        caller.next()
        people.keys.revoke("bot")
        deadline = 20
        while True:  # the server may go on with a key for three seconds
            caller.send("text", text="Salama")
            try:
                caller.until("never", 0.5)
            except TimeoutError:
                caller.send("interrupt")
                deadline -= 1
                assert deadline, "the key goes on working"
            except ConnectionClosed as closed:
                assert closed.rcvd and closed.rcvd.code == 4401
                break


def test_a_session_goes_on_where_it_was_and_belongs_to_its_key(url: str, people: People) -> None:
    first, second = people.key("one").secret, people.key("two").secret
    with calling(url, first) as caller:
        session_id = caller.next()["session_id"]
    with calling(url, first, session_id=session_id) as caller:
        assert caller.next()["session_id"] == session_id
    with calling(url, second, session_id=session_id) as caller:
        assert caller.next()["code"] == "no_session"
        assert caller.closed()[0] == 4404
    with calling(url, first, session_id="kitchen") as caller:
        assert caller.next()["session_id"] == "kitchen"


@pytest.mark.parametrize(
    "query",
    [{"session_id": "../x"}, {"language": "klingon"}, {"voice": "nobody"}, {"language": "xx"}]
    + [{"language": "\0"}, {"language": "x" * 33}, {"voice": "\0"}, {"session_id": "\0"}],
)
def test_what_can_not_be_is_told_and_closed(url: str, query: dict[str, str]) -> None:
    with calling(url, KEY, **query) as caller:
        assert caller.next()["status"] == 422
        assert caller.closed()[0] == 4422


def test_a_session_that_is_deleted_meanwhile_begins_anew(worker: Worker, caller: Caller, settings: Settings) -> None:
    session_id = caller.events[0]["session_id"]
    Sessions(settings).delete("operator", session_id)
    caller.send("text", text="Salama")
    assert caller.until("turn_end")["outcome"] == "answered"
    assert Sessions(settings).get("operator", session_id).exchanges == []


def test_sockets_count_as_requests(settings: Settings) -> None:
    with api_in_thread(settings.model_copy(update={"rate_limit": "2/minute"})) as url:
        for _ in range(2):
            with calling(url, KEY) as caller:
                assert caller.next()["type"] == "session"
        answer = refused(address(url), additional_headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status_code == 429 and answer.json()["code"] == "rate_limited"


def test_the_metrics_count_open_conversations(client: httpx.Client, caller: Caller) -> None:
    assert "\nmilo_conversations 1.0\n" in client.get("/metrics").text


def test_a_plain_request_is_told_to_upgrade(client: httpx.Client) -> None:
    answer = client.get("/conversation")
    assert answer.status_code == 426 and answer.json()["code"] == "upgrade_needed"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("level", ["info", "trace"])
def test_no_log_holds_a_key(settings: Settings, tmp_path: Path, level: str, capfd: pytest.CaptureFixture[str]) -> None:
    with api_process(settings, MILO_LOG_LEVEL="DEBUG", UVICORN_LOG_LEVEL=level, UVICORN_ACCESS_LOG="1") as (url, _):
        with connect(address(url, api_key=KEY), proxy=None) as connection:
            Caller(connection).next()
        with calling(url, KEY) as caller:
            caller.next()
        offered = [Subprotocol("milo.v1"), Subprotocol(f"milo.bearer.{KEY}")]
        with connect(address(url), subprotocols=offered, proxy=None) as connection:
            Caller(connection).next()
        assert refused(address(url, api_key="wrong-but-secret")).status_code == 401
    written = "".join(capfd.readouterr())
    assert "/api/v1/conversation" in written, "the server logs nothing at all"
    assert KEY not in written and "wrong-but-secret" not in written
