"""POST /chat: what is refused, sessions and their order, the reply as a document and as events."""

from __future__ import annotations

import base64
import io
import json
import threading
import wave
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from milo.chat.sessions import Sessions
from milo.errors import EngineError, MiloError, TooMany
from milo.ledger import Ledger
from milo.settings import Settings
from tests.api.by_hand import RATE_HZ, Hand, tone, worker
from tests.api.conftest import KEY, People, problem
from tests.support.servers import api_in_thread, wait_until

HEADERS = {"Authorization": f"Bearer {KEY}"}
LATER = {"Prefer": "respond-async"}
Event = tuple[str, dict[str, Any], str]


def result(hand: Hand, reply: str = "Salama tompoko", **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 12, "completion_tokens": 4}
    session = hand.job.payload["session_id"]
    fixed = {"mode": "local", "language": "mg", "finish_reason": "stop", "usage": usage, "processing_ms": 5}
    return {"reply": reply, "session_id": session, **fixed, **more}


def events_of(answer: httpx.Response) -> list[Event]:
    found: list[Event] = []
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "event" in fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
            fields = {}
    return found


REFUSED = [
    ({"message": ""}, "empty_message", "#/message"),
    ({"message": " \n\t\u200b "}, "empty_message", "#/message"),
    ({"message": "\x00\x07"}, "empty_message", "#/message"),
    ({"message": "a" * 8001}, "text_too_long", "#/message"),
    ({"message": "Salama", "language": "klingon"}, "unknown_language", "#/language"),
    ({"message": "Salama", "mode": "video"}, "invalid", "#/mode"),
    ({"message": "Salama", "mode": "voice", "voice": "nobody"}, "unknown_voice", "#/voice"),
    ({"message": "Salama", "max_tokens": 0}, "invalid", "#/max_tokens"),
    ({"message": "Salama", "temperature": 3}, "invalid", "#/temperature"),
    ({"message": "Salama", "ticket": 1}, "invalid", "#/ticket"),
    ({"message": None}, "invalid", "#/message"),
    ({}, "invalid", "#/message"),
]


@pytest.mark.parametrize(("body", "code", "pointer"), REFUSED)
def test_what_cannot_be_answered_is_refused_when_it_is_sent(
    shared_url: str, body: dict[str, Any], code: str, pointer: str
) -> None:
    with httpx.Client(base_url=f"{shared_url}/api/v1", headers=HEADERS, trust_env=False) as client:
        known = client.get("/sessions").json()["items"]
        document = problem(client.post("/chat", json=body), 422, code)
        assert document["errors"][0]["pointer"] == pointer
        assert client.get("/sessions").json()["items"] == known
        problem(client.post("/jobs", json={"kind": "chat", "payload": body}), 422, code)


def test_a_session_id_that_is_none_is_refused(client: httpx.Client, ledger: Ledger) -> None:
    problem(client.post("/chat", json={"message": "Salama", "session_id": "../x"}), 422, "bad_session_id")
    assert ledger.jobs() == []


def test_without_any_chat_model_it_is_a_503_and_never_an_echo(settings: Settings) -> None:
    away = settings.model_copy(update={"chat_model": "/nowhere/mistral.gguf"})
    with api_in_thread(away) as base:
        answer = httpx.post(f"{base}/api/v1/chat", json={"message": "Salama"}, headers=HEADERS, trust_env=False)
        document = problem(answer, 503, "no_model")
        assert "mistral.gguf" in document["detail"] and "nowhere" not in document["detail"]


# --- a reply as a document --------------------------------------------------------------------------------------------


def test_a_message_opens_a_session_and_is_answered(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    with worker(settings, ledger, result):
        answer = client.post("/chat", json={"message": " Salama\x00 ", "max_tokens": 9, "temperature": 0})
    document = answer.json()
    assert answer.status_code == 200 and document["reply"] == "Salama tompoko" and document["mode"] == "local"
    assert document["usage"]["completion_tokens"] == 4 and document["language"] == "mg"
    assert document["processing_ms"] > 0 and "audio" not in document
    job = client.get(f"/jobs/{document['job_id']}").json()
    wanted = {"message": "Salama", "max_tokens": 9, "temperature": 0, "ticket": 1, "voice_mode": False}
    assert wanted.items() <= job["payload"].items() and job["priority"] == "realtime"
    assert [one["id"] for one in client.get("/sessions").json()["items"]] == [document["session_id"]]
    assert client.get(f"/jobs/{job['id']}/result?format=txt").text == "Salama tompoko\n"
    problem(client.get(f"/jobs/{job['id']}/result?format=wav"), 422, "no_audio")


def test_voice_mode_returns_the_reply_and_its_sound(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    def play(hand: Hand) -> dict[str, Any]:
        assert hand.job.payload["voice_mode"] and hand.job.payload["tts_model"] == "espeak"
        return result(hand, audio=hand.keep(tone(0.5)))

    with worker(settings, ledger, play):
        document = client.post("/chat", json={"message": "Salama", "mode": "voice", "voice": "f2"}).json()
    with wave.open(io.BytesIO(base64.b64decode(document["audio"], validate=True))) as file:
        assert file.getnframes() == 8000 and file.getframerate() == RATE_HZ
    assert (document["audio_format"], document["audio_duration_s"]) == ("wav", 0.5)
    found = client.get(f"/jobs/{document['job_id']}/result?format=wav")
    assert found.content == base64.b64decode(document["audio"]) and found.headers["content-type"] == "audio/wav"
    assert "reply" in client.get(f"/jobs/{document['job_id']}/result").json()


def test_messages_of_one_session_have_the_order_in_which_they_came(client: httpx.Client, ledger: Ledger) -> None:
    for number in range(3):
        body = {"message": f"n° {number}", "session_id": "one"}
        assert client.post("/chat", json=body, headers=LATER).status_code == 202
    client.post("/jobs", json={"kind": "chat", "payload": {"message": "n° 3", "session_id": "one"}})
    jobs = sorted(ledger.jobs(), key=lambda job: job.id)
    assert [(job.payload["message"], job.payload["ticket"]) for job in jobs] == [(f"n° {n}", n + 1) for n in range(4)]


def test_at_once_every_message_gets_a_place_and_jobs_queue_in_that_order(client: httpx.Client, ledger: Ledger) -> None:
    def send(number: int) -> int:
        body = {"message": f"n° {number}", "session_id": "one"}
        return client.post("/chat", json=body, headers=LATER).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send, range(16))) == {202}
    tickets = [job.payload["ticket"] for job in sorted(ledger.jobs(), key=lambda job: (job.created_at, job.id))]
    assert tickets == list(range(1, 17))


def test_the_same_message_sent_again_is_one_message(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    headers = {"Idempotency-Key": "again", **LATER}
    first = client.post("/chat", json={"message": "Salama"}, headers=headers).json()
    again = client.post("/chat", json={"message": "Salama"}, headers=headers).json()
    assert again["id"] == first["id"] and len(client.get("/sessions").json()["items"]) == 1
    problem(client.post("/chat", json={"message": "Hafa"}, headers=headers), 422, "idempotency_mismatch")
    session = first["payload"]["session_id"]
    assert Sessions(settings).renew("operator", session, first["payload"]["ticket"])


def test_a_message_that_is_not_queued_leaves_no_session_and_no_place(settings: Settings, ledger: Ledger) -> None:
    with api_in_thread(settings.model_copy(update={"max_queued_jobs": 1})) as base:
        with httpx.Client(base_url=f"{base}/api/v1", headers=HEADERS | LATER, trust_env=False) as client:
            assert client.post("/chat", json={"message": "Salama", "session_id": "one"}).status_code == 202
            problem(client.post("/chat", json={"message": "Salama", "session_id": "one"}), 429, "queue_full")
            problem(client.post("/chat", json={"message": "Salama"}), 429, "queue_full")
            assert [one["id"] for one in client.get("/sessions").json()["items"]] == ["one"]
            assert client.delete(f"/jobs/{ledger.jobs()[0].id}").json()["state"] == "cancelled"
    sessions = Sessions(settings)
    assert sessions.renew("operator", "one", sessions.take("operator", "one")), "somebody is still in line"


def test_a_full_session_says_so(client: httpx.Client, settings: Settings) -> None:
    sessions = Sessions(settings)
    sessions.open("operator", "full")
    with pytest.raises(TooMany):
        for _ in range(10_000):
            sessions.take("operator", "full")
    refused = client.post("/chat", json={"message": "Salama", "session_id": "full"})
    assert int(refused.headers["retry-after"]) >= 1 and problem(refused, 429, "session_busy")


def test_a_message_is_sent_again_and_not_retried(client: httpx.Client) -> None:
    job = client.post("/chat", json={"message": "Salama"}, headers=LATER).json()
    client.delete(f"/jobs/{job['id']}")
    assert "send it again" in problem(client.post(f"/jobs/{job['id']}/retry"), 409, "not_retryable")["detail"]


def test_sessions_of_two_keys_are_two(client: httpx.Client, people: People, ledger: Ledger) -> None:
    body = {"message": "Salama", "session_id": "same"}
    with people.client("other") as other:
        assert [one.post("/chat", json=body, headers=LATER).json()["payload"]["ticket"] for one in (client, other)] == [
            1,
            1,
        ]


# --- a reply as events ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stream", "accept"])
def test_a_reply_is_streamed_word_by_word(client: httpx.Client, settings: Settings, ledger: Ledger, how: str) -> None:
    heard = threading.Event()

    def play(hand: Hand) -> dict[str, Any]:
        hand.say("mode", {"mode": "local"})
        hand.say("delta", {"text": "Salama"})
        assert heard.wait(20), "the first word did not leave"
        hand.say("delta", {"text": " tompoko"})
        return result(hand)

    body: dict[str, Any] = {"message": "Salama"} | ({"stream": True} if how == "stream" else {})
    headers = {"Accept": "text/event-stream"} if how == "accept" else {}
    found = []
    with worker(settings, ledger, play), client.stream("POST", "/chat", json=body, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = []
        for line in answer.iter_lines():
            lines.append(line)
            if '"text": "Salama"' in line:
                heard.set()
        found = events_of(httpx.Response(200, text="\n".join(lines) + "\n"))
    assert [name for name, _, _ in found] == ["start", "mode", "delta", "delta", "end"]
    assert found[0][1]["job_id"] == answer.headers["x-milo-job-id"]
    assert "".join(data["text"] for name, data, _ in found if name == "delta") == "Salama tompoko"
    last = found[-1][1]
    assert last["reply"] == "Salama tompoko" and last["session_id"] == found[0][1]["session_id"]
    numbers = [number for _, _, number in found]
    assert all(numbers) and len(set(numbers)) == len(numbers)


def test_a_spoken_reply_is_streamed_sentence_by_sentence(
    client: httpx.Client, settings: Settings, ledger: Ledger
) -> None:
    def play(hand: Hand) -> dict[str, Any]:
        hand.say("delta", {"text": "Salama."})
        hand.speak(tone(0.1))
        return result(hand, audio=hand.keep(tone(0.1)))

    body = {"message": "Salama", "stream": True, "mode": "voice"}
    with worker(settings, ledger, play), client.stream("POST", "/chat", json=body) as answer:
        found = events_of(answer)
    audio = next(data for name, data, _ in found if name == "audio")
    with wave.open(io.BytesIO(base64.b64decode(audio["audio"]))) as file:
        assert file.readframes(10_000) == tone(0.1)
    assert found[-1][1]["audio_duration_s"] == 0.1 and "audio" not in found[-1][1]


def test_a_second_attempt_says_that_the_first_is_void(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    def play(hand: Hand) -> dict[str, Any]:
        hand.say("delta", {"text": "Mana"})
        hand.begin_again()
        hand.say("delta", {"text": "Salama"})
        return result(hand, "Salama")

    with worker(settings, ledger, play), client.stream("POST", "/chat", json={"message": "a", "stream": True}) as got:
        assert [name for name, _, _ in events_of(got)] == ["start", "delta", "restart", "delta", "end"]


def test_a_failure_before_the_first_word_has_a_status_and_a_later_one_is_an_event(
    client: httpx.Client, settings: Settings, ledger: Ledger
) -> None:
    def play(hand: Hand) -> MiloError:
        hand.say("delta", {"text": "Sal"})
        return EngineError("the model broke")

    body = {"message": "a", "stream": True}
    with worker(settings, ledger, lambda hand: EngineError("the model broke"), play):
        problem(client.post("/chat", json=body), 500, "engine_error")
        with client.stream("POST", "/chat", json=body) as answer:
            found = events_of(answer)
    assert [name for name, _, _ in found] == ["start", "delta", "error"]
    assert found[-1][1]["code"] == "engine_error" and found[-1][1]["detail"] == "the model broke"


def test_a_reader_who_leaves_takes_the_job_along(client: httpx.Client, settings: Settings, ledger: Ledger) -> None:
    def play(hand: Hand) -> dict[str, Any]:
        hand.say("delta", {"text": "Salama"})
        wait_until(lambda: ledger.get(hand.job.id).cancel_requested, "nobody cancelled the job")
        return result(hand)

    with (
        worker(settings, ledger, play),
        client.stream("POST", "/chat", json={"message": "a", "stream": True}) as answer,
    ):
        for line in answer.iter_lines():
            if "Salama" in line:
                break


def test_a_reader_who_leaves_before_the_job_runs_lets_the_next_one_through(
    client: httpx.Client, settings: Settings, ledger: Ledger
) -> None:
    body = {"message": "a", "stream": True, "session_id": "one"}
    with pytest.raises(httpx.ReadTimeout):
        client.post("/chat", json=body, timeout=0.5)
    wait_until(lambda: ledger.jobs()[0].state == "cancelled", "nobody cancelled the job", 40)
    sessions = Sessions(settings)
    ticket = sessions.take("operator", "one")
    wait_until(lambda: sessions.renew("operator", "one", ticket), "somebody is in line")


def test_listening_leaves_no_connection_behind(
    client: httpx.Client, settings: Settings, ledger: Ledger, redis_client: redis.Redis
) -> None:
    def play(hand: Hand) -> dict[str, Any]:
        hand.say("delta", {"text": "Salama"})
        return result(hand)

    counts = []
    for _ in range(4):
        with worker(settings, ledger, play), client.stream("POST", "/chat", json={"message": "a", "stream": True}) as a:
            assert events_of(a)[-1][0] == "end"
        counts.append(len(redis_client.client_list()))
    assert counts[-1] <= counts[0] + 1, counts
